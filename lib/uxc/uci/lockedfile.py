"""Whole files under the flock that libuci takes: shared for reading, exclusive for changing."""

import fcntl
import posix

_READ_SIZE = 1 << 16


def read_shared(path: str) -> bytes:
    """Return the content of ``path``, read under a shared lock.

    Raises OSError as open(2), flock(2) and read(2), with ``filename`` set where open(2) failed.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        return read_all(fd)
    finally:
        posix.close(fd)


def open_exclusive(path: str, create_mode: "int | None" = None) -> int:
    """Open ``path`` for reading and writing, wait for its exclusive lock, return the descriptor.

    A missing file is made if ``create_mode`` is given (the umask applies). Raises OSError.
    """
    flags = posix.O_RDWR | posix.O_CLOEXEC | (0 if create_mode is None else posix.O_CREAT)
    fd = posix.open(path, flags, create_mode or 0)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except BaseException:
        posix.close(fd)
        raise
    return fd


def read_all(fd: int) -> bytes:
    """Return everything from the present offset of ``fd``; OSError as read(2)."""
    parts = []
    while part := posix.read(fd, _READ_SIZE):
        parts.append(part)
    return b"".join(parts)
