"""Detached mounts, remounts, mapped owners and user namespaces, with the real kernel."""

import os
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from uxc.errors import ConflictError, InvalidError
from uxc.linux import const, mount, ns, userns
from uxc.oci import copyup, hostroot


def in_child(function: Callable[[], None]) -> None:
    """Run ``function`` in a forked process; fail when it raises."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def write_maps(pid: int) -> None:
    """Map the ids 0 to 9 to 1000 to 1009."""
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text("0 1000 10")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """Return a place where a tmpfs is mounted, with one file of root's."""
    place = tmp_path / "source"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "t", str(place)], check=True)
    (place / "file").write_text("")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_user_namespace_needs_nobody_in_it() -> None:
    """Its descriptor is what stays: no process, and no other descriptor."""
    before = sorted(os.listdir("/proc/self/fd"))

    fd = userns.make(write_maps)

    try:
        assert ns.kind(fd) == const.CLONE_NEWUSER
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    finally:
        os.close(fd)


def test_a_user_namespace_that_gets_no_maps_is_gone() -> None:
    """The error is the caller's, and nothing is left."""
    before = sorted(os.listdir("/proc/self/fd"))

    def fail(pid: int) -> None:
        raise InvalidError(f"no maps for {pid}")

    with pytest.raises(InvalidError, match="no maps"):
        userns.make(fail)

    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_owners_are_mapped(source: Path) -> None:
    """Root's files are shown as those of 1000, in this mount only."""
    space = userns.make(write_maps)
    fd = mount.clone_tree(str(source), recursive=False)
    try:
        mount.set_idmap(fd, space)

        assert os.stat("file", dir_fd=fd).st_uid == 1000
        assert (source / "file").stat().st_uid == 0
    finally:
        os.close(fd)
        os.close(space)


def test_a_file_system_is_reconfigured(source: Path) -> None:
    """Only what is named changes; what it cannot do is explained by the kernel."""
    fd = os.open(source, os.O_PATH)
    try:
        mount.reconfigure(fd, ["size=1m"])
        assert os.statvfs(source).f_blocks * os.statvfs(source).f_frsize == 1 << 20
        mount.reconfigure(fd, ["ro"])
        assert os.statvfs(source).f_flag & os.ST_RDONLY
        assert os.statvfs(source).f_blocks * os.statvfs(source).f_frsize == 1 << 20
        with pytest.raises(OSError, match="color"):
            mount.reconfigure(fd, ["color=red"])
    finally:
        os.close(fd)


def test_only_what_is_mounted_is_reconfigured(source: Path) -> None:
    """A directory in the file system is not the file system."""
    (source / "below").mkdir()
    fd = os.open(source / "below", os.O_PATH)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            mount.reconfigure(fd, ["ro"])
    finally:
        os.close(fd)


def test_locked_flags_are_added_to_only(source: Path) -> None:
    """In a user namespace a read-only mount of the host gets more flags, and stays read-only."""
    subprocess.run(["mount", "-o", "remount,bind,ro", str(source)], check=True)

    def check() -> None:
        ns.unshare(const.CLONE_NEWUSER | const.CLONE_NEWNS)
        fd = mount.clone_tree(str(source), recursive=True)
        mount.set_attributes(fd, const.MOUNT_ATTR_NOSUID)
        assert os.fstatvfs(fd).f_flag & os.ST_RDONLY
        assert os.fstatvfs(fd).f_flag & os.ST_NOSUID
        with pytest.raises(PermissionError):
            mount.set_attributes(fd, 0, const.MOUNT_ATTR_RDONLY)

    in_child(check)


def test_a_mount_has_a_number(source: Path) -> None:
    """That of mountinfo, for anything that lies on it."""
    fd = os.open(source / "file", os.O_PATH)
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        number = next(line.split()[0] for line in lines if line.split()[4] == str(source))
        assert mount.identity(fd) == int(number)
    finally:
        os.close(fd)


def test_a_root_is_attached_and_detached(source: Path) -> None:
    """With all that was mounted below, which nobody else sees."""
    subprocess.run(["mount", "--make-shared", str(source)], check=True)
    (source / "below").mkdir()
    before = Path("/proc/self/mountinfo").read_text()
    number = hostroot.mount_at(str(source))

    os.close(hostroot.attach(str(source)))
    ours = hostroot.mount_at(str(source))
    subprocess.run(["mount", "-t", "tmpfs", "t", f"{source}/below"], check=True)
    hostroot.detach(str(source), number, ours)

    assert Path("/proc/self/mountinfo").read_text() == before
    hostroot.detach(str(source), number, ours)
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_root_that_is_covered_is_left_until_it_is_not(source: Path) -> None:
    """What somebody else mounted on it is not ours to unmount."""
    number = hostroot.mount_at(str(source))
    os.close(hostroot.attach(str(source)))
    ours = hostroot.mount_at(str(source))
    subprocess.run(["mount", "-t", "tmpfs", "t", str(source)], check=True)
    try:
        with pytest.raises(ConflictError, match="something else is mounted"):
            hostroot.detach(str(source), number, ours)
    finally:
        subprocess.run(["umount", str(source)], check=True)

    hostroot.detach(str(source), number, ours)

    assert hostroot.mount_at(str(source)) == number


def test_a_root_that_nobody_put_on_record_is_found(source: Path) -> None:
    """Whoever attached it died before it could say which one it was."""
    number = hostroot.mount_at(str(source))
    os.close(hostroot.attach(str(source)))

    hostroot.detach(str(source), number, 0)

    assert hostroot.mount_at(str(source)) == number


def test_a_deep_tree_is_copied_as_far_as_paths_go(tmp_path: Path, source: Path) -> None:
    """A hostile image is as deep as it likes: an error, not a crash, and no descriptor is lost."""
    top = os.open(tmp_path, os.O_RDONLY)
    here = os.dup(top)
    for _ in range(2100):
        os.mkdir("x", dir_fd=here)
        deeper = os.open("x", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    target = os.open(source, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        tree = os.open("x", os.O_RDONLY, dir_fd=top)
        with pytest.raises(OSError, match="File name too long"):
            copyup.copy_tree(tree, target)
        os.close(tree)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        subprocess.run(["rm", "-rf", "x"], cwd=tmp_path, check=True)
        os.close(target)
        os.close(top)
