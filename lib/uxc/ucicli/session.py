"""What all commands of one run of uci share: the store, the flags, output and error messages."""

import posix

from uxc.uci import lockedfile, text
from uxc.uci.exceptions import UciException, UciParseError
from uxc.uci.scanner import Stream
from uxc.uci.store import Store

_FLUSH_SIZE = 1 << 16


class Session:
    """One run. ``name`` is how the program calls itself in messages."""

    def __init__(self, name: str, store: Store, usage: str) -> None:
        """Start with the defaults of every flag, reading standard input."""
        self.name = name
        self._usage = usage
        self.store = store
        self.input = Stream(fd=0)
        self.input_named = False
        self.delimiter = " "
        self.merge = False
        self.quiet = False
        self.commit = True
        self.extended = True
        self.in_batch = False
        self._detail = ""
        self._pending: list[str] = []
        self._size = 0

    def write(self, line: str) -> None:
        """Print ``line`` to standard output, soon."""
        self._pending.append(line)
        self._size += len(line)
        if self._size > _FLUSH_SIZE:
            self.flush()

    def write_bytes(self, data: bytes) -> None:
        """Print ``data`` to standard output, after what was written before; OSError."""
        self.flush()
        lockedfile.write_all(1, data)

    def flush(self) -> None:
        """Hand everything written so far to the kernel; OSError as write(2)."""
        data = text.encode("".join(self._pending))
        self._pending.clear()
        self._size = 0
        lockedfile.write_all(1, data)

    def complain(self, message: str) -> None:
        """Print ``message`` to standard error as it is, unless quiet."""
        if not self.quiet:
            tell(message)

    def report(self, error: UciException) -> None:
        """Print the message of a failed command, unless quiet."""
        if not self.quiet:
            self._print(error, f"{self.name}: ")

    def show_usage(self) -> None:
        """Print the usage text to standard error, even when quiet."""
        tell(self._usage)

    def report_skipped(self, error: UciException) -> None:
        """Print a parse error that a lenient reading steps over, even when quiet."""
        self._print(error, "")

    def _print(self, error: UciException, prefix: str) -> None:
        # libuci keeps the detail of the last parse error, and a newline more, for every message
        # that follows; so the second message of a batch ends in two newlines.
        scanner = self.store.scanner
        if isinstance(error, UciParseError) and scanner is not None:
            place = f"at line {scanner.line}, byte {scanner.byte}"
            self._detail = f" ({scanner.reason or 'unknown'}) {place}"
        self._detail += "\n"
        tell(f"{prefix}{error.text}{self._detail}")


def tell(message: str) -> None:
    """Print ``message`` to standard error."""
    try:
        lockedfile.write_all(2, text.encode(message))
    except OSError:
        # Nobody can be told that nobody can be told.
        posix._exit(1)
