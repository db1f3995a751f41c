"""``uxc-runtime``: the OCI runtime as a command, with the command line of runc and no daemon."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import gc
import posix
import sys

from uxc.errors import EXIT_FAILURE, EXIT_OK, InternalError, UxcError, system_failure
from uxc.ocicli.call import NAME, Call, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Each is a module of the same name in ``uxc.ocicli.commands``, imported when it is asked for.
COMMANDS = (
    "checkpoint",
    "create",
    "delete",
    "events",
    "exec",
    "features",
    "kill",
    "list",
    "pause",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
    "update",
)


def main(words: "list[str]") -> int:
    """Run one command and return the exit code; nothing is raised."""
    # Nothing here lives long enough to be worth collecting.
    gc.disable()
    _open_standard_streams()
    # A caller that ignores it would have our children reaped before we hear of their end.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    call = Call()
    command = None
    try:
        rest = call.read_globals(words)
        if "version" in call.globals or "help" in call.globals or rest[:1] == ["help"]:
            return _explain(call, rest[1:2])
        if not rest:
            raise UsageError("no command is given", f"{NAME} --help lists them")
        command = load(rest[0])
        call.read_options(rest[1:], command.OPTIONS, command.SHORT, command.OPERANDS)
        if "help" in call.options:
            return _explain(call, rest[:1])
        code: int = command.run(call)
        return code
    except UxcError as error:
        call.error(error)
    except OSError as error:
        call.error(system_failure("go on", error))
    except KeyboardInterrupt:
        call.error(UxcError("interrupted"))
    except Exception as error:
        if "debug" in call.globals:
            raise
        call.error(
            InternalError(f"{type(error).__name__}: {error}", "--debug shows where it happened")
        )
    # Of exec, clients tell the failure from an exit code of the program by it.
    return int(getattr(command, "FAILURE", EXIT_FAILURE))


def _open_standard_streams() -> None:
    """Fill 0 to 2: a descriptor of ours there would become a container's standard stream."""
    while (fd := posix.open("/dev/null", posix.O_RDWR)) <= 2:
        posix.set_inheritable(fd, True)
    posix.close(fd)


def load(name: str) -> "Any":
    """Import the module of a command (typed loosely: each has OPTIONS, SHORT, OPERANDS, run)."""
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{name}'", f"{NAME} --help lists them")
    module = f"uxc.ocicli.commands.{name}"
    __import__(module)
    return sys.modules[module]


def _explain(call: Call, about: "list[str]") -> int:
    from uxc.ocicli import usage

    if "version" in call.globals:
        call.print(usage.version(sys.argv[0]))
    else:
        call.print(usage.text(about[0] if about else ""))
    return EXIT_OK
