"""What a container waits for, from the text of mountinfo."""

import pytest

from uxc.manager.conditions import missing_device, missing_volume, parse_mounts

TEXT = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
36 22 8:17 / /mnt/my\\040disk rw shared:2 - ext4 /dev/sdb1 rw
37 22 0:33 / /tmp/run/uvol/data rw - ubifs ubi0_1 rw
damaged
"""
MOUNTED = parse_mounts(TEXT)


@pytest.mark.parametrize(
    ("volumes", "missing"),
    [
        ((), None),
        (("/mnt/my disk", "/"), None),
        (("/mnt",), "/mnt"),
        (("/", "/mnt/my"), "/mnt/my"),
        (("UUID=b",), None),
        (("UUID=c",), "UUID=c"),
        (("LABEL=none",), "LABEL=none"),
        (("data",), None),
        (("run",), "run"),
    ],
)
def test_the_first_volume_that_is_not_there(volumes: tuple[str, ...], missing: str | None) -> None:
    """Paths are mount points, tags are devices, bare names the end of a mount point."""
    devices = {"UUID=b": "8:17", "UUID=c": "8:33"}

    assert missing_volume(volumes, MOUNTED, devices.get) == missing


def test_the_first_device_that_is_not_there() -> None:
    """In the order of the configuration."""
    assert missing_device(("lo", "eth7", "eth8"), lambda name: name == "lo") == "eth7"
    assert missing_device(("lo",), lambda _name: True) is None


def test_escapes_are_taken_once() -> None:
    """A backslash that was escaped does not begin another escape."""
    mounted = parse_mounts("1 2 0:1 / /a\\134040b\\011c rw - x y z\n")

    assert mounted.points == {"/a\\040b\tc"}
