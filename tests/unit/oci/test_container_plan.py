"""What the child will do, resolved from the specification."""

from pathlib import Path
from typing import Any

import pytest

from rootfs import busybox
from uxc.errors import InvalidError
from uxc.oci import capabilities, plan, spec

ALL = (1 << 41) - 1
Config = dict[str, Any]


def resolve(config: Config, bundle: Path, available: int = ALL) -> tuple[plan.Plan, list[str]]:
    """Return the plan for ``config`` and its warnings."""
    (bundle / "rootfs").mkdir(exist_ok=True)
    warnings: list[str] = []
    return plan.Plan(spec.parse(config), str(bundle), available, warnings), warnings


def test_namespaces_are_new_or_joined(tmp_path: Path) -> None:
    """A path means to join, none to make, a missing entry to share."""
    config = busybox.make_config("true")
    config["linux"]["namespaces"] = [
        {"type": "mount"},
        {"type": "pid"},
        {"type": "network", "path": "/run/netns/x"},
    ]
    del config["hostname"]

    made, _ = resolve(config, tmp_path)

    assert made.new_flags == plan.NAMESPACES["mount"][1] | plan.NAMESPACES["pid"][1]
    assert made.joined == [("/run/netns/x", *plan.NAMESPACES["network"])]


def test_the_last_path_counts(tmp_path: Path) -> None:
    """Of several PATH entries execvp would see the first, but the last one is the wish."""
    config = busybox.make_config("true")
    config["process"]["env"] = ["PATH=/a", "PATH=/b:/c", "X=PATH=/d"]

    made, _ = resolve(config, tmp_path)

    assert made.program.search_path == [b"/b", b"/c"]


def test_what_cannot_be_given_is_a_warning(tmp_path: Path) -> None:
    """Capabilities that the runtime lacks are left out, and said."""
    config = busybox.make_config("true")
    config["process"]["capabilities"] = {"bounding": ["CAP_KILL", "CAP_SYS_ADMIN", "CAP_NEW"]}

    made, warnings = resolve(config, tmp_path, available=ALL & ~capabilities.SYS_ADMIN)

    assert made.program.sets.bounding == 1 << capabilities.NAMES.index("CAP_KILL")
    assert sorted(word for line in warnings for word in line.split() if "CAP_" in word) == [
        "CAP_NEW",
        "CAP_SYS_ADMIN",
    ]


def test_a_listed_device_replaces_a_default_one(tmp_path: Path) -> None:
    """Each path is made once."""
    config = busybox.make_config("true")
    config["linux"]["devices"] = [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "gid": 9}
    ]

    made, _ = resolve(config, tmp_path)

    nulls = [step for step in made.devices if step.path == "/dev/null"]
    assert [(step.mode, step.gid) for step in nulls] == [(0o020600, 9)]
    assert len(made.devices) == len(plan.DEFAULT_DEVICES)


@pytest.mark.parametrize(
    ("name", "abi", "number"),
    [
        ("RLIMIT_NOFILE", "x86_64", 7),
        ("RLIMIT_NOFILE", "o32", 5),
        ("RLIMIT_AS", "n64", 6),
        ("RLIMIT_CORE", "o32", 4),
        ("RLIMIT_RTTIME", "n64", 15),
    ],
)
def test_limits_have_the_machines_numbers(name: str, abi: str, number: int) -> None:
    """MIPS numbers five of the limits differently (asm/resource.h)."""
    assert plan.limit_number(name, abi) == number


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_strings_that_no_program_can_get_are_refused(tmp_path: Path, text: str) -> None:
    """JSON can spell what execve(2) cannot take."""
    config = busybox.make_config("true", text)

    with pytest.raises(InvalidError, match=r"config\.json: process\.args\[1\]: "):
        resolve(config, tmp_path)


@pytest.mark.parametrize("names", [capabilities.NAMES])
def test_the_numbers_of_capabilities_are_their_places(names: tuple[str, ...]) -> None:
    """linux/capability.h: the first, two well-known ones, and the last of Linux 6."""
    assert [names.index(f"CAP_{name}") for name in ("CHOWN", "NET_ADMIN", "SYS_ADMIN")] == [
        0,
        12,
        21,
    ]
    assert names.index("CAP_CHECKPOINT_RESTORE") == 40
