"""Naming a process surely: pid and start time, pidfds, signals through them.

Apart from ``proc``, because asking after a process needs no system call that Python lacks.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import errno
import posix


class Stat:
    """What ``/proc/PID/stat`` tells: the state letter and the start time in clock ticks."""

    __slots__ = ("start_time", "state")

    def __init__(self, state: str, start_time: int) -> None:
        """Keep the fields as proc(5) counts them: 3 and 22."""
        self.state = state
        self.start_time = start_time

    @property
    def alive(self) -> bool:
        """Tell whether the process still runs code: zombies and dying ones do not."""
        return self.state not in "ZXx"


def stat(pid: int) -> Stat:
    """Read the stat of ``pid``; raises ProcessLookupError when there is no such process."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            text = posix.read(fd, 4096)
        finally:
            posix.close(fd)
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, "No such process", str(pid)) from None
    # The name (field 2) may hold blanks and parentheses; what follows the last one is safe.
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[19]))


def start_time(pid: int) -> int:
    """Return when ``pid`` started, in clock ticks since boot; ProcessLookupError as ``stat``.

    Pid and start time together name a process for as long as the machine runs: pids come again.
    """
    return stat(pid).start_time


def number_inside(pid: int) -> int:
    """Return the number that ``pid`` has in its own pid namespace; ProcessLookupError, OSError."""
    fd = posix.open(f"/proc/{pid}/status", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        text = posix.read(fd, 1 << 16)
    finally:
        posix.close(fd)
    # One number for each namespace from the reader's inwards (proc_pid_status(5)).
    start = text.index(b"\nNSpid:") + 1
    return int(text[start : text.index(b"\n", start)].split()[-1])


def pidfd_open(pid: int) -> int:
    """Return a close-on-exec pidfd of ``pid``; raises ProcessLookupError when it is gone."""
    return posix.pidfd_open(pid)


def pidfd_of(pid: int, started: int) -> int:
    """Return a pidfd of the process ``pid`` that started at ``started`` (clock ticks).

    Raises ProcessLookupError when it is gone, or when its pid is somebody else's now.
    """
    fd = posix.pidfd_open(pid)
    try:
        # Read after the pidfd was opened: from here on the pid cannot be given away unseen.
        if stat(pid).start_time != started:
            raise ProcessLookupError(errno.ESRCH, "No such process", str(pid))
    except BaseException:
        posix.close(fd)
        raise
    return fd


def send_signal(pidfd: int, signal: int) -> None:
    """Send ``signal`` to the process behind ``pidfd``; OSError as pidfd_send_signal(2)."""
    _signal.pidfd_send_signal(pidfd, signal)
