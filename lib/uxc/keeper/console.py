"""A container's terminal: the master end, read into the ring, written from the viewers."""

from __future__ import annotations

import posix

from uxc.keeper.loop import EDGE, READ, WRITE, would_block
from uxc.keeper.viewers import OUTPUT
from uxc.linux import pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.keeper.loop import Loop
    from uxc.keeper.viewers import Audience

_READ_BYTES = 64 << 10
# Viewers are not listened to while more than this waits for a program that reads no input.
_QUEUE_BYTES = 4096


class Console:
    """The master end of one container's terminal."""

    __slots__ = ("_audience", "_fd", "_hung_up", "_loop", "_queue")

    def __init__(self, loop: Loop, audience: Audience, master_fd: int) -> None:
        """Own ``master_fd`` and start to read it; OSError as fcntl(2) and epoll_ctl(2)."""
        self._loop = loop
        self._audience = audience
        self._fd = master_fd
        self._queue = b""
        # While no process has the other end open the kernel reports a hang-up without end.
        # An init that closes its terminal may well open /dev/console again, so this is not the
        # end: we ask to be told of changes only (EPOLLET) until there is something to read.
        self._hung_up = False
        posix.set_blocking(master_fd, False)
        self._watch()
        audience.on_input = self.write
        audience.on_window = self.resize

    def write(self, data: bytes) -> None:
        """Type ``data``; what the terminal does not take now waits, and so do the viewers."""
        self._queue += data
        self._flush()

    def resize(self, rows: int, columns: int) -> None:
        """Set the window's size: the kernel sends SIGWINCH to the foreground programs."""
        if self._fd >= 0:
            pty.set_size(self._fd, rows, columns)

    def drain(self) -> None:
        """Read what is left after the container's last process has ended."""
        while self._fd >= 0 and self._read():
            pass

    def close(self) -> None:
        """Close the master end: what still uses the terminal is hung up by the kernel."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            posix.close(self._fd)
            self._fd = -1
            self._audience.on_input = self._audience.on_window = None

    def _watch(self) -> None:
        events = READ | (WRITE if self._queue and not self._hung_up else 0)
        self._loop.watch(self._fd, events | (EDGE if self._hung_up else 0), self._serve)

    def _serve(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        # One read a turn, however much there is: no container keeps the others waiting.
        if events & ~WRITE and self._fd >= 0:
            self._read()

    def _read(self) -> bool:
        """Read once; tell whether there may be more."""
        try:
            data = posix.read(self._fd, _READ_BYTES)
        except OSError as error:
            if not would_block(error):
                self._set_hung_up(True)
            return False
        self._set_hung_up(False)
        if data:
            self._audience.append(OUTPUT, data)
        return bool(data)

    def _set_hung_up(self, hung_up: bool) -> None:
        if hung_up != self._hung_up:
            self._hung_up = hung_up
            self._watch()

    def _flush(self) -> None:
        try:
            while self._queue:
                self._queue = self._queue[posix.write(self._fd, self._queue) :]
        except OSError as error:
            if not would_block(error):
                # Nobody has the terminal open: as on a real one, what is typed is lost.
                self._queue = b""
        self._audience.pause_input(len(self._queue) > _QUEUE_BYTES)
        self._watch()
