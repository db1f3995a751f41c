"""Mounts by file descriptor: the mount API of Linux 5.2, mount_setattr, pivot_root.

A mount is made detached, gets its attributes, and is then moved onto a target that is open
already: there is no moment at which a path is looked up twice or a mount is visible half done.
"""

import _struct
import errno
import posix

from uxc.linux import const
from uxc.linux.libc import syscall


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape") + b"\0"


def new_filesystem(
    kind: str, source: str = "", options: "tuple[str, ...] | list[str]" = (), attributes: int = 0
) -> int:
    """Return an fd of a new detached mount of a file system of type ``kind``.

    ``options`` are what mount(8) calls data, ``name`` or ``name=value``, and the superblock flags
    ro, sync, dirsync, lazytime, mand; ``attributes`` are MOUNT_ATTR_*. Raises OSError about
    ``kind``; the text is the kernel's own explanation where it gives one.
    """
    context = syscall("fsopen", kind, _text(kind), const.FSOPEN_CLOEXEC)
    try:
        if source:
            _configure(context, kind, "source", source)
        for option in options:
            key, equals, value = option.partition("=")
            _configure(context, kind, key, value if equals else None)
        try:
            syscall("fsconfig", kind, context, const.FSCONFIG_CMD_CREATE, None, None, 0)
        except OSError as error:
            raise _explained(error, context) from None
        return syscall("fsmount", kind, context, const.FSMOUNT_CLOEXEC, attributes)
    finally:
        posix.close(context)


def _configure(context: int, kind: str, key: str, value: "str | None") -> None:
    try:
        if value is None:
            syscall("fsconfig", kind, context, const.FSCONFIG_SET_FLAG, _text(key), None, 0)
        else:
            syscall(
                "fsconfig", kind, context, const.FSCONFIG_SET_STRING, _text(key), _text(value), 0
            )
    except OSError as error:
        raise _explained(error, context) from None


def _explained(error: OSError, context: int) -> OSError:
    """Return ``error`` with what the kernel wrote to the context's log, if anything."""
    try:
        line = posix.read(context, 4096).decode(errors="replace").strip()
    except OSError:
        # ENODATA: there is no message, and the errno has to do.
        return error
    # "e tmpfs: Unknown parameter 'x'": a letter for the level, a blank, the text.
    return OSError(error.errno, line[2:] or error.strerror, error.filename)


def reconfigure(fd: int, options: "tuple[str, ...] | list[str]") -> None:
    """Give the file system whose mount is behind ``fd`` other options (mount(8), ``remount``).

    They are as for ``new_filesystem``; what they do not name stays. Raises OSError: EINVAL when
    ``fd`` is not where something is mounted.
    """
    flags = const.FSPICK_CLOEXEC | const.FSPICK_EMPTY_PATH
    context = syscall("fspick", fd, fd, b"\0", flags)
    try:
        for option in options:
            key, equals, value = option.partition("=")
            _configure(context, key, key, value if equals else None)
        try:
            syscall("fsconfig", fd, context, const.FSCONFIG_CMD_RECONFIGURE, None, None, 0)
        except OSError as error:
            raise _explained(error, context) from None
    finally:
        posix.close(context)


def count_versions(fd: int, superblock: int) -> None:
    """Have the file system mounted at ``fd`` count the changes of each file (``iversion``).

    fsconfig(2) has no name for this flag; mount(2) has, and wants all that shall stay along with
    it: ``superblock`` are the MS_* of those that are set. The attributes of the mount are lost and
    have to be set anew. Leaves the process in the directory ``/``.
    """
    posix.fchdir(fd)
    try:
        flags = const.MS_REMOUNT | const.MS_I_VERSION | superblock
        syscall("mount", fd, None, b".\0", None, flags, None)
    finally:
        posix.chdir("/")


