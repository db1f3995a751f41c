"""Where ``uxc-runtime`` says what happened: stderr for people, ``--log`` for containerd and Podman.

Both get every error. The log is lines of JSON, or of ``key=value`` text, as runc writes them; the
programs above read level, msg and time.
"""

import posix
import time

from uxc.errors import InvalidError, UxcError, system_failure

NAME = "uxc-runtime"


class Reporter:
    """Stderr and, when one is named, a log file that is appended to."""

    __slots__ = ("_debug", "_fd", "_json")

    def __init__(self) -> None:
        """Begin with stderr alone."""
        self._fd = -1
        self._json = False
        self._debug = False

    def configure(self, log: str, log_format: str, debug: bool) -> None:
        """Open the log file; UxcError when that cannot be done."""
        if log_format not in ("", "text", "json"):
            raise InvalidError(f"unknown log format '{log_format}'", "text and json are known")
        self._debug = debug
        self._json = log_format == "json"
        if log:
            flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
            try:
                self._fd = posix.open(log, flags, 0o644)
            except OSError as error:
                raise system_failure("open the log", error) from None

    def debug(self, message: str) -> None:
        """Say something that only --debug asks for."""
        if self._debug:
            self._say("debug", message)

    def warning(self, message: str) -> None:
        """Say that something was not done as asked for."""
        self._say("warning", message)

    def error(self, error: UxcError) -> None:
        """Say why the command failed."""
        self._say("error", error.message, error.hint)

    def _say(self, level: str, message: str, hint: str = "") -> None:
        prefix = "" if level == "error" else f"{level}: "
        text = f"{NAME}: {prefix}{message}\n" + (f"{NAME}: hint: {hint}\n" if hint else "")
        _write(2, text)
        if self._fd >= 0:
            _write(self._fd, self._record(level, message) + "\n")

    def _record(self, level: str, message: str) -> str:
        # Not at the top: most commands have nothing to say.
        from uxc import jsontext

        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            return jsontext.dumps({"level": level, "msg": message, "time": when})
        # In a JSON string nothing can end the line or the field early.
        return f'time="{when}" level={level} msg={jsontext.dumps(message)}'


def _write(fd: int, text: str) -> None:
    try:
        posix.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        # Nobody is there to be told.
        return
