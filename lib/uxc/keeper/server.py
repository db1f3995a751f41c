"""The keeper's socket: clients, requests, answers and events (docs/keeper.md)."""

from __future__ import annotations

import _socket
import _struct
import errno
import posix

from uxc import protocol
from uxc.errors import InternalError, InvalidError, SystemFailure, UxcError, system_failure
from uxc.keeper.children import place
from uxc.keeper.loop import ERROR, HANGUP, READ, WRITE, would_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from uxc.keeper.loop import Loop

    Operation = Callable[["Request"], None]

# A client that lets this many answers and events wait is gone for all practical purposes.
_MAX_WAITING = 256


class Request:
    """One request; exactly one of ``succeed`` and ``fail`` answers it, at once or later."""

    __slots__ = ("_client", "_number", "args", "fds")

    def __init__(self, client: Client, number: int, args: dict[str, Any], fds: list[int]) -> None:
        """Keep the arguments; descriptors left in ``fds`` are closed when the operation returns."""
        self._client = client
        self._number = number
        self.args = args
        self.fds = fds

    def text(self, key: str) -> str:
        """Return the argument ``key``; InvalidError when it is not a text."""
        value = self.args.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise InvalidError(f"argument '{key}' must be a text")
        return value

    def flag(self, key: str) -> bool:
        """Return the argument ``key``, false when it is absent; InvalidError for other types."""
        value = self.args.get(key, False)
        if not isinstance(value, bool):
            raise InvalidError(f"argument '{key}' must be true or false")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """Return the argument ``key``; InvalidError when it is not a whole number from 0 up."""
        value = self.args.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InvalidError(f"argument '{key}' must be a number")
        return value

    def succeed(self, result: object = None, fds: tuple[int, ...] = ()) -> None:
        """Answer with ``result`` and duplicates of ``fds``."""
        self._client.send(protocol.success(self._number, result), fds)

    def fail(self, error: UxcError) -> None:
        """Answer with ``error``."""
        self._client.send(protocol.failure(self._number, error))


class Server:
    """The listening socket and everybody connected to it.

    ``on_gone`` is called after a client has left. ``report`` is told about errors of ours.
    """

    __slots__ = (
        "_loop",
        "_operations",
        "_path",
        "_sock",
        "_spare",
        "clients",
        "on_gone",
        "report",
    )

    def __init__(
        self, loop: Loop, operations: dict[str, Operation], report: Callable[[str, Exception], None]
    ) -> None:
        """Serve ``operations``; ``listen`` and ``adopt`` bring the clients."""
        self._loop = loop
        self._operations = operations
        self._path = ""
        self._sock: _socket.socket | None = None
        self.clients: list[Client] = []
        self.on_gone: Callable[[], None] = _nothing
        self.report = report
        self._spare = _open_spare()

    def listen(self, path: str) -> None:
        """Listen on ``path``, replacing what a dead keeper left there; OSError as bind(2).

        The caller holds the lock that says that there is no other keeper.
        """
        kind = _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        sock = _socket.socket(_socket.AF_UNIX, kind)
        try:
            if _exists(path):
                posix.unlink(path)
            # The mode of a socket file comes from the umask alone; nobody may get in between.
            before = posix.umask(0o177)
            try:
                sock.bind(path)
            finally:
                posix.umask(before)
            sock.listen(64)
        except OSError as error:
            sock.close()
            raise OSError(error.errno, error.strerror, path) from None
        self._path, self._sock = path, sock
        self._loop.watch(sock.fileno(), READ, self._accept)

    def adopt(self, sock: _socket.socket) -> None:
        """Serve a client that is connected already."""
        sock.setblocking(False)
        # A packet goes in one piece or not at all (unix(7)): ask for as much as the kernel gives,
        # since a list of a thousand containers is longer than the default allows.
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, protocol.MAX_MESSAGE_BYTES)
        self.clients.append(Client(self, self._loop, sock))

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        if self._sock is not None:
            posix.unlink(self._path)
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def broadcast(self, event: dict[str, Any]) -> None:
        """Send ``event`` to every client."""
        for client in tuple(self.clients):
            client.send(event)

    def dispatch(self, client: Client, message: dict[str, Any], fds: list[int]) -> None:
        """Carry out one request; every failure becomes its answer."""
        number = message.get("id")
        args = message.get("args", {})
        valid = isinstance(number, int) and isinstance(args, dict)
        request = Request(client, number if isinstance(number, int) else 0, args, fds)
        try:
            if not valid or message.get("v") != protocol.VERSION:
                raise InvalidError(f"not a request of version {protocol.VERSION}")
            operation = self._operations.get(str(message.get("op")))
            if operation is None:
                raise InvalidError(f"unknown operation '{message.get('op')}'")
            operation(request)
        except UxcError as error:
            request.fail(error)
        except OSError as error:
            request.fail(system_failure(f"{message.get('op')}", error))
        except Exception as error:
            self.report(f"operation '{message.get('op')}'", error)
            request.fail(InternalError(f"{type(error).__name__}: {error} ({place(error)})"))
        finally:
            protocol.close_all(request.fds)

    def _accept(self, _events: int) -> None:
        assert self._sock is not None
        try:
            fd = _accept(self._sock)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                # A client that has given up, or that another event was about (accept(2)).
                return
            # Refusing needs a descriptor, too: the connection would stay ready for ever.
            posix.close(self._spare)
            try:
                posix.close(_accept(self._sock))
            finally:
                self._spare = _open_spare()
            return
        sock = _socket.socket(fileno=fd)
        if _peer_uid(sock) != 0:
            # The file's mode keeps others out; this one holds if somebody has changed it.
            sock.close()
            return
        self.adopt(sock)


