"""Tracing a child just long enough to stop it at its execve (ptrace(2))."""

import errno
import posix

from uxc.linux import const
from uxc.linux.libc import syscall


def seize(pid: int) -> None:
    """Trace ``pid`` from now on: it stops after its next execve, and dies if we die; OSError.

    Needs CAP_SYS_PTRACE over the user namespace of ``pid``; else the kernel would let the execve
    ignore set-user-ID bits and file capabilities.
    """
    options = const.PTRACE_O_TRACEEXEC | const.PTRACE_O_EXITKILL
    syscall("ptrace", pid, const.PTRACE_SEIZE, pid, 0, options)


def at_exec(status: int) -> bool:
    """Tell whether the wait status ``status`` is the stop after an execve."""
    return status >> 16 == const.PTRACE_EVENT_EXEC


def go_on(pid: int, status: int) -> None:
    """Let ``pid`` go on from the stop ``status``, with the signal that it was about to get.

    A process that has ended meanwhile is fine: its wait status tells.
    """
    if status >> 16 == const.PTRACE_EVENT_STOP and posix.WSTOPSIG(status) != _TRAP:
        # A stop by SIGSTOP and its kin: it stays stopped, as without us (ptrace(2), LISTEN).
        _request(const.PTRACE_LISTEN, pid, 0)
    else:
        signal = 0 if status >> 16 else posix.WSTOPSIG(status)
        _request(const.PTRACE_CONT, pid, signal)


def release(pid: int) -> None:
    """Trace ``pid``, which is stopped, no longer; ``go_on`` says what is fine."""
    _request(const.PTRACE_DETACH, pid, 0)


# SIGTRAP has this number on every architecture that Linux runs on.
_TRAP = 5


def _request(request: int, pid: int, data: int) -> None:
    try:
        syscall("ptrace", pid, request, pid, 0, data)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise
