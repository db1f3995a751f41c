"""Readiness of a service in a container, passed on to who supervises it (sd_notify(3)).

``create`` shows the container a directory of its state at /run/notify, ``start`` listens there
and tells the supervisor, whose socket no container ever sees. Of what the container says only
"ready" is passed on: a pid in it would be one of another pid namespace.
"""

import _socket
import posix
import select

from uxc.errors import system_failure
from uxc.linux import pid as processes
from uxc.protocol import send_with_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORY = "notify"
_SOCKET = "notify.sock"
_INSIDE = "/run/notify"
_ENVIRONMENT = b"NOTIFY_SOCKET"
_READY = b"READY="
_MAX_MESSAGE_BYTES = 1 << 16
# As long as systemd's own tools wait for the barrier.
_BARRIER_PATIENCE_S = 30.0
_OPTIONS = ["bind", "nosuid", "noexec", "nodev", "ro"]


def address() -> bytes:
    """Return where the supervisor of this process listens, empty for nowhere."""
    return posix.environ.get(_ENVIRONMENT, b"")


def with_socket(config: "dict[str, Any]", directory: str) -> "dict[str, Any]":
    """Return config.json with a mount and a variable for the socket below ``directory``."""
    process, mounts = config.get("process"), config.get("mounts") or []
    if not isinstance(process, dict) or not isinstance(mounts, list):
        return config
    environment = process.get("env") or []
    if not isinstance(environment, list):
        return config
    mount = {
        "destination": _INSIDE,
        "type": "bind",
        "source": f"{directory}/{DIRECTORY}",
        "options": _OPTIONS,
    }
    variable = f"{_ENVIRONMENT.decode()}={_INSIDE}/{_SOCKET}"
    process = {**process, "env": [*environment, variable]}
    return {**config, "process": process, "mounts": [*mounts, mount]}


def make_directory(directory: str) -> None:
    """Make what ``with_socket`` mounts; OSError."""
    posix.mkdir(f"{directory}/{DIRECTORY}", 0o755)


class Listener:
    """The socket that a container sees at /run/notify."""

    __slots__ = ("_sock",)

    def __init__(self, directory: str) -> None:
        """Listen for the container whose state is in ``directory``.

        Raises FileNotFoundError when it was created without, SystemFailure.
        """
        folder = posix.open(f"{directory}/{DIRECTORY}", posix.O_PATH | posix.O_CLOEXEC)
        self._sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
        try:
            # A directory's descriptor makes any path short enough for sun_path.
            path = f"/proc/self/fd/{folder}/{_SOCKET}"
            try:
                posix.unlink(path)
            except FileNotFoundError:
                pass
            # The service may run as anybody; who can reach the directory is in the container. Not
            # by chmod(2): in a container that can write here, the name may be a link by then.
            umask = posix.umask(0)
            try:
                self._sock.bind(path)
            finally:
                posix.umask(umask)
        except OSError as error:
            self._sock.close()
            raise system_failure(f"listen in {directory}/{DIRECTORY}", error) from None
        finally:
            posix.close(folder)

    def forward(self, supervisor: bytes, pid: int, start_time: int, main_pid: int = 0) -> bool:
        """Wait until the container is ready and tell the supervisor, with its pid on the host.

        ``main_pid`` is told instead of ``pid`` when not 0. Returns False when the container ended
        first, or the supervisor did not answer the barrier in time: it waits for nothing else.
        Raises SystemFailure when the supervisor cannot be told.
        """
        try:
            pidfd = processes.pidfd_of(pid, start_time)
        except ProcessLookupError:
            return False
        try:
            if not self._wait_ready(pidfd):
                return False
            return _tell(supervisor, main_pid or pid, pidfd)
        except OSError as error:
            raise system_failure("notify the supervisor", error) from None
        finally:
            posix.close(pidfd)

    def _wait_ready(self, pidfd: int) -> bool:
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            # First what was said: it may have been the last thing before the end.
            if self._sock.fileno() in ready:
                message = self._sock.recv(_MAX_MESSAGE_BYTES)
                if any(line.startswith(_READY) for line in message.split(b"\n")):
                    return True
            elif pidfd in ready:
                return False

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()


def _tell(supervisor: bytes, pid: int, pidfd: int) -> bool:
    # An address that begins with @ is in the abstract namespace (unix(7)).
    target = b"\0" + supervisor[1:] if supervisor[:1] == b"@" else supervisor
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    receiving, sending = posix.pipe()
    try:
        sock.connect(target)
        sock.send(b"READY=1\nMAINPID=%d\n" % pid)
        # Until the supervisor has closed its copy, it may not know us any more when it looks.
        send_with_fds(sock, b"BARRIER=1", (sending,))
        posix.close(sending)
        sending = -1
        poll = select.poll()
        poll.register(receiving, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(int(_BARRIER_PATIENCE_S * 1000)))
    finally:
        sock.close()
        posix.close(receiving)
        if sending >= 0:
            posix.close(sending)
