"""The control socket: many clients, one JSON line per message, root only (docs/control.md).

A client that is slow, broken or gone costs its own connection and nothing else: nothing here
waits for one.
"""

import logging
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from uxc import protocol
from uxc.errors import (
    InternalError,
    InvalidError,
    UnavailableError,
    UxcError,
    system_failure,
)
from uxc.manager.loop import READ, WRITE, Cancelled, Loop, Task

log = logging.getLogger(__name__)

MAX_CLIENTS = 128
# Requests of one client that are being worked on; it reads on only when it reads its answers.
MAX_OUTSTANDING = 256
MAX_UNSENT_BYTES = 4 << 20

_READ_BYTES = 1 << 16
_PEERCRED = struct.Struct("iII")


class Request:
    """One request as its handler sees it."""

    __slots__ = ("_client", "args", "number", "op")

    def __init__(self, client: "Client", number: int, op: str, args: dict[str, Any]) -> None:
        """Keep what was asked, and by whom."""
        self._client = client
        self.number = number
        self.op = op
        self.args = args

    def progress(self, text: str) -> None:
        """Tell the client what its request is waiting for."""
        self._client.send({"event": "progress", "request": self.number, "text": text})


class Reply:
    """A result with file descriptors beside it; they are closed once they are sent."""

    __slots__ = ("fds", "result")

    def __init__(self, result: object, fds: tuple[int, ...]) -> None:
        """Take over ``fds``."""
        self.result = result
        self.fds = fds


Handler = Callable[[Request], Awaitable[object]]


