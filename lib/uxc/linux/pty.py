"""Pseudo terminals: a pair from one devpts instance, its size, and the controlling terminal."""

import _struct
import errno
import fcntl
import posix

from uxc.linux import const, path
from uxc.linux.libc import buffer, syscall

_MASTER = posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY
_PTMX_RDEV = posix.makedev(5, 2)
# struct statfs begins with the type: a long, but a 32-bit number on s390x. No machine needs more
# than 128 bytes for the whole.
_STATFS_BYTES = 128
_STATFS_TYPE = "@I" if const.ABI == "s390x" else "@L"


def open_master(root: int, place: str) -> int:
    """Return a new master from the devpts instance mounted at ``place`` below ``root``.

    Nothing is opened but the multiplexer of a devpts: a container may have put anything there
    (CVE-2025-52565). Raises OSError: ENODEV when it is something else.
    """
    instance = path.open_without_links(root, place, _DIRECTORY)
    try:
        answer = buffer(_STATFS_BYTES)
        syscall("fstatfs", place, instance, answer)
        (kind,) = _struct.unpack_from(_STATFS_TYPE, answer.raw)
        if kind != const.DEVPTS_SUPER_MAGIC:
            raise OSError(errno.ENODEV, "not a devpts file system", place)
        master = path.open_same_mount(instance, "ptmx", _MASTER)
    finally:
        posix.close(instance)
    if posix.fstat(master).st_rdev != _PTMX_RDEV:
        posix.close(master)
        raise OSError(errno.ENODEV, "not the terminal multiplexer", place)
    return master


def number_of(peer: int) -> int:
    """Return the number of the terminal ``peer``, its name in the devpts."""
    return posix.minor(posix.fstat(peer).st_rdev)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the window size of the terminal ``fd``; the foreground group gets SIGWINCH."""
    fcntl.ioctl(fd, const.TERMINAL.set_size, _struct.pack("=4H", rows, columns, 0, 0))


def get_size(fd: int) -> "tuple[int, int]":
    """Return (rows, columns) of the terminal ``fd``; OSError ENOTTY when it is none."""
    answer = fcntl.ioctl(fd, const.TERMINAL.get_size, bytes(8))
    rows, columns = _struct.unpack_from("=2H", answer)
    return rows, columns


def open_peer(master: int) -> int:
    """Unlock the terminal of ``master`` and return its other end, close-on-exec.

    Opened through the master (TIOCGPTPEER), never by name: a name is looked up in a file system
    that a container may have arranged.
    """
    fcntl.ioctl(master, const.TERMINAL.set_lock, _struct.pack("=i", 0))
    return fcntl.ioctl(master, const.TERMINAL.get_peer, _MASTER)


def make_controlling(fd: int) -> None:
    """Make ``fd`` the controlling terminal of this session leader that has none."""
    fcntl.ioctl(fd, const.TERMINAL.set_controlling, 0)
