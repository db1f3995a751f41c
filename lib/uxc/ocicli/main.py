"""``uxc-runtime``: the OCI runtime as a command, with the command line of runc and no daemon."""

import gc
import posix

from uxc import paths as fixed_paths
from uxc.errors import EXIT_FAILURE, EXIT_OK, InternalError, InvalidError, UxcError, system_failure
from uxc.ocicli.args import CommandLine
from uxc.ocicli.report import NAME, Reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.creation import CreateOptions
    from uxc.oci.state import State
    from uxc.paths import Paths

SPEC_VERSION = "1.3.0"
# Commands whose process, or one made by it, runs inside a container for a while.
_ENTERING = ("create", "run")


def main(words: "list[str]") -> int:
    """Run one command and return the exit code; nothing is raised."""
    # Nothing here lives long enough to be worth collecting.
    gc.disable()
    _open_standard_streams()
    reporter = Reporter()
    try:
        line = CommandLine(words)
        return _dispatch(line, reporter)
    except UxcError as error:
        reporter.error(error)
    except OSError as error:
        reporter.error(system_failure("go on", error))
    except KeyboardInterrupt:
        reporter.error(UxcError("interrupted"))
    except Exception as error:
        if "--debug" in words:
            raise
        reporter.error(
            InternalError(f"{type(error).__name__}: {error}", "--debug shows where it happened")
        )
    return EXIT_FAILURE


def _open_standard_streams() -> None:
    """Fill 0 to 2: a descriptor of ours there would become a container's standard stream."""
    while (fd := posix.open("/dev/null", posix.O_RDWR)) <= 2:
        posix.set_inheritable(fd, True)
    posix.close(fd)


def _dispatch(line: CommandLine, reporter: Reporter) -> int:
    if "version" in line.globals:
        from uxc.version import VERSION

        return _print(f"{NAME} version {VERSION}\nspec: {SPEC_VERSION}\n")
    if "help" in line.globals or "help" in line.options:
        from uxc.ocicli.usage import USAGE

        return _print(USAGE)
    options = line.globals
    reporter.configure(options.get("log", ""), options.get("log-format", ""), "debug" in options)
    if options.get("cgroup-manager", "cgroupfs") not in ("cgroupfs", "systemd"):
        raise InvalidError(
            f"--cgroup-manager {options['cgroup-manager']} is not supported",
            "cgroupfs is what there is",
        )
    paths = fixed_paths.from_environment()
    root = options.get("root") or paths.runtime_root
    if line.command in _ENTERING:
        _protect(paths, reporter)
        return _create(line, paths, root, reporter)
    if line.command == "list":
        return _list(line, root)
    container_id = line.operands[0]
    if line.command == "state":
        from uxc import jsontext
        from uxc.oci import state

        return _print(jsontext.dumps(state.load(root, container_id).document()) + "\n")
    if line.command == "start":
        _start(root, container_id)
        return EXIT_OK
    from uxc.oci import lifecycle

    if line.command == "kill":
        from uxc.ocicli import signals

        number = signals.TERMINATE
        if len(line.operands) > 1:
            number = signals.parse(line.operands[1])
        lifecycle.kill(root, container_id, number, "all" in line.options)
    elif line.command == "delete":
        lifecycle.delete(root, container_id, "force" in line.options)
    return EXIT_OK


def _start(root: str, container_id: str) -> None:
    from uxc.oci import gate

    if not gate.let_run(root, container_id):
        from uxc.oci import lifecycle

        lifecycle.refuse_start(root, container_id)


def _protect(paths: "Paths", reporter: Reporter) -> None:
    """Go on only from an interpreter that cannot be written to; see ``oci.interpreter``."""
    from uxc.oci import interpreter

    if interpreter.is_protected():
        return
    try:
        # For the next time; the launcher then takes it, and no second start is needed.
        interpreter.prepare(paths.interpreter)
    except UxcError as error:
        reporter.debug(error.message)
    interpreter.restart()


def _create(line: CommandLine, paths: "Paths", root: str, reporter: Reporter) -> int:
    from uxc.oci import creation

    options = _create_options(line, paths, root)
    if line.command == "run":
        from uxc.ocicli import foreground

        detached, kept = "detach" in line.options, "keep" in line.options
        return foreground.run(options, detached, kept, reporter)
    for warning in creation.create(options).warnings:
        reporter.warning(warning)
    return EXIT_OK


def _create_options(line: CommandLine, paths: "Paths", root: str) -> "CreateOptions":
    from uxc import files
    from uxc.oci import creation

    given = line.options
    bundle = creation.absolute(given.get("bundle") or posix.getcwd())
    options = creation.CreateOptions(root, line.operands[0], bundle, paths.seccomp_dir)
    if "config" in given:
        try:
            options.config = files.read_json(given["config"])
        except OSError as error:
            raise system_failure("read", error) from None
    options.pid_file = given.get("pid-file", "")
    options.console_socket = given.get("console-socket", "")
    options.pidfd_socket = given.get("pidfd-socket", "")
    options.preserve_fds = int(given.get("preserve-fds", "0"))
    options.listen_fds = _listen_fds()
    options.no_pivot = "no-pivot" in given
    options.no_new_keyring = "no-new-keyring" in given
    options.cgroup_parent = paths.cgroup_parent
    return options


def _listen_fds() -> int:
    """Return how many sockets the caller passes on (sd_listen_fds(3)), 0 when they are not ours.

    As with runc, LISTEN_PID is not compared: the caller cannot know the pid of a shell's child.
    """
    text = posix.environ.get(b"LISTEN_FDS", b"")
    return int(text) if text.isdigit() else 0


def _list(line: CommandLine, root: str) -> int:
    from uxc import jsontext
    from uxc.oci import state

    states = state.load_all(root)
    if "quiet" in line.options:
        return _print("".join(f"{one.id}\n" for one in states))
    form = line.options.get("format", "table")
    if form == "json":
        return _print(jsontext.dumps([one.document() for one in states]) + "\n")
    if form != "table":
        raise InvalidError(f"unknown format '{form}'", "table and json are known")
    return _print(_table(states))


def _table(states: "list[State]") -> str:
    keys = ("id", "pid", "status", "bundle", "created", "owner")
    rows = [[key.upper() for key in keys]]
    for one in states:
        document = one.document()
        rows.append([str(document[key]) for key in keys])
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


def _print(text: str) -> int:
    """Write ``text`` to stdout; the exit code."""
    from uxc import files

    files.write_all(1, text.encode("utf-8", "backslashreplace"))
    return EXIT_OK
