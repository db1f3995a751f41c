"""``exec``: run another program in a container; the exit code is the program's."""

from uxc.errors import EXIT_OK, system_failure
from uxc.ocicli import creating
from uxc.ocicli.call import FLAG, NUMBER, REST, WORD, WORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.execoptions import Changes, ExecOptions
    from uxc.ocicli.call import Call

OPTIONS = {
    "process": WORD,
    "cwd": WORD,
    "env": WORDS,
    "user": WORD,
    "additional-gids": WORDS,
    "cap": WORDS,
    "tty": FLAG,
    "no-new-privs": FLAG,
    "apparmor": WORD,
    "process-label": WORD,
    "detach": FLAG,
    "pid-file": WORD,
    "console-socket": WORD,
    "pidfd-socket": WORD,
    "preserve-fds": NUMBER,
    "cgroup": WORDS,
    "ignore-paused": FLAG,
    "no-subreaper": FLAG,
}
SHORT = {
    "p": "process",
    "e": "env",
    "u": "user",
    "g": "additional-gids",
    "c": "cap",
    "t": "tty",
    "d": "detach",
}
OPERANDS = (1, REST)
# Of what keeps the program from running; runc's number, told apart from most programs' own.
FAILURE = 255


def run(call: "Call") -> int:
    """Run the program to its end, or let it go with --detach."""
    creating.protect(call)
    from uxc.linux import proc
    from uxc.oci import execution

    options = options_of(call)
    # Everybody in the container can read the command line of the process that joins it.
    proc.rename(f"uxc-runtime\0exec\0{call.id}")
    if "detach" in call.options:
        made = execution.execute(options)
        for warning in made.warnings:
            call.warning(warning)
        return EXIT_OK
    from uxc.ocicli import attached

    return attached.execute(options, call)


def options_of(call: "Call") -> "ExecOptions":
    """Return what the command line says about the process; UxcError."""
    from uxc import files
    from uxc.oci.execoptions import ExecOptions

    given = call.options
    options = ExecOptions(call.root, call.id, call.paths.seccomp_dir)
    if "process" in given:
        options.source = given["process"]
        try:
            options.process = files.read_json(given["process"])
        except OSError as error:
            raise system_failure("read", error) from None
    creating.read_ends(call, options)
    options.cgroups = call.lists.get("cgroup", [])
    options.ignore_paused = "ignore-paused" in given
    _read_changes(call, options.changes)
    return options


def _read_changes(call: "Call", changes: "Changes") -> None:
    from uxc.oci.execoptions import parse_id, parse_user

    given, lists = call.options, call.lists
    changes.args = call.operands[1:]
    changes.cwd = given.get("cwd", "")
    changes.env = lists.get("env", [])
    if "user" in given:
        changes.uid, changes.gid = parse_user(given["user"])
    changes.additional_gids = [parse_id(text) for text in lists.get("additional-gids", [])]
    changes.capabilities = lists.get("cap", [])
    changes.terminal = "tty" in given
    changes.no_new_privileges = "no-new-privs" in given
    changes.apparmor_profile = given.get("apparmor", "")
    changes.selinux_label = given.get("process-label", "")
