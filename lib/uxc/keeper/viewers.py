"""Who watches a container's output: the ring behind it, and the sockets of the viewers.

Packets on a viewer's socket (docs/keeper.md): to the viewer ``o`` + bytes of the terminal or of
stdout, ``e`` + bytes of stderr, ``x`` + the exit code's digits at the end; from the viewer ``i`` +
input and ``w`` + "ROWS COLUMNS".
"""

from __future__ import annotations

import _socket
import posix

from uxc.errors import InvalidError
from uxc.keeper.loop import ERROR, HANGUP, READ, WRITE, would_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from uxc.keeper.loop import Loop
    from uxc.keeper.ring import Ring

OUTPUT = b"o"
ERROR_OUTPUT = b"e"
EXIT = b"x"
INPUT = b"i"
WINDOW = b"w"

MAX_PACKET_BYTES = 64 << 10
_PIECE_BYTES = 16 << 10


class Audience:
    """The output of one container, and everybody who watches it.

    ``on_input`` and ``on_window`` are set while there is a terminal; without them viewers cannot
    write.
    """

    __slots__ = ("_exit", "_loop", "_paused", "_viewers", "on_input", "on_window", "ring")

    def __init__(self, loop: Loop, ring: Ring) -> None:
        """Begin with nobody and what ``ring`` holds."""
        self._loop = loop
        self.ring = ring
        self._viewers: list[Viewer] = []
        self._exit: bytes | None = None
        self._paused = False
        self.on_input: Callable[[bytes], None] | None = None
        self.on_window: Callable[[int, int], None] | None = None

    def append(self, stream: bytes, data: bytes) -> None:
        """Keep ``data`` and show it to every viewer who keeps up."""
        self.ring.append(stream, data)
        for viewer in tuple(self._viewers):
            viewer.flush()

    def attach(self, fd: int, read_only: bool) -> None:
        """Show everything kept and to come on the socket ``fd``, which is owned from now on.

        Raises InvalidError, and closes ``fd``, when it is not a packet socket.
        """
        try:
            sock = _socket.socket(fileno=fd)
        except OSError:
            posix.close(fd)
            raise InvalidError("a viewer's descriptor must be a socket") from None
        # Packets keep the letters in front of the bytes apart; a Unix socket has no other end
        # than a process of this machine.
        if (sock.family, sock.type) != (_socket.AF_UNIX, _socket.SOCK_SEQPACKET):
            sock.close()
            raise InvalidError("a viewer's socket must be of the kind SOCK_SEQPACKET")
        sock.setblocking(False)
        viewer = Viewer(self, self._loop, sock, read_only)
        self._viewers.append(viewer)
        viewer.listen(not self._paused)
        viewer.flush()

    def end(self, exit_code: int | None) -> None:
        """Tell viewers, present and later ones, that the container ended."""
        self._exit = EXIT + (b"" if exit_code is None else b"%d" % exit_code)
        self.on_input = self.on_window = None
        self.pause_input(False)
        for viewer in tuple(self._viewers):
            viewer.flush()

    def pause_input(self, paused: bool) -> None:
        """Leave input in the viewers' sockets while the terminal takes none."""
        if paused != self._paused:
            self._paused = paused
            for viewer in tuple(self._viewers):
                viewer.listen(not paused)

    @property
    def exit_packet(self) -> bytes | None:
        """The last packet of every viewer, once the container has ended."""
        return self._exit

    def drop(self, viewer: Viewer) -> None:
        """Forget ``viewer``."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)

    def close(self) -> None:
        """Send the viewers away and give the ring's memory back."""
        for viewer in tuple(self._viewers):
            viewer.close()
        self.ring.close()


class Viewer:
    """One socket on which a container's output is shown."""

    __slots__ = (
        "_audience",
        "_blocked",
        "_cursor",
        "_fd",
        "_finished",
        "_input",
        "_loop",
        "_read_only",
        "_sock",
    )

    def __init__(
        self, audience: Audience, loop: Loop, sock: _socket.socket, read_only: bool
    ) -> None:
        """Start at the oldest byte kept."""
        self._audience = audience
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._read_only = read_only
        self._cursor = audience.ring.start()
        self._blocked = False
        self._input = True
        self._finished = False

    def listen(self, wanted: bool) -> None:
        """Read the viewer's packets, or leave them in the socket."""
        self._input = wanted
        self._watch()

    def flush(self) -> None:
        """Send what the socket takes now; the rest stays in the ring."""
        if self._blocked or self._finished or self._fd < 0:
            return
        ring = self._audience.ring
        try:
            while True:
                stream, data = ring.read(self._cursor, _PIECE_BYTES)
                if not data:
                    break
                self._sock.send(stream + data, _socket.MSG_NOSIGNAL)
                ring.advance(self._cursor, len(data))
            if self._audience.exit_packet is not None:
                self._sock.send(self._audience.exit_packet, _socket.MSG_NOSIGNAL)
                self._finish()
        except OSError as error:
            if would_block(error):
                self._blocked = True
                self._watch()
            else:
                self.close()

    def close(self) -> None:
        """Close the socket."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._discard()
            self._sock.close()
            self._fd = -1
            self._audience.drop(self)

    def _finish(self) -> None:
        """Say that nothing more comes; wait, reading what is still typed, until the viewer goes."""
        # To close a socket with unread packets in it resets the connection, and the viewer would
        # get an error before the last words.
        self._finished = True
        self._sock.shutdown(_socket.SHUT_WR)
        self.listen(True)

    def _discard(self) -> None:
        try:
            while self._sock.recv(1):
                pass
        except OSError:
            # Empty, or reset from the other side.
            return

    def _watch(self) -> None:
        events = (READ if self._input else 0) | (WRITE if self._blocked else 0)
        self._loop.watch(self._fd, events, self._serve)

    def _serve(self, events: int) -> None:
        if events & (ERROR | HANGUP):
            self.close()
            return
        if events & WRITE:
            self._blocked = False
            self._watch()
            self.flush()
        if events & READ and self._fd >= 0:
            self._receive()

    def _receive(self) -> None:
        try:
            packet = self._sock.recv(MAX_PACKET_BYTES)
        except OSError as error:
            if not would_block(error):
                self.close()
            return
        if not packet:
            # The viewer has shut its writing side down: it sends no more, but goes on watching.
            self.listen(False)
            return
        kind, content = packet[:1], packet[1:]
        if self._read_only:
            return
        if kind == INPUT and self._audience.on_input is not None:
            self._audience.on_input(content)
        elif kind == WINDOW and self._audience.on_window is not None:
            size = parse_window(content)
            if size is not None:
                self._audience.on_window(*size)


def parse_window(content: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) out of ``b"ROWS COLUMNS"``, None when it is not that."""
    parts = content.split(b" ")
    if len(parts) != 2 or not all(part.isdigit() and len(part) <= 5 for part in parts):
        return None
    rows, columns = int(parts[0]), int(parts[1])
    # The kernel keeps them as unsigned shorts (ioctl_tty(2)).
    return (rows, columns) if rows < 1 << 16 and columns < 1 << 16 else None