class Control:
    """The listening end: accepts root's connections and gives their requests to ``handler``."""

    def __init__(self, loop: Loop, path: str, handler: Handler, passive: frozenset[str]) -> None:
        """Prepare; ``passive`` names the operations that end with the client that asked."""
        self._loop = loop
        self._path = path
        self._handler = handler
        self._passive = passive
        self._socket: socket.socket | None = None
        self._clients: set[Client] = set()
        self._ending = False

    def open(self) -> None:
        """Bind and listen; a path left by a dead manager is replaced. SystemFailure if refused."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # The caller holds the manager's lock, so nobody listens on a socket that is there.
        old_mask = os.umask(0o177)
        try:
            if os.path.lexists(self._path):
                os.unlink(self._path)
            listener.bind(self._path)
            listener.listen(MAX_CLIENTS)
        except OSError as error:
            listener.close()
            raise system_failure(f"listen on {self._path}", error) from None
        finally:
            os.umask(old_mask)
        self._socket = listener
        self._loop.watch(listener.fileno(), READ, self._accept)

    def finish(self) -> None:
        """Stop listening, take the path away, and begin no request any more.

        Those that only wait are given up, the others go on.
        """
        self._ending = True
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
            os.unlink(self._path)
        for client in self._clients:
            client.give_up_waiting()

    def close(self) -> None:
        """Drop every client."""
        self.finish()
        for client in list(self._clients):
            client.close()

    def _accept(self, _events: int) -> None:
        assert self._socket is not None
        try:
            connection = self._socket.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # EMFILE, ENOMEM: the connection stays in the queue; without a pause epoll would spin.
            log.warning("cannot accept a client: %s", error.strerror)
            self._pause()
            return
        connection.setblocking(False)
        refusal = self._refusal(connection)
        if refusal:
            answer = protocol.failure(0, refusal)
            try:
                connection.send(protocol.encode_line(answer), socket.MSG_NOSIGNAL)
            except OSError as error:
                log.debug("a refused client did not listen: %s", error)
            connection.close()
            return
        self._clients.add(Client(self, self._loop, connection))

    def _pause(self) -> None:
        listener = self._socket
        assert listener is not None
        self._loop.unwatch(listener.fileno())

        def resume() -> None:
            if self._socket is listener:
                self._loop.watch(listener.fileno(), READ, self._accept)

        self._loop.call_later(0.5, resume)

    def _refusal(self, connection: socket.socket) -> UxcError | None:
        if len(self._clients) >= MAX_CLIENTS:
            return UxcError(f"the manager serves {MAX_CLIENTS} clients already")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
        _, uid, _ = _PEERCRED.unpack(credentials)
        if uid != 0:
            return InvalidError(f"only root may talk to the manager, not uid {uid}")
        return None

    def drop(self, client: "Client") -> None:
        """Forget a client that has closed."""
        self._clients.discard(client)

    def begin(self, request: Request) -> Awaitable[object]:
        """Start to work on ``request``; UnavailableError when it is too late for that."""
        if self._ending:
            raise _ending()
        return self._handler(request)

    def ends_with_client(self, op: str) -> bool:
        """Whether a request for ``op`` is given up when its client goes away."""
        return op in self._passive


class Client:
    """One connection: lines in, tasks for the requests in them, lines out."""

    def __init__(self, control: Control, loop: Loop, connection: socket.socket) -> None:
        """Take over ``connection`` and read from it."""
        self._control = control
        self._loop = loop
        self._socket = connection
        self._received = bytearray()
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._unsent_bytes = 0
        self._tasks: dict[Task[None], str] = {}
        self._open = True
        self._hung_up = False
        self._events = READ
        loop.watch(connection.fileno(), READ, self._on_event)

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send ``message`` now or when the client reads; ``fds`` are taken over."""
        if not self._open:
            protocol.close_all(list(fds))
            return
        data = protocol.encode_line(message)
        self._unsent.append((data, fds))
        self._unsent_bytes += len(data)
        self._flush()
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            log.warning("a client does not read its answers: dropped")
            self.close()

    def close(self) -> None:
        """Drop the connection; requests that only wait are given up, the others go on."""
        if not self._open:
            return
        self._open = False
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        for _, fds in self._unsent:
            protocol.close_all(list(fds))
        self._unsent.clear()
        self.give_up_waiting()
        self._control.drop(self)

    def give_up_waiting(self) -> None:
        """Cancel the requests that only wait."""
        for task, op in self._tasks.items():
            if self._control.ends_with_client(op):
                task.cancel()

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self._open and events & ~WRITE:
            self._receive()
        # Unlike the end of input, this cannot be masked: nobody is there to read an answer.
        if self._open and self._hung_up and events & (select.EPOLLHUP | select.EPOLLERR):
            self.close()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._end_of_input()
            return
        searched_to = len(self._received)
        self._received += data
        if b"\n" in data:
            *lines, rest = bytes(self._received).split(b"\n")
            self._received = bytearray(rest)
            for line in lines:
                if self._open and line.strip():
                    self._take(line)
        elif searched_to > protocol.MAX_MESSAGE_BYTES:
            error = InvalidError(f"a message is longer than {protocol.MAX_MESSAGE_BYTES} bytes")
            self.send(protocol.failure(0, error))
            self.close()

    # A client may shut its writing side down and still wait for answers (``nc -N``); epoll
    # would report the end of input again and again.
    def _end_of_input(self) -> None:
        self._hung_up = True
        if any(not self._control.ends_with_client(op) for op in self._tasks.values()):
            self._set_events()
        else:
            self.close()

    def _take(self, line: bytes) -> None:
        number = 0
        try:
            message = protocol.decode(line, "request")
            given = message.get("id")
            if type(given) is not int:
                raise InvalidError("request: 'id' must be a number")
            number = given
            request = self._parse(number, message)
        except UxcError as error:
            self.send(protocol.failure(number, error))
            return
        task = self._loop.spawn(self._work(request), f"request {request.op}")
        self._tasks[task] = request.op
        task.on_done(lambda: self._worked(task))
        self._set_events()

    def _parse(self, number: int, message: dict[str, Any]) -> Request:
        version = message.get("v")
        if version != protocol.VERSION:
            raise InvalidError(
                f"request: version {version!r} is not spoken here",
                f"this manager speaks version {protocol.VERSION}",
            )
        op = message.get("op")
        if not isinstance(op, str):
            raise InvalidError("request: 'op' must be a string")
        args = message.get("args", {})
        if not isinstance(args, dict):
            raise InvalidError("request: 'args' must be an object")
        return Request(self, number, op, args)

    async def _work(self, request: Request) -> None:
        fds: tuple[int, ...] = ()
        try:
            result = await self._control.begin(request)
            if isinstance(result, Reply):
                fds = result.fds
                result = result.result
            answer = protocol.success(request.number, result)
        except UxcError as error:
            log.debug("%s refused: %s", request.op, error.message)
            answer = protocol.failure(request.number, error)
        except Cancelled:
            self.send(protocol.failure(request.number, _ending()))
            raise
        except Exception as error:
            log.exception("%s failed", request.op)
            text = f"{request.op}: {type(error).__name__}: {error}".replace("\n", " ")
            answer = protocol.failure(
                request.number, InternalError(text, "this is a bug; the manager's log has more")
            )
        self.send(answer, fds)

    def _worked(self, task: Task[None]) -> None:
        del self._tasks[task]
        if not self._open:
            return
        if self._hung_up and not self._tasks and not self._unsent:
            self.close()
        else:
            self._set_events()

    def _flush(self) -> None:
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                sent = protocol.send_with_fds(self._socket, data, fds)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            # The descriptors travel with the first byte.
            protocol.close_all(list(fds))
            self._unsent_bytes -= sent
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], ())
        self._set_events()

    def _set_events(self) -> None:
        listens = not self._hung_up and len(self._tasks) < MAX_OUTSTANDING
        events = (READ if listens else 0) | (WRITE if self._unsent else 0)
        if events != self._events:
            self._events = events
            self._loop.rewatch(self._socket.fileno(), events)


def _ending() -> UxcError:
    return UnavailableError("the manager is ending", "ask again when it is back")
