"""File descriptors: which ones a process keeps, and whole files read through one."""

import posix

from uxc.linux import const
from uxc.linux.libc import syscall

_LAST = (1 << 32) - 1


def close_range(first: int, last: int = _LAST, cloexec: bool = False) -> None:
    """Close ``first`` to ``last``, or mark them close-on-exec (close_range(2)); never fails."""
    syscall("close_range", None, first, last, const.CLOSE_RANGE_CLOEXEC if cloexec else 0)


def close_all_but(keep: "list[int]", cloexec: bool = False) -> None:
    """Close every descriptor above 2 that is not in ``keep``, or mark it close-on-exec."""
    first = 3
    for fd in sorted(keep):
        if fd < first:
            continue
        if fd > first:
            close_range(first, fd - 1, cloexec)
        first = fd + 1
    close_range(first, cloexec=cloexec)


def close_quietly(fd: int) -> None:
    """Close ``fd`` if it is one (-1 means none); close(2) frees it whatever it answers."""
    if fd >= 0:
        try:
            posix.close(fd)
        except OSError:
            # EIO and friends tell of earlier writes; the descriptor is gone all the same.
            return
