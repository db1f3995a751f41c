"""Whether the kernel has what apparmorProfile and selinuxLabel need."""

from pathlib import Path

import pytest

from uxc.errors import MissingError
from uxc.oci import lsm
from uxc.oci.spec import parse_process


def test_modules_that_are_not_active(tmp_path: Path) -> None:
    """Left out, switched off, or another name that looks alike: each is an error by its path."""
    apparmor, filesystems = tmp_path / "enabled", tmp_path / "filesystems"
    filesystems.write_text("nodev\tsysfs\nnodev\tnot-selinuxfs\n")
    places = str(apparmor), str(filesystems)
    profile = parse_process({"cwd": "/", "args": ["sh"], "apparmorProfile": "p"})
    label = parse_process({"cwd": "/", "args": ["sh"], "selinuxLabel": "u:r:t:s0"})

    with pytest.raises(MissingError, match=r"^x\.apparmorProfile: AppArmor is not active"):
        lsm.check(profile, "x", *places)
    apparmor.write_text("N\n")
    with pytest.raises(MissingError, match=r"^x\.apparmorProfile: AppArmor is not active"):
        lsm.check(profile, "x", *places)
    with pytest.raises(MissingError, match=r"^x\.selinuxLabel: SELinux is not active"):
        lsm.check(label, "x", *places)


def test_modules_that_are_active(tmp_path: Path) -> None:
    """What the kernel has is let through."""
    apparmor, filesystems = tmp_path / "enabled", tmp_path / "filesystems"
    apparmor.write_text("Y\n")
    filesystems.write_text("nodev\tsysfs\nnodev\tselinuxfs\n\text4\n")
    both = parse_process(
        {"cwd": "/", "args": ["sh"], "apparmorProfile": "p", "selinuxLabel": "u:r:t:s0"}
    )

    lsm.check(both, "x", str(apparmor), str(filesystems))
