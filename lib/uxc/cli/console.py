"""The user's end of a container's console: terminal, window size, detach keys.

Speaks the packets of a viewer's socket (docs/keeper.md) with the keeper.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import errno
import posix
import select
import termios

from uxc.errors import InvalidError, UnavailableError
from uxc.linux import pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

# Ctrl-B, as procd's tool has it.
DETACH_KEYS = b"\x02"
# Returned when the container ended while nobody could see its exit code.
UNKNOWN_EXIT_CODE = 255

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_READ_BYTES = 4096
# One byte more than the longest packet, which starts with a letter.
_PACKET_BYTES = (64 << 10) + 1
# They end a program in its usual way, after the terminal has been set right again.
_ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)


def parse_keys(text: str) -> bytes:
    """Return the bytes of a key sequence such as ``ctrl-p,ctrl-q``, ``ctrl-x`` or ``q``.

    Raises InvalidError for what no key makes. An empty text means no keys.
    """
    keys = bytearray()
    for key in text.split(",") if text else ():
        control = key[5:].upper() if key.lower().startswith("ctrl-") else ""
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
        elif len(control) == 1 and "@" <= control <= "_":
            keys.append(ord(control) - ord("@"))
        else:
            raise InvalidError(
                f"'{key}' is not a key", "write a character or ctrl-a … ctrl-z, ctrl-@ [ \\ ] ^ _"
            )
    return bytes(keys)


class KeyFilter:
    """Find the detach keys in what is typed; what only begins like them waits."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        """Look for ``keys``; empty ones are never found."""
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Take what was typed; return what goes on to the container, and whether to detach."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            if self._held == self._keys:
                return bytes(passed), True
            while not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
        return bytes(passed), False


def run(viewer_fd: int, detach_keys: bytes, interactive: bool) -> int | None:
    """Show a container on this process's terminal until it ends or the user detaches.

    Returns the container's exit code, ``UNKNOWN_EXIT_CODE`` when nobody knows it, or None after
    detaching, or when nobody reads stdout any more. ``interactive`` passes stdin on, in raw mode
    when it is a terminal, so that Ctrl-C reaches the container. ``viewer_fd`` stays the caller's.
    Raises UnavailableError when the connection is lost. SIGINT, SIGTERM, SIGHUP and SIGQUIT end
    the process as always.
    """
    with _Signals() as signals:
        if not interactive:
            return _Session(viewer_fd, signals, -1, b"").serve()
        if not posix.isatty(_STDIN):
            # The bytes of a file are no keys.
            return _Session(viewer_fd, signals, _STDIN, b"").serve()
        with _RawMode(_STDIN):
            return _Session(viewer_fd, signals, _STDIN, detach_keys).serve()


class _EndedBySignal(Exception):
    """A signal that ends us has come; carries its number."""


class _Session:
    """One attachment: bytes from here to there and back."""

    __slots__ = ("_filter", "_input", "_poll", "_queue", "_signals", "_viewer")

    def __init__(self, viewer_fd: int, signals: _Signals, input_fd: int, keys: bytes) -> None:
        """Pass ``input_fd`` on unless it is -1; look for ``keys`` in it."""
        self._viewer = viewer_fd
        self._signals = signals
        self._input = input_fd
        self._filter = KeyFilter(keys)
        self._queue: list[bytes] = []
        self._poll = select.poll()

    def serve(self) -> int | None:
        """Do it; returns and raises as ``run``."""
        posix.set_blocking(self._viewer, False)
        self._poll.register(self._signals.fd, select.POLLIN)
        self._send_size()
        try:
            while True:
                self._choose()
                for fd, _ in self._poll.poll():
                    if fd == self._signals.fd:
                        if self._signals.read():
                            self._send_size()
                    elif fd == self._viewer:
                        self._flush()
                        ended = self._show()
                        if ended is not None:
                            return ended
                    elif self._type():
                        return None
        except BrokenPipeError:
            return None

    def _choose(self) -> None:
        """Wait for input only while the keeper takes it."""
        events = select.POLLIN | (select.POLLOUT if self._queue else 0)
        self._poll.register(self._viewer, events)
        if self._input >= 0:
            # POLLHUP is reported for an event mask of nothing, too.
            if self._queue:
                self._forget_input()
            else:
                self._poll.register(self._input, select.POLLIN)

    def _forget_input(self) -> None:
        try:
            self._poll.unregister(self._input)
        except KeyError:
            return

    def _send(self, packet: bytes) -> None:
        self._queue.append(packet)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._queue:
                posix.write(self._viewer, self._queue[0])
                del self._queue[0]
        except BlockingIOError:
            return
        except OSError as error:
            # The container's last words and its exit code may still wait to be read.
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            self._queue.clear()

    def _send_size(self) -> None:
        if self._input < 0:
            return
        for fd in (_STDIN, _STDOUT):
            try:
                rows, columns = pty.get_size(fd)
            except OSError:
                continue
            # A terminal that does not know its size says 0 0; the container's stays as it is.
            if rows and columns:
                self._send(b"w%d %d" % (rows, columns))
            return

    def _type(self) -> bool:
        """Pass on what was typed; tell whether the detach keys were."""
        try:
            data = posix.read(self._input, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            # EIO: the terminal is gone.
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._forget_input()
            self._input = -1
            return False
        passed, detached = self._filter.feed(data)
        if passed:
            self._send(b"i" + passed)
        return detached

    def _show(self) -> int | None:
        """Print one packet; return the exit code when it was the last."""
        try:
            packet = posix.read(self._viewer, _PACKET_BYTES)
        except (BlockingIOError, ConnectionResetError):
            # Reset: the keeper has closed it while we typed. What it had sent can still be read.
            return None
        kind, content = packet[:1], packet[1:]
        if not kind:
            raise UnavailableError("the connection to the container's console was lost")
        if kind == b"x":
            return int(content) if content else UNKNOWN_EXIT_CODE
        if kind == b"o":
            self._print(_STDOUT, content)
        elif kind == b"e":
            self._print(_STDERR, content)
        # Other kinds are of a newer keeper.
        return None

    def _print(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[posix.write(fd, view) :]
            except BlockingIOError:
                # Whoever started us has left O_NONBLOCK on the terminal.
                waiting = select.poll()
                waiting.register(fd, select.POLLOUT)
                waiting.register(self._signals.fd, select.POLLIN)
                waiting.poll()
                self._signals.read()


class _RawMode:
    """The terminal passes every key on and changes no byte, for the length of a ``with``."""

    __slots__ = ("_before", "_fd")

    def __init__(self, fd: int) -> None:
        """Keep ``fd``, which is a terminal."""
        self._fd = fd
        self._before: list[Any] = []

    def __enter__(self) -> None:
        """Set what cfmakeraw(3) sets."""
        self._before = termios.tcgetattr(self._fd)
        iflag, oflag, cflag, lflag, ispeed, ospeed, characters = self._before
        iflag &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        oflag &= ~termios.OPOST
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        characters = list(characters)
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        raw = [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]
        termios.tcsetattr(self._fd, termios.TCSANOW, raw)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Set the terminal as it was; one that is gone needs nothing."""
        try:
            # Not TCSADRAIN: a terminal that the user has stopped with Ctrl-S never drains.
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        except termios.error as failure:
            if failure.args[0] != errno.EIO:
                raise


class _Signals:
    """Turn signals into bytes on a pipe, for the length of a ``with``; those that end us end us."""

    __slots__ = ("_before", "_before_fd", "_write_fd", "fd")

    def __init__(self) -> None:
        """Make the pipe."""
        self.fd, self._write_fd = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        self._before: dict[int, Any] = {}
        self._before_fd = -1

    def __enter__(self) -> _Signals:
        """Catch SIGWINCH and whatever would leave the terminal raw."""
        self._before_fd = _signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in (_signal.SIGWINCH, *_ENDING):
            # nohup(1) and its kin ignore some of them on purpose.
            if _signal.getsignal(number) != _signal.SIG_IGN:
                self._before[number] = _signal.signal(number, _ignore)
        return self

    def read(self) -> bool:
        """Tell whether the window's size has changed; raise when a signal is to end us."""
        try:
            numbers = posix.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return False
        for number in _ENDING:
            if number in numbers:
                raise _EndedBySignal(number)
        return _signal.SIGWINCH in numbers

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the handlers back, and give an ending signal its usual effect."""
        _signal.set_wakeup_fd(self._before_fd)
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        posix.close(self.fd)
        posix.close(self._write_fd)
        if isinstance(error, _EndedBySignal):
            (number,) = error.args
            _signal.signal(number, _signal.SIG_DFL)
            posix.kill(posix.getpid(), number)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the pipe tells."""
