"""What can go wrong with UCI: pyuci's exception classes, and below them libuci's error codes.

A handler written for pyuci catches ours; ``code`` is what the real ``uci`` command returns.
"""


class UciException(Exception):
    """Any failure of a UCI operation."""

    code = 7
    text = "Unknown error"

    def __str__(self) -> str:
        """Return the message given, or libuci's text for this kind of error."""
        return super().__str__() or self.text


class UciExceptionNotFound(UciException):
    """The package, section or option does not exist."""

    code = 3
    text = "Entry not found"


class UciExceptionInvalidInput(UciException):
    """An argument, or a configuration file, is not what UCI allows."""

    code = 2
    text = "Invalid argument"


class UciIOError(UciException):
    """A file could not be opened, locked, written or replaced."""

    code = 4
    text = "I/O error"


class UciDuplicate(UciException):
    """A package of that name, or a delta path, is there already."""

    code = 6
    text = "Duplicate entry"


class UciParseError(UciExceptionInvalidInput):
    """A file or a tuple does not follow UCI's grammar.

    ``reason`` is empty for a tuple; ``line`` counts from 1, ``byte`` from 0, both as libuci counts
    them: ``byte`` from the beginning of the statement's first line, quotes already removed.
    ``file`` is the path, where one is known.
    """

    code = 5
    text = "Parse error"

    def __init__(self, reason: str = "", line: int = 0, byte: int = 0, file: str = "") -> None:
        """Keep where and why, for messages that name the place."""
        super().__init__(
            f"{self.text} ({reason}) at line {line}, byte {byte}" if reason else self.text
        )
        self.reason = reason
        self.line = line
        self.byte = byte
        self.file = file
