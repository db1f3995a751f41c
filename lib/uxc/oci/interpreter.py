"""The interpreter that runs inside containers for a moment, kept from being written to.

Until a container's program is executed its first process is our Python, and a hostile image can
make the kernel run that file again (an entry point ``/proc/self/exe``) and then open it for writing
as the container's root: it is the host's ``/usr/bin/python3`` (the way of CVE-2019-5736). So
whatever enters a container runs from a read-only mount of the interpreter, which stays read-only
by whatever name it is reached. See docs/security.md, "The interpreter".
"""

import errno
import fcntl
import posix
import sys

from uxc import files
from uxc.errors import SystemFailure, system_failure
from uxc.linux import const, fds, mount, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SELF = "/proc/self/exe"
# Beside an interpreter, this names the directory that it belongs to (PEP 405). Without it Python
# looks for its library from where the mount is upwards, in /var/lib, too: on OpenWrt /var is /tmp,
# where everybody could put modules for root.
_HOME = "pyvenv.cfg"
# Given to the second start, which must not ask for a third.
_RESTARTED = "uxc_restarted"


def is_protected() -> bool:
    """Tell whether this process runs from a read-only file system or mount; SystemFailure."""
    try:
        return bool(posix.statvfs(SELF).f_flag & posix.ST_RDONLY)
    except OSError as error:
        raise system_failure("look at the interpreter", error) from None


def is_prepared(path: str) -> bool:
    """Tell whether ``path`` is a read-only mount of the very interpreter that runs this."""
    try:
        found, own = posix.stat(path), posix.stat(SELF)
        same = (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
        return same and bool(posix.statvfs(path).f_flag & posix.ST_RDONLY)
    except OSError:
        return False


def prepare(path: str) -> None:
    """Mount the interpreter read-only at ``path``, unless it is already; SystemFailure.

    Its directory and an empty file are made for it. A mount of an interpreter that was replaced on
    disk meanwhile is renewed.
    """
    directory = path.rpartition("/")[0]
    try:
        files.make_dirs(directory)
        lock = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_prepared(path):
                _write_home(directory)
                _mount(path)
        finally:
            posix.close(lock)
    except OSError as error:
        raise system_failure("prepare the interpreter", error) from None


def _write_home(directory: str) -> None:
    home = posix.readlink(SELF).rpartition("/")[0]
    files.write_atomic(f"{directory}/{_HOME}", f"home = {home}\n".encode(), 0o644)


def _mount(path: str) -> None:
    mount.unmount(path)
    # Without permission to execute: where nothing is mounted (another mount namespace), the
    # launcher must not take the empty file for an interpreter.
    target = posix.open(path, posix.O_CREAT | posix.O_RDONLY | posix.O_CLOEXEC, 0o444)
    try:
        tree = _read_only_copy()
        try:
            mount.set_attributes(tree, propagation=const.MS_PRIVATE)
            mount.attach(tree, target)
        finally:
            posix.close(tree)
    finally:
        posix.close(target)


def remove(path: str) -> None:
    """Undo ``prepare``; what is missing is fine. SystemFailure."""
    directory = path.rpartition("/")[0]
    try:
        mount.unmount(path)
        posix.unlink(path)
        posix.unlink(f"{directory}/{_HOME}")
        posix.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise system_failure("remove the mount of the interpreter", error) from None


def restart() -> "NoReturn":
    """Start this program again, with its arguments, from a read-only copy of the mount.

    For where nothing is prepared: costs one more start of the interpreter. Raises SystemFailure.
    """
    if _RESTARTED in sys._xoptions:
        raise SystemFailure("the interpreter is not read-only, although it was started so")
    try:
        name = posix.readlink(SELF).encode("utf-8", "surrogateescape")
        tree = _read_only_copy()
        try:
            words = sys.orig_argv[1:]
            arguments = [word.encode("utf-8", "surrogateescape") for word in words]
            environment = [key + b"=" + value for key, value in posix.environ.items()]
            proc.execve_fd(tree, [name, b"-X", _RESTARTED.encode(), *arguments], environment)
        finally:
            fds.close_quietly(tree)
    except OSError as error:
        hint = "uxc-runtime must be started as root" if posix.geteuid() else ""
        raise system_failure("start the interpreter read-only", error, hint) from None
    raise AssertionError("execveat returned")


def _read_only_copy() -> int:
    tree = mount.clone_tree(SELF, recursive=False)
    try:
        mount.set_attributes(tree, const.MOUNT_ATTR_RDONLY)
    except BaseException:
        posix.close(tree)
        raise
    return tree
