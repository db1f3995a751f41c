"""The client's end of the control socket: one connection to the manager, requests one by one."""

import _socket
import errno
import time

from uxc import protocol
from uxc.errors import InvalidError, UnavailableError, system_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

START_HINT = "start it: /etc/init.d/uxc start, or uxc-manager in a terminal of its own"

_READ_BYTES = 1 << 16
_RETRY_S = 0.05
# What connect(2) says while no manager listens.
_ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)


class Client:
    """An open connection; close it, or use it in a ``with``."""

    __slots__ = ("_fds", "_number", "_received", "_socket", "progress")

    def __init__(self, path: str, wait_s: float = 0) -> None:
        """Connect to the manager at ``path``, trying again for ``wait_s`` seconds.

        Raises UnavailableError when none listens there, SystemFailure when the kernel refuses.
        """
        self._socket = _connect(path, time.monotonic() + wait_s)
        self._received = b""
        self._number = 0
        self._fds: list[int] = []
        self.progress: Callable[[str], None] | None = None

    def __enter__(self) -> "Client":
        """Return the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection and the descriptors that nobody took."""
        self._socket.close()
        protocol.close_all(self._fds)
        self._fds = []

    def request(self, op: str, args: "dict[str, Any] | None" = None) -> "Any":
        """Ask for ``op`` and return its result; raise the UxcError that the manager answers.

        Raises UnavailableError when the manager ends before it has answered.
        """
        self._number += 1
        line = protocol.encode_line(protocol.request(self._number, op, args or {}))
        try:
            self._socket.sendall(line, _socket.MSG_NOSIGNAL)
        except OSError:
            # It may have said why it closed the connection; the answer below tells.
            pass
        while True:
            message = self._receive()
            if message.get("id") in (self._number, 0):
                return protocol.result_of(message)
            if message.get("event") == "progress" and self.progress is not None:
                self.progress(str(message.get("text")))

    def request_fd(self, op: str, args: "dict[str, Any] | None" = None) -> "tuple[Any, int]":
        """Ask for ``op`` and return its result and the file descriptor beside it."""
        result = self.request(op, args)
        if not self._fds:
            raise InvalidError(f"{op}: the manager sent no file descriptor")
        return result, self._fds.pop(0)

    def _receive(self) -> "dict[str, Any]":
        while b"\n" not in self._received:
            try:
                data, fds, _ = protocol.receive_with_fds(self._socket, _READ_BYTES)
            except ConnectionError:
                data, fds = b"", []
            self._fds += fds
            if not data:
                raise UnavailableError("the manager ended before it answered", START_HINT)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return protocol.decode(line, "the manager's answer")


def _connect(path: str, deadline: float) -> "_socket.socket":
    while True:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            if error.errno == errno.EACCES:
                raise system_failure("talk to the manager", error, "run it as root") from None
            if error.errno not in _ABSENT:
                raise system_failure(f"connect to {path}", error) from None
            if time.monotonic() >= deadline:
                raise UnavailableError("the manager is not running", START_HINT) from None
            time.sleep(_RETRY_S)
        else:
            return connection
