"""What ``create`` and ``run`` have in common: their options, and the interpreter they run on."""

import posix

from uxc.errors import UxcError, system_failure
from uxc.oci import interpreter
from uxc.ocicli.call import FLAG, NUMBER, WORD, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.createoptions import CreateOptions
    from uxc.oci.execoptions import ExecOptions
    from uxc.ocicli.call import Call

OPTIONS = {
    "bundle": WORD,
    "config": WORD,
    "console-socket": WORD,
    "pidfd-socket": WORD,
    "pid-file": WORD,
    "no-pivot": FLAG,
    "no-new-keyring": FLAG,
    "no-subreaper": FLAG,
    "preserve-fds": NUMBER,
}
SHORT = {"b": "bundle", "f": "config"}


def protect(call: "Call") -> None:
    """Go on only from an interpreter that cannot be written to; see ``oci.interpreter``."""
    if interpreter.is_protected():
        return
    try:
        # For the next time; the launcher then takes it, and no second start is needed.
        interpreter.prepare(call.paths.interpreter)
    except UxcError as error:
        call.debug(error.message)
    interpreter.restart()


def options_of(call: "Call") -> "CreateOptions":
    """Return what the command line says about the container to be made; UxcError."""
    from uxc import files
    from uxc.oci import createoptions

    if call.globals.get("cgroup-manager") == "disabled":
        call.warning("--cgroup-manager disabled: there is a cgroup all the same, to kill by")
    given = call.options
    bundle = createoptions.absolute(given.get("bundle") or posix.getcwd())
    options = createoptions.CreateOptions(call.root, call.id, bundle, call.paths.seccomp_dir)
    if "config" in given:
        try:
            options.config = files.read_json(given["config"])
        except OSError as error:
            raise system_failure("read", error) from None
    read_ends(call, options)
    options.no_pivot = "no-pivot" in given
    options.no_new_keyring = "no-new-keyring" in given
    options.notifies = b"NOTIFY_SOCKET" in posix.environ
    options.cgroup_parent = call.paths.cgroup_parent
    return options


def read_ends(call: "Call", options: "CreateOptions | ExecOptions") -> None:
    """Set what ``exec`` has as well: who is to hear of the process, and what it inherits."""
    given = call.options
    options.pid_file = given.get("pid-file", "")
    options.console_socket = given.get("console-socket", "")
    options.pidfd_socket = given.get("pidfd-socket", "")
    options.preserve_fds = int(given.get("preserve-fds", "0"))
    options.listen_fds = _listen_fds()


def _listen_fds() -> int:
    """Return how many sockets the caller passes on (sd_listen_fds(3)), 0 when they are not ours.

    As with runc, LISTEN_PID is not compared: the caller cannot know the pid of a shell's child.
    """
    text = posix.environ.get(b"LISTEN_FDS", b"").decode(errors="replace")
    return int(text) if is_number(text) else 0
