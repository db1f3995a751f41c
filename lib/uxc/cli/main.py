"""The ``uxc`` command: pick the command's module by the first word, import it alone, run it."""

import sys

from uxc import paths
from uxc.cli import handover
from uxc.cli.options import UsageError, suggest
from uxc.cli.session import Session
from uxc.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, UxcError
from uxc.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# In the order of the help text; each word is a module in ``uxc.cli.commands``.
COMMANDS = (
    "create",
    "start",
    "stop",
    "kill",
    "delete",
    "list",
    "state",
    "wait",
    "attach",
    "enable",
    "disable",
    "boot",
    "reload",
    "check",
    "shutdown",
    "version",
    "help",
)
_SPELLINGS = {"--help": "help", "-h": "help", "--version": "version", "-v": "version"}


def main(words: "list[str]", bin_dir: str) -> int:
    """Run ``uxc`` with ``words`` and return its exit code; errors become one line on stderr."""
    debug = False
    try:
        where = paths.from_environment()
        if handover.wanted(words, where):
            handover.execute(words, bin_dir)
        while words and words[0] == "--debug":
            debug = True
            words = words[1:]
        return _run(words, Session(where, bin_dir))
    except BrokenPipeError:
        return EXIT_FAILURE
    except KeyboardInterrupt:
        # 128 + SIGINT, as a shell reports it.
        return 130
    except Exception as error:
        return _report(error, debug)


def _run(words: "list[str]", session: Session) -> int:
    if not words:
        words = ["help"]
    name = _SPELLINGS.get(words[0], words[0])
    if name not in COMMANDS:
        raise UsageError(
            f"unknown command '{name}'{suggest(name, list(COMMANDS))}", "uxc help lists them"
        )
    command = load(name)
    arguments = command.SYNTAX.parse(words[1:])
    if arguments.given("help"):
        write_all(1, command.SYNTAX.help_text().encode())
        return EXIT_OK
    result: int = command.run(arguments, session)
    return result


def load(name: str) -> "Any":
    """Import the module of one command (typed loosely: each has SYNTAX and run)."""
    module = f"uxc.cli.commands.{name}"
    __import__(module)
    return sys.modules[module]


def _report(error: Exception, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, UxcError):
        text, hint = error.message, error.hint
    elif isinstance(error, OSError):
        subject = f"{error.filename}: " if error.filename else ""
        text, hint = subject + (error.strerror or str(error)).lower(), ""
    elif isinstance(error, ValueError):
        text, hint = str(error), ""
    else:
        text = f"{type(error).__name__}: {error}"
        hint = "this is a bug; uxc --debug shows where"
    lines = f"uxc: {text}\n" + (f"  ({hint})\n" if hint else "")
    write_all(2, lines.encode(errors="surrogateescape"))
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE
