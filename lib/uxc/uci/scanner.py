"""Splits UCI text into words exactly as libuci does, down to the byte where it finds an error.

libuci parses in place: a word is shifted over the quotes in front of it and ended by a NUL byte,
which may destroy the character that ended it. That is why ``config a;option b c`` ignores
everything after the semicolon while ``config 'a' ;option b c`` does not, and why the byte numbers
of errors look as they do. Nothing but the same buffer gives the same answers.

Text is bytes in the C locale: no byte above 127 is a letter or a blank.
"""

import posix

from uxc.uci.exceptions import UciParseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_BLANKS = b" \t\n\v\f\r"
_NUL, _NEWLINE, _RETURN = 0, 10, 13
_DOUBLE, _HASH, _SINGLE, _SEMICOLON, _BACKSLASH = b"\"#';\\"
# A line with none of these, and at most one quoted word at its end, needs no buffer.
_SPECIAL = b'\0\v\f\r"#;\\'
_FIRST_BUFFER = 32
_READ_SIZE = 1 << 16


class Stream:
    """Lines out of ``data`` and then out of the file descriptor ``fd``, as stdio's fgets gives."""

    __slots__ = ("_data", "_fd", "_position", "ended")

    def __init__(self, data: bytes = b"", fd: int = -1) -> None:
        """Begin with ``data``; ``fd`` -1 means that there is nothing more."""
        self._data = data
        self._fd = fd
        self._position = 0
        self.ended = False

    def line(self, limit: int) -> bytes:
        """Return what is left of the current line, at most ``limit`` bytes; empty at the end.

        ``ended`` becomes true when the end was touched, which for text without a last newline is
        the case when its last line is returned. Raises OSError as read(2).
        """
        while True:
            start = self._position
            newline = self._data.find(b"\n", start, start + limit)
            if newline >= 0:
                end = newline + 1
                break
            end = start + limit
            if len(self._data) >= end:
                break
            more = b"" if self._fd < 0 else posix.read(self._fd, _READ_SIZE)
            if not more:
                self.ended = True
                end = len(self._data)
                break
            self._data = self._data[start:] + more
            self._position = 0
        self._position = end
        return self._data[start:end]


