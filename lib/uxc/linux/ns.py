"""Namespaces: making, joining, pinning, and telling what a file is."""

import errno
import fcntl
import posix

from uxc.linux import const, link
from uxc.linux.libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_OPEN = posix.O_RDONLY | posix.O_CLOEXEC

# Name in /proc/PID/ns → CLONE_NEW* flag.
FLAGS = {
    "user": const.CLONE_NEWUSER,
    "mnt": const.CLONE_NEWNS,
    "net": const.CLONE_NEWNET,
    "ipc": const.CLONE_NEWIPC,
    "uts": const.CLONE_NEWUTS,
    "pid": const.CLONE_NEWPID,
    "cgroup": const.CLONE_NEWCGROUP,
    "time": const.CLONE_NEWTIME,
}


def open_own(name: str) -> int:
    """Return an fd of this thread's namespace ``name`` (as in /proc/PID/ns)."""
    return posix.open(f"/proc/thread-self/ns/{name}", _OPEN)


def unshare(flags: int) -> None:
    """Move this process into new namespaces; OSError as unshare(2)."""
    syscall("unshare", None, flags)


def join(fd: int, flag: int = 0) -> None:
    """Move this thread into the namespace behind ``fd``; ``flag`` is its CLONE_NEW*, 0 for any.

    For a pid or time namespace only children made later are moved (setns(2)).
    """
    syscall("setns", fd, fd, flag)


def kind(fd: int) -> int:
    """Return the CLONE_NEW* flag of the namespace behind ``fd``; OSError ENOTTY if it is none."""
    return fcntl.ioctl(fd, const.NS_GET_NSTYPE)


def is_own(fd: int, name: str) -> bool:
    """Tell whether the namespace behind ``fd`` is this thread's namespace ``name``."""
    own, other = posix.stat(f"/proc/thread-self/ns/{name}"), posix.fstat(fd)
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)


def new_netns() -> int:
    """Return an fd of a new network namespace with ``lo`` up; the caller stays where it is.

    Only for a process with one thread: between leaving and coming back the whole thread is in the
    new namespace.
    """
    home = open_own("net")
    try:
        unshare(const.CLONE_NEWNET)
        try:
            fd = open_own("net")
            try:
                link.set_up("lo")
            except BaseException:
                posix.close(fd)
                raise
        finally:
            join(home, const.CLONE_NEWNET)
    finally:
        posix.close(home)
    return fd


def pin(fd: int, path: str) -> None:
    """Keep the namespace behind ``fd`` alive as a bind mount on ``path``, a file made for it.

    Raises FileExistsError when ``path`` exists; nothing is left behind on failure.
    """
    posix.close(posix.open(path, posix.O_CREAT | posix.O_EXCL | _OPEN, 0o444))
    try:
        syscall(
            "mount", path, f"/proc/self/fd/{fd}".encode(), path.encode(), None, const.MS_BIND, None
        )
    except BaseException:
        posix.unlink(path)
        raise


def unpin(path: str) -> None:
    """Undo ``pin``, also one that was done half; a missing ``path`` is fine."""
    try:
        syscall("umount2", path, path.encode(), const.MNT_DETACH)
    except FileNotFoundError:
        return
    except OSError as error:
        # EINVAL: the file is there, and nothing is mounted on it.
        if error.errno != errno.EINVAL:
            raise
    posix.unlink(path)


class entered:
    """Be in the namespace behind ``fd`` for the length of a ``with`` block, then come back.

    ``nstype`` is its name in /proc/PID/ns. One thread only; user and mount namespaces cannot be
    left this way by everybody (setns(2)).
    """

    __slots__ = ("_fd", "_home", "_name")

    def __init__(self, fd: int, nstype: str) -> None:
        """Take the namespace's ``fd``, which stays the caller's, and its name."""
        self._fd = fd
        self._name = nstype
        self._home = -1

    def __enter__(self) -> None:
        """Go in; OSError as setns(2), and the caller is where it was."""
        self._home = open_own(self._name)
        try:
            join(self._fd, FLAGS[self._name])
        except BaseException:
            posix.close(self._home)
            raise

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        """Come back; an error here is not hidden, since everything after it would go astray."""
        try:
            join(self._home, FLAGS[self._name])
        finally:
            posix.close(self._home)
