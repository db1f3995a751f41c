"""What the caller of ``create`` decides beside the bundle, and what of it can be wrong."""

import posix

from uxc import files
from uxc.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from uxc.oci.execoptions import ExecOptions
    from uxc.oci.plan import Plan

CONFIG = "config.json"
_FIRST_FD = 3


class CreateOptions:
    """What the caller of ``create`` decides beside the bundle."""

    __slots__ = (
        "bundle",
        "cgroup_parent",
        "config",
        "console_fd",
        "console_socket",
        "id",
        "listen_fds",
        "may_wait",
        "no_new_keyring",
        "no_pivot",
        "notifies",
        "pid_file",
        "pidfd_socket",
        "prepare",
        "preserve_fds",
        "root",
        "seccomp_dir",
        "stdio",
    )

    def __init__(self, root: str, container_id: str, bundle: str, seccomp_dir: str) -> None:
        """Take the state root, the id, the bundle's directory, and the cache of BPF programs."""
        self.root = root
        self.id = container_id
        self.bundle = bundle
        self.seccomp_dir = seccomp_dir
        # The document of config.json when the caller has read it already.
        self.config: dict[str, Any] | None = None
        self.pid_file = ""
        # Where the terminal's master goes: the path of a listening socket, or a connected one.
        self.console_socket = ""
        self.console_fd = -1
        self.pidfd_socket = ""
        # Sockets 3… of socket activation, and further descriptors behind them.
        self.listen_fds = 0
        self.preserve_fds = 0
        self.no_pivot = False
        self.no_new_keyring = False
        # Whether the program gets a socket to say that it is ready: see ``notify``.
        self.notifies = False
        self.stdio = (0, 1, 2)
        self.cgroup_parent = "uxc"
        # Without, WouldWaitError says that the caller, who lives on, would be kept waiting.
        self.may_wait = True
        # Run first of all in the container's first process, which is a copy of the caller.
        self.prepare: Callable[[], None] | None = None


def absolute(path: str) -> str:
    """Return ``path`` as an absolute one, without a trailing slash."""
    if not path.startswith("/"):
        path = f"{posix.getcwd()}/{path}"
    return path.rstrip("/") or "/"


def read_config(options: CreateOptions) -> "dict[str, Any]":
    """Return the document of the bundle, which may have been read before; InvalidError."""
    if options.config is not None:
        return options.config
    path = f"{absolute(options.bundle)}/{CONFIG}"
    try:
        config: dict[str, Any] = files.read_json(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidError(
            f"cannot read {path}: {reason}", "a bundle is a directory with config.json"
        ) from None
    return config


def wants_terminal(config: "dict[str, Any]") -> bool:
    """Tell whether the document asks for a terminal, before it is read as a whole.

    Whatever has a wrong type is refused later, by the reader.
    """
    process = config.get("process") if isinstance(config, dict) else None
    return isinstance(process, dict) and process.get("terminal") is True


def check_terminal(plan: "Plan", options: CreateOptions) -> None:
    """Raise InvalidError unless there is a console socket if, and only if, one is needed."""
    wanted = bool(options.console_socket) or options.console_fd >= 0
    if plan.wants_terminal and not wanted:
        raise InvalidError(
            "config.json: process.terminal: cannot make a terminal without a console socket",
            "give one with --console-socket, or use run without --detach",
        )
    if wanted and not plan.wants_terminal:
        raise InvalidError("config.json: process.terminal: is false, but a console socket is given")


def preserved(options: "CreateOptions | ExecOptions") -> "list[int]":
    """Return the descriptors that the program inherits beside its standard streams."""
    return list(range(_FIRST_FD, _FIRST_FD + options.listen_fds + options.preserve_fds))


def check_preserved(options: "CreateOptions | ExecOptions") -> None:
    """Raise InvalidError for a descriptor that is to be passed on, but was not passed to us."""
    # No list of them: who passes on a number in the environment may say anything.
    for fd in range(_FIRST_FD, _FIRST_FD + options.listen_fds + options.preserve_fds):
        try:
            # What we have opened ourselves is close-on-exec, and nothing for a container.
            passed = posix.get_inheritable(fd)
        except (OSError, OverflowError):
            passed = False
        if not passed:
            raise InvalidError(f"descriptor {fd} is to be preserved, but is not open")
