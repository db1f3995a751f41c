"""What the caller of ``exec`` decides, and the process object that comes of it."""

from uxc.errors import InvalidError
from uxc.oci import spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from uxc.oci.spec_process import Process

CONFIG = "config.json"
# One more would be -1, which setresuid(2) takes for "leave it as it is".
_HIGHEST_ID = (1 << 32) - 2


class Changes:
    """What is to be otherwise than in the process object; None and empty: nothing."""

    __slots__ = (
        "additional_gids",
        "apparmor_profile",
        "args",
        "capabilities",
        "console_size",
        "cwd",
        "env",
        "gid",
        "no_new_privileges",
        "selinux_label",
        "terminal",
        "uid",
    )

    def __init__(self) -> None:
        """Begin with nothing changed."""
        self.args: list[str] = []
        self.cwd = ""
        # NAME=VALUE each, instead of a variable of that name.
        self.env: list[str] = []
        self.uid: int | None = None
        self.gid: int | None = None
        # These two are added to what is there.
        self.additional_gids: list[int] = []
        self.capabilities: list[str] = []
        self.terminal = False
        # (rows, columns)
        self.console_size: tuple[int, int] | None = None
        self.no_new_privileges = False
        self.apparmor_profile = ""
        self.selinux_label = ""


class ExecOptions:
    """What the caller of ``exec`` decides."""

    __slots__ = (
        "cgroups",
        "changes",
        "console_fd",
        "console_socket",
        "id",
        "ignore_paused",
        "listen_fds",
        "pid_file",
        "pidfd_socket",
        "prepare",
        "preserve_fds",
        "process",
        "root",
        "seccomp_dir",
        "source",
        "stdio",
    )

    def __init__(self, root: str, container_id: str, seccomp_dir: str) -> None:
        """Take the state root, the id, and the cache of BPF programs."""
        self.root = root
        self.id = container_id
        self.seccomp_dir = seccomp_dir
        # A process object and where it is from; without one it is the container's own, with no
        # terminal and with the arguments in ``changes``.
        self.process: dict[str, Any] | None = None
        self.source = "process.json"
        self.changes = Changes()
        # Cgroups below the container's: [CONTROLLER[,CONTROLLER…]:]PATH each.
        self.cgroups: list[str] = []
        self.ignore_paused = False
        self.pid_file = ""
        self.pidfd_socket = ""
        # Where the terminal's master goes: the path of a listening socket, or a connected one.
        self.console_socket = ""
        self.console_fd = -1
        # Sockets 3… of socket activation, and further descriptors behind them.
        self.listen_fds = 0
        self.preserve_fds = 0
        self.stdio = (0, 1, 2)
        # Run first of all in the process that joins, which is a copy of the caller.
        self.prepare: Callable[[], None] | None = None


def parse_user(text: str) -> "tuple[int, int | None]":
    """Return the ids in ``UID[:GID]``; InvalidError for any other text (CVE-2026-30892).

    Names are not looked up: the lists of names are the container's.
    """
    uid, colon, gid = text.partition(":")
    try:
        return parse_id(uid), parse_id(gid) if colon else None
    except InvalidError:
        raise InvalidError(f"'{text}' is no user", "it is UID or UID:GID, as numbers") from None


def parse_id(text: str) -> int:
    """Return the user or group id that ``text`` is the number of; InvalidError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _HIGHEST_ID:
        raise InvalidError(f"'{text}' is no id", "it is a number")
    return int(text)


def process_of(options: ExecOptions, config: "dict[str, Any]") -> "Process":
    """Return the process that ``options`` mean in a container with ``config``; InvalidError."""
    changes = options.changes
    document, source = options.process, options.source
    if document is None:
        source = CONFIG
        # A container that was made without a process has none that could be varied.
        document = {"cwd": "/", **(config.get("process") or {}), "terminal": False, "args": []}
    if isinstance(document, dict):
        if changes.args:
            document = {**document, "args": changes.args}
        if not document.get("args"):
            raise InvalidError("process args cannot be empty", "name a command to run")
    process = spec.parse_process(document, source)
    if changes.cwd:
        if changes.cwd[0] != "/":
            raise InvalidError(f"cwd must be an absolute path, not '{changes.cwd}'")
        process.cwd = changes.cwd
    if changes.env:
        process.env = _environment(process.env, changes.env)
    process.terminal = process.terminal or changes.terminal
    process.console_size = changes.console_size or process.console_size
    process.no_new_privileges = process.no_new_privileges or changes.no_new_privileges
    process.apparmor_profile = changes.apparmor_profile or process.apparmor_profile
    process.selinux_label = changes.selinux_label or process.selinux_label
    user = process.user
    user.uid = user.uid if changes.uid is None else changes.uid
    user.gid = user.gid if changes.gid is None else changes.gid
    user.additional_gids = [*user.additional_gids, *changes.additional_gids]
    if changes.capabilities:
        _add_capabilities(process, changes.capabilities)
    return process


def _add_capabilities(process: "Process", names: "list[str]") -> None:
    """Add ``names`` to the sets that a program is given.

    Not to the inheritable one, which would pass through every program with file capabilities to
    whatever that starts (CVE-2022-29162), and hence not to the ambient one, which needs it.
    """
    from uxc.oci.spec_process import Capabilities

    sets = process.capabilities or Capabilities({}, "process.capabilities")
    sets.bounding = [*sets.bounding, *names]
    sets.effective = [*sets.effective, *names]
    sets.permitted = [*sets.permitted, *names]
    process.capabilities = sets


def _environment(before: "list[str]", changes: "list[str]") -> "list[str]":
    """Return ``before`` with ``changes`` instead of variables of the same name.

    Of two entries of one name, getenv(3) finds the first one.
    """
    for entry in changes:
        if "=" not in entry[1:]:
            raise InvalidError(f'invalid environment variable: "{entry}"', "it is NAME=VALUE")
    # The last of several counts, as it does for runc.
    latest = {entry.partition("=")[0]: entry for entry in changes}
    kept = [entry for entry in before if entry.partition("=")[0] not in latest]
    return [*kept, *latest.values()]