def clone_tree(
    path: str, recursive: bool, dir_fd: int = const.AT_FDCWD, follow: bool = True
) -> int:
    """Return an fd of a detached copy of the mount at ``path`` (a bind mount in the making).

    With ``path`` empty, of the mount behind ``dir_fd``. ``recursive`` takes along what is mounted
    below. Without ``follow`` a symbolic link at ``path`` is what will be mounted.
    """
    flags = const.OPEN_TREE_CLONE | posix.O_CLOEXEC
    flags |= const.AT_RECURSIVE if recursive else 0
    flags |= 0 if path else const.AT_EMPTY_PATH
    flags |= 0 if follow else const.AT_SYMLINK_NOFOLLOW
    return syscall("open_tree", path or dir_fd, dir_fd, _text(path), flags)


def set_attributes(
    fd: int, set_: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False
) -> None:
    """Change the mount behind ``fd``: MOUNT_ATTR_* to set and clear, MS_* propagation."""
    flags = const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    attributes = _struct.pack("=4Q", set_, clear, propagation, 0)
    syscall("mount_setattr", fd, fd, b"\0", flags, attributes, len(attributes))


def set_idmap(fd: int, user_namespace: int, recursive: bool = False) -> None:
    """Show the files of the detached mount ``fd`` with other owners (MOUNT_ATTR_IDMAP).

    ``user_namespace`` is an fd of one that maps from the ids on the disk to the ids to be seen.
    Raises OSError, EINVAL for a file system that cannot do that (mount_setattr(2)).
    """
    flags = const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    attributes = _struct.pack("=4Q", const.MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    syscall("mount_setattr", fd, fd, b"\0", flags, attributes, len(attributes))


def identity(fd: int) -> int:
    """Return the number of the mount that ``fd`` is on, as in mountinfo (proc(5))."""
    info = posix.open(f"/proc/thread-self/fdinfo/{fd}", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        text = posix.read(info, 4096)
    finally:
        posix.close(info)
    return next(int(line[7:]) for line in text.splitlines() if line.startswith(b"mnt_id:"))


def attach(mount: int, target: int) -> None:
    """Put the detached mount behind ``mount`` onto the file or directory behind ``target``."""
    flags = const.MOVE_MOUNT_F_EMPTY_PATH | const.MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", target, mount, b"\0", target, b"\0", flags)


def set_propagation(path: str, propagation: int, recursive: bool = True) -> None:
    """Give the mounts at ``path`` a propagation type, MS_PRIVATE, MS_SLAVE, … (mount(2))."""
    flags = propagation | (const.MS_REC if recursive else 0)
    syscall("mount", path, None, _text(path), None, flags, None)


def pivot_to(root: int) -> None:
    """Make the mount behind ``root`` the root of this mount namespace and drop the old one."""
    old = posix.open("/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        posix.fchdir(root)
        # pivot_root(".", ".") stacks the old root on the new one (pivot_root(2), NOTES), so no
        # directory is needed to put it away.
        syscall("pivot_root", "/", b".\0", b".\0")
        posix.fchdir(old)
    finally:
        posix.close(old)
    # Not to carry the unmounting over to the host, should the old root be shared.
    syscall("mount", "old root", None, b".\0", None, const.MS_SLAVE | const.MS_REC, None)
    syscall("umount2", "old root", b".\0", const.MNT_DETACH)
    posix.chdir("/")


def move_to_root(root: int) -> None:
    """Make the mount behind ``root`` the root without pivot_root, which a ramfs root refuses.

    The old root stays mounted beneath and is out of reach by chroot(2) only.
    """
    posix.fchdir(root)
    syscall("mount", "/", b".\0", b"/\0", None, const.MS_MOVE, None)
    posix.chroot(".")
    posix.chdir("/")


def detach(fd: int) -> None:
    """Detach the mount whose root is behind ``fd``; leaves the process in the directory ``/``."""
    posix.fchdir(fd)
    try:
        syscall("umount2", fd, b".\0", const.MNT_DETACH)
    finally:
        posix.chdir("/")


def unmount(path: str) -> None:
    """Detach what is mounted at ``path``; nothing mounted there is fine."""
    try:
        syscall("umount2", path, _text(path), const.MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
