"""Exit codes: what a wait status means, and records that outlive the keeper and the container."""

from __future__ import annotations

import _struct
import errno
import fcntl
import posix

from uxc import files, jsontext
from uxc.errors import UxcError
from uxc.linux import const, proc

_RECORD = "exit.json"

# struct pidfd_info, linux/pidfd.h: mask, cgroupid, then eleven 32-bit words up to exit_code.
_INFO_BYTES = 64
_INFO_EXIT = 1 << 3
_INFO_EXIT_AT = 60
_GET_INFO = const.IOCTL.read(0xFF, 11, _INFO_BYTES) | const.IOCTL.write(0xFF, 11, _INFO_BYTES)


class Exit:
    """How a container ended: ``code`` is 128+n after signal n, None where nobody can know."""

    __slots__ = ("code", "signal")

    def __init__(self, code: int | None, signal: int | None = None) -> None:
        """Keep the exit code and, if one ended it, the signal's number."""
        self.code = code
        self.signal = signal


UNKNOWN = Exit(None)


def from_status(status: int) -> Exit:
    """Translate what waitpid(2) gives."""
    signal = posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else None
    return Exit(proc.exit_code(status), signal)


def of_stranger(pidfd: int, pid: int, started: int) -> Exit:
    """Find out how a process ended that is not our child and whose pidfd says that it did.

    Until its parent reaps it /proc/PID/stat tells the status, afterwards PIDFD_GET_INFO does, on
    kernels that keep it (Linux 6.15). Between the two a container of a dead keeper has ended
    without a trace, and ``UNKNOWN`` is the honest answer.
    """
    status = _zombie_status(pid, started)
    if status is None:
        status = _info_status(pidfd)
    return UNKNOWN if status is None else from_status(status)


def _zombie_status(pid: int, started: int) -> int | None:
    try:
        text = files.read_bytes(f"/proc/{pid}/stat", 4096)
    except OSError:
        # ENOENT before the read, ESRCH during it: reaped.
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    # Fields 3, 22 and 52 of proc(5).
    if fields[0] not in (b"Z", b"X") or int(fields[19]) != started:
        return None
    return int(fields[49])


def _info_status(pidfd: int) -> int | None:
    request = _struct.pack("=Q", _INFO_EXIT).ljust(_INFO_BYTES, b"\0")
    try:
        answer = fcntl.ioctl(pidfd, _GET_INFO, request)
    except OSError as error:
        # Kernels without the call; kernels whose call knows living processes only.
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        raise
    (mask,) = _struct.unpack_from("=Q", answer)
    if not mask & _INFO_EXIT:
        return None
    return int(_struct.unpack_from("=i", answer, _INFO_EXIT_AT)[0])


def record(state_dir: str, ended: Exit) -> None:
    """Write ``ended`` beside the container's state; a state that is deleted already is fine.

    Raises OSError as write(2).
    """
    try:
        text = {"exit_code": ended.code, "signal": ended.signal}
        files.write_atomic(f"{state_dir}/{_RECORD}", jsontext.dumps(text).encode() + b"\n")
    except FileNotFoundError:
        return


def recorded(state_dir: str) -> Exit:
    """Read what ``record`` wrote; ``UNKNOWN`` when no keeper saw the container's end."""
    try:
        text = files.read_json(f"{state_dir}/{_RECORD}")
    except FileNotFoundError:
        return UNKNOWN
    except UxcError:
        # Cut off by a full file system: as good as none.
        return UNKNOWN
    return Exit(text.get("exit_code"), text.get("signal")) if isinstance(text, dict) else UNKNOWN