class Client:
    """One connection; it may be slow, broken or gone without any harm to others."""

    __slots__ = ("_fd", "_loop", "_server", "_sock", "_waiting")

    def __init__(self, server: Server, loop: Loop, sock: _socket.socket) -> None:
        """Serve ``sock``."""
        self._server = server
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._waiting: list[tuple[dict[str, Any], tuple[int, ...]]] = []
        loop.watch(self._fd, READ, self._serve)

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send ``message``, after those that wait already."""
        if self._fd < 0:
            return
        if len(self._waiting) >= _MAX_WAITING:
            self.close()
            return
        self._waiting.append((message, tuple(posix.dup(fd) for fd in fds)))
        if len(self._waiting) == 1:
            self._flush()

    def close(self) -> None:
        """End the connection; requests that are still worked on lose their answer only."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._sock.close()
            self._fd = -1
            for _, fds in self._waiting:
                protocol.close_all(list(fds))
            self._waiting.clear()
            self._server.clients.remove(self)
            self._server.on_gone()

    def _serve(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self._fd >= 0:
            self._receive()
        elif events & (ERROR | HANGUP):
            self.close()

    def _flush(self) -> None:
        try:
            while self._waiting:
                message, fds = self._waiting[0]
                protocol.send_packet(self._sock, message, fds)
                protocol.close_all(list(fds))
                del self._waiting[0]
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._replace_first()
            elif not would_block(error):
                self.close()
                return
        self._loop.watch(self._fd, READ | (WRITE if self._waiting else 0), self._serve)

    def _replace_first(self) -> None:
        """Put an error in the place of an answer that no packet can hold."""
        message, fds = self._waiting[0]
        protocol.close_all(list(fds))
        too_long = SystemFailure("the answer is longer than a packet may be")
        self._waiting[0] = (protocol.failure(message.get("id", 0), too_long), ())
        self._flush()

    def _receive(self) -> None:
        try:
            message, fds = protocol.receive_packet(self._sock, "a request")
        except OSError as error:
            if not would_block(error):
                self.close()
            return
        except InvalidError as error:
            self.send(protocol.failure(0, error))
            return
        if message is None:
            self.close()
            return
        self._server.dispatch(self, message, fds)


def _peer_uid(sock: _socket.socket) -> int:
    """Return the user of the process that connected (SO_PEERCRED, unix(7))."""
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int(_struct.unpack("=iII", credentials)[1])


def _accept(sock: _socket.socket) -> int:
    """Return the close-on-exec descriptor of a new connection; OSError as accept(2)."""
    fd, _ = sock._accept()  # type: ignore[attr-defined]  # typeshed has it in ``socket`` only
    return int(fd)


def _open_spare() -> int:
    return posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)


def _exists(path: str) -> bool:
    try:
        posix.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _nothing() -> None:
    """Do nothing."""
