"""Who is to hear of a new container's first process: pid file, pidfd socket, seccomp agent."""

import _socket
import posix

from uxc import files
from uxc.errors import system_failure
from uxc.linux import fds, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.spec_seccomp import Seccomp
    from uxc.oci.state import State

_LONGEST_SOCKET_PATH = 107


def connect(path: str, what: str) -> "_socket.socket":
    """Return a stream socket that is connected to ``path``, ``what`` in messages; SystemFailure."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
    directory = -1
    try:
        if len(path.encode()) > _LONGEST_SOCKET_PATH:
            # sun_path ends there; the directory's descriptor makes any path short.
            parent, _, name = path.rpartition("/")
            directory = posix.open(parent or "/", posix.O_PATH | posix.O_CLOEXEC)
            path = f"/proc/self/fd/{directory}/{name}"
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise system_failure(f"connect to the {what} {path}", error) from None
    finally:
        fds.close_quietly(directory)
    return sock


def send_pidfd(path: str, pidfd: int) -> None:
    """Send ``pidfd`` to who listens at ``path``, as runc's --pidfd-socket; SystemFailure."""
    _send(path, "pidfd socket", b"pidfd", pidfd)


def write_pid_file(path: str, process: int) -> None:
    """Write the pid, without a newline, so that nobody ever reads half of it; SystemFailure."""
    try:
        files.write_atomic(path, str(process).encode(), 0o644)
    except OSError as error:
        raise system_failure(f"write the pid file {path}", error) from None


def hand_listener(
    pidfd: int, number: int, profile: "Seccomp", state: "State", executed: int = 0
) -> None:
    """Fetch the listener that is ``number`` in the process and send it to the profile's agent.

    The process is the container's first one, or another one that is ``executed`` in it.

    With it goes the container process state (runtime-spec, config-linux.md, "The Container Process
    State"). Raises SystemFailure.
    """
    from uxc import jsontext

    of_container = state.document("running" if executed else "creating")
    document: dict[str, Any] = {
        "ociVersion": of_container["ociVersion"],
        "fds": ["seccompFd"],
        "pid": executed or state.pid,
        "metadata": profile.listener_metadata or "",
        "state": of_container,
    }
    try:
        listener = proc.get_fd(pidfd, number)
    except OSError as error:
        raise system_failure("fetch the seccomp listener", error) from None
    try:
        text = jsontext.dumps(document).encode()
        _send(profile.listener_path, "seccomp agent", text, listener)
    finally:
        posix.close(listener)


def _send(path: str, what: str, data: bytes, fd: int) -> None:
    from uxc.protocol import send_with_fds

    sock = connect(path, what)
    try:
        send_with_fds(sock, data, (fd,))
    except OSError as error:
        raise system_failure(f"send a descriptor to the {what} {path}", error) from None
    finally:
        sock.close()
