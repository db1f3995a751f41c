"""Log lines of the manager: to stderr, or to syslog under the ident ``uxc``."""

import logging
import sys
import syslog

TARGETS = ("stderr", "syslog")

_PRIORITIES = (
    (logging.CRITICAL, syslog.LOG_CRIT),
    (logging.ERROR, syslog.LOG_ERR),
    (logging.WARNING, syslog.LOG_WARNING),
    (logging.INFO, syslog.LOG_INFO),
)


class SyslogHandler(logging.Handler):
    """Hand records to syslog(3); ``logging.handlers`` costs 6 ms more for its sockets."""

    def __init__(self, ident: str) -> None:
        """Open the connection of this process under ``ident``."""
        super().__init__()
        syslog.openlog(ident, syslog.LOG_PID, syslog.LOG_DAEMON)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one syslog message for each line of ``record``."""
        priority = next(
            (priority for level, priority in _PRIORITIES if record.levelno >= level),
            syslog.LOG_DEBUG,
        )
        for line in self.format(record).splitlines():
            # A NUL would end the message early, and text of a container may hold one.
            syslog.syslog(priority, line.replace("\0", "\\0"))


def set_up(target: str, *, debug: bool = False, ident: str = "uxc") -> None:
    """Send the log of this process to ``target``, one of ``TARGETS``."""
    handler: logging.Handler
    if target == "syslog":
        handler = SyslogHandler(ident)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"{ident}: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.raiseExceptions = debug
