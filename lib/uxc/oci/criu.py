"""Running criu(8), which can save processes and make them again: found, called, understood."""

import posix

from uxc import files
from uxc.errors import MissingError, SystemFailure, system_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Where it is looked for when the caller has no PATH.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_HINT = "install it, or name it with --criu; Debian and OpenWrt have it as the package criu"


def find(program: str) -> str:
    """Return the path of criu, ``program`` when that is one; MissingError."""
    if "/" in program:
        found = program if posix.access(program, posix.X_OK) else ""
    else:
        path = posix.environ.get(b"PATH", b"").decode(errors="surrogateescape") or _PATH
        places = [f"{directory}/{program}" for directory in path.split(":")]
        found = next((place for place in places if posix.access(place, posix.X_OK)), "")
    if not found:
        raise MissingError(f"{program} is not installed: it does checkpoint and restore", _HINT)
    return found


def call(
    program: str, words: "list[str]", log: str, prepare: "Callable[[], None] | None" = None
) -> None:
    """Run criu with ``words`` and wait for it; SystemFailure with what its ``log`` complains of.

    ``prepare`` is run in the new process before criu is.
    """
    receiving, sending = posix.pipe()
    pid = posix.fork()
    if pid == 0:
        try:
            if prepare is not None:
                prepare()
            posix.execve(program, [program, *words], dict(posix.environ))
        except BaseException as error:
            posix.write(sending, f"{error}".encode(errors="replace"))
        finally:
            posix._exit(127)
    posix.close(sending)
    try:
        # The exec closes the other end.
        problem = posix.read(receiving, 4096).decode(errors="replace")
    finally:
        posix.close(receiving)
    _, status = posix.waitpid(pid, 0)
    if problem:
        raise SystemFailure(f"cannot run criu: {problem}")
    if status:
        reason = _last_error(log)
        raise SystemFailure(f"criu failed: {reason or 'it does not say why'}", f"its log is {log}")


def _last_error(log: str) -> str:
    """Return the first line that criu calls an error: what it says next follows from it."""
    try:
        text = files.read_bytes(log).decode(errors="replace")
    except OSError:
        return ""
    lines = [line.partition("Error ")[2] for line in text.splitlines() if "Error " in line]
    # In front of the sentence stands the place in criu's source.
    return lines[0].partition("): ")[2].strip() if lines else ""


def make_directory(path: str) -> str:
    """Make ``path`` when it is missing, and return it as an absolute one; SystemFailure."""
    if not path.startswith("/"):
        path = f"{posix.getcwd()}/{path}"
    try:
        files.make_dirs(path, 0o700)
    except OSError as error:
        raise system_failure("make the directory", error) from None
    return path
