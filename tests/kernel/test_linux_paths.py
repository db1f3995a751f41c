"""Paths beneath a hostile directory."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from uxc.linux import path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """Return a descriptor of a directory to be confined to."""
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH)
    yield fd
    os.close(fd)


def where(fd: int) -> str:
    """Return the path behind ``fd`` and close it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "place", ["/a", "a", "../../a", "/../a", "/x/../a", "./a/.", "//a//", "/up/a", "/abs/a"]
)
def test_every_spelling_stays_inside(root: int, tmp_path: Path, place: str) -> None:
    """The root is ``/`` and its own parent, and links mean it too."""
    inside = tmp_path / "root"
    (inside / "x").mkdir()
    os.symlink("..", inside / "up")
    os.symlink("/", inside / "abs")

    assert where(path.make_in_root(root, place, directory=True)) == str(inside / "a")


def test_missing_parts_are_made(root: int, tmp_path: Path) -> None:
    """Directories on the way, then what was asked for."""
    assert where(path.make_in_root(root, "/a/b/c", directory=False)) == str(tmp_path / "root/a/b/c")
    assert (tmp_path / "root/a/b").is_dir()
    assert (tmp_path / "root/a/b/c").is_file()


@pytest.mark.parametrize(
    ("target", "made"),
    [("/t/x", "t/x"), ("t/x", "d/t/x"), ("../t/x", "t/x"), ("../../../t", "t"), ("/d/other", "t")],
)
def test_a_dangling_link_is_followed_inside(
    root: int, tmp_path: Path, target: str, made: str
) -> None:
    """What a link points to is made, where the container would look for it."""
    inside = tmp_path / "root"
    (inside / "d").mkdir()
    os.symlink(target, inside / "d/link")
    os.symlink("/t", inside / "d/other")

    assert where(path.make_in_root(root, "/d/link", directory=False)) == str(inside / made)


def test_links_in_a_circle_are_an_error(root: int, tmp_path: Path) -> None:
    """ELOOP, as the kernel itself says it."""
    os.symlink("two", tmp_path / "root/one")
    os.symlink("one", tmp_path / "root/two")

    with pytest.raises(OSError, match="symbolic links"):
        path.make_in_root(root, "/one/x", directory=True)


def test_magic_links_lead_nowhere(root: int, tmp_path: Path) -> None:
    """/proc/self/fd/N is a door to the host."""
    os.symlink(f"/proc/self/fd/{root}", tmp_path / "root/door")

    with pytest.raises(FileNotFoundError):
        path.open_in_root(root, "/door")


def test_a_magic_link_of_our_own_is_not_followed(root: int, tmp_path: Path) -> None:
    """A number that was free a moment ago is that of a descriptor opened to look at it."""
    (tmp_path / "root/proc").mkdir()
    os.system(f"mount -t proc proc {tmp_path}/root/proc")
    try:
        for number in range(3, 40):
            with pytest.raises(OSError, match=r"symbolic links|not permitted|No such"):
                os.close(path.make_in_root(root, f"/proc/self/fd/{number}", directory=True))
    finally:
        os.system(f"umount {tmp_path}/root/proc")

    assert os.listdir(tmp_path / "root") == ["proc"]


def test_without_links_means_none(root: int, tmp_path: Path) -> None:
    """A link in any part is ELOOP, also one that stays inside."""
    (tmp_path / "root/real").mkdir()
    os.symlink("real", tmp_path / "root/link")

    assert where(path.open_without_links(root, "real")) == str(tmp_path / "root/real")
    with pytest.raises(OSError, match="symbolic links"):
        path.open_without_links(root, "link")


def test_what_is_mounted_over_is_refused(root: int, tmp_path: Path) -> None:
    """A write meant for one file system does not go to another."""
    (tmp_path / "root/file").write_text("")
    (tmp_path / "over").write_text("")
    os.system(f"mount --bind {tmp_path}/over {tmp_path}/root/file")
    try:
        with pytest.raises(OSError, match="cross-device"):
            path.open_same_mount(root, "file", os.O_WRONLY)
    finally:
        os.system(f"umount {tmp_path}/root/file")
