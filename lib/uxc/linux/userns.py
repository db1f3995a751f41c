"""User namespaces that nobody lives in yet: to map the owners of a mount, to be joined later."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix

from uxc.linux import const, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def make(write_maps: "Callable[[int], None]") -> int:
    """Return an fd of a new user namespace; see ``make_with``."""
    return make_with(write_maps, 0, ("user",))[0]


def make_with(
    write_maps: "Callable[[int], None]", others: int, names: "tuple[str, ...]"
) -> "list[int]":
    """Return fds of a new user namespace, and of ``others`` that belong to it.

    ``others`` are CLONE_NEW*, ``names`` those wanted as in /proc/PID/ns, in the order of the fds.

    A user namespace is made with a process in it: ``write_maps`` is called with the pid of that
    one to give it maps, and it is gone when this returns or when the caller dies. Raises OSError,
    and whatever ``write_maps`` raises. For processes with one thread (see ``proc.clone``).
    """
    fds: list[int] = []
    end, hold = posix.pipe2(posix.O_CLOEXEC)
    try:
        pid, pidfd = proc.clone(const.CLONE_NEWUSER | others)
        if pid == 0:
            posix.close(hold)
            _wait_for_the_end(end)
    except BaseException:
        posix.close(hold)
        raise
    finally:
        posix.close(end)
    try:
        write_maps(pid)
        for name in names:
            fds.append(posix.open(f"/proc/{pid}/ns/{name}", posix.O_RDONLY | posix.O_CLOEXEC))
        return fds
    except BaseException:
        for fd in fds:
            posix.close(fd)
        raise
    finally:
        posix.close(hold)
        posix.waitpid(pid, 0)
        posix.close(pidfd)


def _wait_for_the_end(end: int) -> "NoReturn":
    """Wait until every copy of the pipe's other end is closed: by its maker, or by its death."""
    try:
        # The handlers of the caller are in this copy of it, too.
        _signal.pthread_sigmask(_signal.SIG_SETMASK, _signal.valid_signals())
        posix.read(end, 1)
    finally:
        posix._exit(0)
