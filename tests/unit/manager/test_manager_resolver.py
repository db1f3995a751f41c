"""Where a resolv.conf may be shown without a write into somebody's root file system."""

import os
from pathlib import Path
from typing import Any

import pytest

from uxc.manager.resolver import can_be_shown

TMPFS = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
BIND = {"destination": "/tmp", "type": "bind", "source": "/x", "options": ["rbind"]}


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Give a root file system with an empty /etc."""
    for name in ("etc", "tmp", "run"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_file_can_be_covered(rootfs: Path) -> None:
    """Nothing is made then."""
    (rootfs / "etc/resolv.conf").write_text("")

    assert can_be_shown(str(rootfs), [])


def test_a_missing_file_would_be_made(rootfs: Path) -> None:
    """Neither in an existing nor in a missing directory."""
    assert not can_be_shown(str(rootfs), [TMPFS])
    (rootfs / "etc").rmdir()
    assert not can_be_shown(str(rootfs), [TMPFS])


@pytest.mark.parametrize(
    ("mounts", "shown"),
    [([], False), ([TMPFS], True), ([BIND], False), ([BIND, TMPFS], True), ([TMPFS, BIND], False)],
)
@pytest.mark.parametrize("target", ["/tmp/resolv.conf", "../tmp/resolv.conf"])
def test_a_link_into_a_mount_is_harmless(
    rootfs: Path, target: str, mounts: list[dict[str, Any]], shown: bool
) -> None:
    """Where the bundle mounts a file system of its own, the file is made in that."""
    os.symlink(target, rootfs / "etc/resolv.conf")

    assert can_be_shown(str(rootfs), mounts) is shown


def test_links_stay_inside(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A link to a file of the host leads to the same name inside, where it is missing."""
    outside = tmp_path_factory.mktemp("outside") / "file"
    outside.write_text("")
    os.symlink(outside, rootfs / "etc/resolv.conf")

    assert not can_be_shown(str(rootfs), [])


def test_a_link_to_itself_ends(rootfs: Path) -> None:
    """The kernel's limit is ours."""
    os.symlink("resolv.conf", rootfs / "etc/resolv.conf")

    assert not can_be_shown(str(rootfs), [])
