"""Pseudo terminals: a pair from one devpts instance, its size, and the controlling terminal."""

import _struct
import fcntl
import posix

from uxc.linux import const

_MASTER = posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC


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