class Scanner:
    """A cursor in the statement that is being read.

    ``line`` is the number of the last line read, ``position`` the byte in the statement's buffer;
    ``reason`` and ``byte`` tell of the last error.
    """

    __slots__ = ("_buffer", "_filled", "_size", "byte", "line", "position", "reason", "stream")

    def __init__(self, stream: Stream) -> None:
        """Read from ``stream``, nothing yet."""
        self.stream = stream
        self.line = 0
        self.position = 0
        self.reason = ""
        self.byte = 0
        self._buffer = bytearray(_FIRST_BUFFER)
        self._size = _FIRST_BUFFER
        self._filled = 0

    def fail(self, reason: str) -> "NoReturn":
        """Raise UciParseError for the present position."""
        self.reason = reason
        self.byte = self.position
        raise UciParseError(reason, self.line, self.position)

    def next_line(self) -> bool:
        """Begin a statement with the next line; False when it is empty or begins with NUL."""
        self.position = 0
        self._fill(0)
        return self._buffer[0] != _NUL

    def _fill(self, offset: int) -> None:
        # The buffer's size matters only to NUL bytes: libuci reads a line in pieces as large as
        # the buffer has room for, and a NUL makes it forget the rest of its piece.
        buffer = self._buffer
        if offset >= self._size - 1:
            self._grow()
        while True:
            buffer[offset] = _NUL
            piece = self.stream.line(self._size - offset - 1)
            if not piece or piece[0] == _NUL:
                return
            buffer[offset : offset + len(piece) + 1] = piece + b"\0"
            length = piece.find(b"\0")
            offset += len(piece) if length < 0 else length
            self._filled = offset
            if buffer[offset - 1] == _NEWLINE:
                self.line += 1
                return
            self._grow()

    def _grow(self) -> None:
        self._buffer.extend(bytes(2 * self._size - len(self._buffer)))
        self._size *= 2

    def plain_words(self) -> "list[bytes] | None":
        """Return the words of a line in the form that libuci writes, or None for any other line.

        A shortcut that leaves the buffer alone: the same words come out of keyword and word.
        """
        text = bytes(self._buffer[: self._filled])
        if len(text.translate(None, _SPECIAL)) != len(text):
            return None
        head, quote, rest = text.partition(b"'")
        words = head.split()
        if quote:
            value, quote, tail = rest.partition(b"'")
            if not quote or tail.strip(_BLANKS) or head[-1:] not in (b" ", b"\t"):
                return None
            words.append(value)
        return words

    def skip_blanks(self) -> None:
        """Go to the next byte that is no blank."""
        buffer, position = self._buffer, self.position
        while buffer[position] in _BLANKS:
            position += 1
        self.position = position

    def keyword(self) -> bytes:
        """Return the word before the next space or tab; empty at the end of the statement.

        Quotes mean nothing here, and only ``past_keyword`` moves the cursor.
        """
        rest = self._rest()
        word = rest.lstrip(b" \t")
        start = self.position + len(rest) - len(word)
        for index, byte in enumerate(word):
            if byte in b" \t":
                self._buffer[start + index] = _NUL
                return word[:index]
        return word

    def past_keyword(self, otherwise: str) -> None:
        """Move behind the keyword; fail with ``otherwise`` if not even a blank follows."""
        length = len(self._rest()) + 1
        if self.position + length > self._filled:
            self.fail(otherwise)
        self.position += length

    def _rest(self) -> bytes:
        return bytes(self._buffer[self.position : self._buffer.index(_NUL, self.position)])

    @property
    def at_end(self) -> bool:
        """Whether nothing is left of the statement."""
        return self._buffer[self.position] == _NUL

    def word(self, required: bool = False) -> bytes:
        """Return the next word without its quotes; empty at the end of the command.

        Fails with "insufficient arguments" when the word is empty though ``required``.
        """
        self.skip_blanks()
        start = self.position
        if self._buffer[start] == _SEMICOLON:
            self._buffer[start] = _NUL
            self.position += 1
            end = start
        else:
            end = self._unquote(start)
        if required and end == start:
            self.fail("insufficient arguments")
        return bytes(self._buffer[start:end])

    def end_of_command(self, strict: bool) -> None:
        """Read on to the end of the line or behind a semicolon; a further word is an error."""
        self.skip_blanks()
        if self.word() and strict:
            self.fail("too many arguments")

    def _unquote(self, target: int) -> int:
        buffer = self._buffer
        swallow = True
        while True:
            byte = buffer[self.position]
            if byte == _SINGLE:
                target = self._single_quoted(target)
            elif byte == _DOUBLE:
                target = self._double_quoted(target)
            elif byte == _NUL:
                break
            elif byte == _HASH:
                buffer[self.position] = _NUL
                break
            elif byte == _SEMICOLON:
                swallow = False
                break
            elif byte != _BACKSLASH or self._escaped():
                target = self._take(target)
            byte = buffer[self.position]
            if byte == _NUL or byte in _BLANKS:
                break
        if swallow and buffer[self.position] != _NUL:
            self.position += 1
        buffer[target] = _NUL
        return target

    def _take(self, target: int) -> int:
        self._buffer[target] = self._buffer[self.position]
        self.position += 1
        return target + 1

    def _escaped(self) -> bool:
        """Step over a backslash; False when the line ends there and the next one continues it."""
        self.position += 1
        buffer, position = self._buffer, self.position
        byte = buffer[position]
        if byte not in (_NUL, _NEWLINE) and not (
            byte == _RETURN and buffer[position + 1 : position + 3] == b"\n\0"
        ):
            return True
        self._fill(position)
        return False

    def _single_quoted(self, target: int) -> int:
        self.position += 1
        while True:
            byte = self._buffer[self.position]
            if byte == _NUL:
                self._continue_quoted("EOF with unterminated '")
            elif byte == _SINGLE:
                self.position += 1
                return target
            else:
                target = self._take(target)

    def _double_quoted(self, target: int) -> int:
        self.position += 1
        while True:
            byte = self._buffer[self.position]
            if byte == _NUL:
                self._continue_quoted('EOF with unterminated "')
            elif byte == _DOUBLE:
                self.position += 1
                return target
            elif byte != _BACKSLASH or self._escaped():
                target = self._take(target)

    def _continue_quoted(self, otherwise: str) -> None:
        self._fill(self.position)
        if self.at_end:
            self.fail(otherwise)
