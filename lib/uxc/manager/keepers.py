"""The manager's end of the keeper's socket: requests, their answers, and events (docs/keeper.md).

Nothing here waits for the keeper except the coroutine that asked. When the keeper goes away,
everything asked fails, and the next request finds or starts another one.
"""

import errno
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from uxc import protocol
from uxc.errors import InvalidError, UnavailableError, UxcError, system_failure
from uxc.keeper import spawn
from uxc.manager.loop import READ, WRITE, Future, Loop
from uxc.paths import Paths

log = logging.getLogger(__name__)

# What connect(2) says while no keeper listens.
_ABSENT = (errno.ENOENT, errno.ECONNREFUSED)

Event = dict[str, Any]


class Keeper:
    """A connection to the keeper, made when it is first needed and again after it was lost.

    ``on_event`` gets every event; ``on_lost`` is called after the connection has ended.
    """

    def __init__(self, loop: Loop, paths: Paths) -> None:
        """Prepare; ``connect`` or the first ``call`` connects."""
        self._loop = loop
        self._paths = paths
        self._socket: socket.socket | None = None
        self._connecting: Future[None] | None = None
        self._number = 0
        self._listens_for = READ
        self._asked: dict[int, Future[tuple[Any, list[int]]]] = {}
        self._unsent: deque[tuple[dict[str, Any], tuple[int, ...]]] = deque()
        self.pid = 0
        self.on_event: Callable[[Event], None] = lambda _event: None
        self.on_lost: Callable[[], None] = lambda: None

    async def connect(self) -> None:
        """Connect to the running keeper, or start one; UxcError when that is not possible."""
        while self._socket is None:
            if self._connecting is not None:
                await self._connecting
                continue
            self._connecting = self._loop.future()
            try:
                await self._open()
            finally:
                self._connecting.set_result(None)
                self._connecting = None

    async def call(self, op: str, args: dict[str, Any] | None = None) -> Any:
        """Ask for ``op`` and return its result; UxcError as the keeper answers."""
        result, fds = await self.exchange(op, args)
        protocol.close_all(fds)
        return result

    async def exchange(
        self, op: str, args: dict[str, Any] | None = None, fds: tuple[int, ...] = ()
    ) -> tuple[Any, list[int]]:
        """Ask for ``op``, sending duplicates of ``fds``; return its result and the fds with it."""
        if self._socket is None:
            await self.connect()
        return await self.ask(op, args or {}, fds)

    def ask(
        self, op: str, args: dict[str, Any], fds: tuple[int, ...] = ()
    ) -> Future[tuple[Any, list[int]]]:
        """Send a request at once and return the future of its result and fds."""
        answer: Future[tuple[Any, list[int]]] = Future(self._loop)
        if self._socket is None:
            answer.set_error(UnavailableError("the keeper is not running"))
            return answer
        self._number += 1
        self._asked[self._number] = answer
        self._unsent.append((protocol.request(self._number, op, args), fds))
        if len(self._unsent) == 1:
            self._flush()
        return answer

    def close(self) -> None:
        """Leave the keeper alone."""
        self._drop()

    async def _open(self) -> None:
        connection = self._dial(self._paths.keeper_socket)
        if connection is None:
            log.debug("starting the keeper")
            # This takes some 50 ms in which nothing else is done: without a keeper there is
            # nothing else to do.
            connection = socket.socket(fileno=spawn.ensure(self._paths).detach())
            connection.setblocking(False)
        self._socket = connection
        self._listens_for = READ
        self._loop.watch(connection.fileno(), READ, self._on_event)
        try:
            (hello, fds) = await self.ask("hello", {})
        except BaseException:
            self._drop()
            raise
        protocol.close_all(fds)
        if hello["protocol"] != protocol.VERSION:
            self._drop()
            raise UxcError(
                f"the running keeper speaks version {hello['protocol']} of the protocol",
                "stop all containers and the keeper, then start again",
            )
        self.pid = hello["pid"]
        log.debug("the keeper is process %d", self.pid)

    @staticmethod
    def _dial(path: str) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            if error.errno in _ABSENT:
                return None
            raise system_failure(f"connect to {path}", error) from None
        return connection

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self._socket is not None:
            self._receive()

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            message, fds = protocol.receive_packet(self._socket, "the keeper")
        except BlockingIOError:
            return
        except (OSError, InvalidError) as error:
            log.error("the keeper's connection is damaged: %s", error)
            self._lose()
            return
        if message is None:
            self._lose()
            return
        number = message.get("id")
        if number is None:
            protocol.close_all(fds)
            self.on_event(message)
            return
        answer = self._asked.pop(number, None)
        if answer is None:
            protocol.close_all(fds)
            return
        try:
            answer.set_result((protocol.result_of(message), fds))
        except UxcError as error:
            protocol.close_all(fds)
            answer.set_error(error)

    def _flush(self) -> None:
        while self._unsent and self._socket is not None:
            message, fds = self._unsent[0]
            try:
                protocol.send_packet(self._socket, message, fds)
            except BlockingIOError:
                break
            except OSError:
                self._lose()
                return
            self._unsent.popleft()
        events = READ | (WRITE if self._unsent else 0)
        if self._socket is not None and events != self._listens_for:
            self._listens_for = events
            self._loop.rewatch(self._socket.fileno(), events)

    def _lose(self) -> None:
        log.warning("the keeper has ended")
        self._drop()
        self.on_lost()

    def _drop(self) -> None:
        if self._socket is None:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self.pid = 0
        self._unsent.clear()
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            answer.set_error(UnavailableError("the keeper ended before it answered"))
