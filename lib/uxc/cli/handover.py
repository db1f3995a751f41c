"""When ``uxc`` is called as an OCI runtime: hand over to ``uxc-runtime`` (docs/control.md).

OpenWrt's containers.conf tells Podman that ``/sbin/uxc`` is an OCI runtime. What only a runtime's
command line has goes there: a flag, a command, an id as engines make them, a container that
``uxc-runtime`` made. Everything else is ours.
"""

import posix

from uxc.errors import MissingError
from uxc.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INSTALLED = "/usr/bin/uxc-runtime"

_GLOBAL_FLAGS = {
    "--root",
    "--log",
    "--log-format",
    "--systemd-cgroup",
    "--rootless",
    "--criu",
    "--cgroup-manager",
}
_RUNTIME_COMMANDS = {"run", "ps", "spec", "features", "checkpoint", "restore"}
_COMMAND_FLAGS = {
    "create": {
        "--console-socket",
        "--pidfd-socket",
        "--no-pivot",
        "--no-new-keyring",
        "--preserve-fds",
    },
    "exec": {"--process", "-p"},
    "kill": {"--all", "-a"},
    "list": {"--format", "-f", "--quiet", "-q"},
    "update": {"--resources", "-r"},
    "events": {"--stats", "--interval"},
}
_ID_DIGITS = 64
# Commands whose operand is an id, which may be one of the runtime's own.
_ON_ID = {
    "create",
    "start",
    "state",
    "kill",
    "delete",
    "exec",
    "pause",
    "resume",
    "update",
    "events",
}


def wanted(words: "list[str]", paths: Paths) -> bool:
    """Whether this command line is meant for an OCI runtime."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at].partition("=")[0] in _GLOBAL_FLAGS:
            return True
        at += 1
    if at == len(words):
        return False
    command, rest = words[at], words[at + 1 :]
    if command in _RUNTIME_COMMANDS:
        return True
    flags = _COMMAND_FLAGS.get(command, set())
    if any(word.partition("=")[0] in flags for word in rest):
        return True
    # Podman's ``start ID`` and ``delete --force ID`` carry no flag of their own.
    return command in _ON_ID and any(
        _made_by_engine(word) or _made_by_runtime(word, paths) for word in rest
    )


def _made_by_engine(word: str) -> bool:
    """Whether ``word`` is an id of Podman, CRI-O, containerd or Docker: 256 bits in hexadecimal."""
    return len(word) == _ID_DIGITS and not word.strip("0123456789abcdef")


def _made_by_runtime(word: str, paths: Paths) -> bool:
    if word.startswith((".", "-")) or "/" in word:
        return False
    try:
        posix.stat(f"{paths.runtime_root}/{word}")
    except OSError:
        return False
    try:
        # One of the manager's has the same name, and the name is the manager's first.
        posix.stat(f"{paths.bundle_dir}/{word}")
    except OSError:
        return True
    return False


def execute(words: "list[str]", bin_dir: str) -> "NoReturn":
    """Become ``uxc-runtime``; MissingError when it is not installed."""
    for program in (f"{bin_dir}/uxc-runtime", INSTALLED):
        try:
            posix.execv(program, [program, *words])
        except FileNotFoundError:
            continue
    raise MissingError("uxc-runtime is not installed", "install the package python3-uxc")
