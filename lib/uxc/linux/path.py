"""Paths beneath a directory that somebody hostile may have filled (openat2(2)).

A name below a container's root file system is never handed to the kernel as a host path: symbolic
links in it are followed as the container would follow them, and magic links (/proc/PID/fd) not at
all.
"""

import _struct
import errno
import posix

from uxc.linux import const
from uxc.linux.libc import syscall

_IN_ROOT = const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS
_NO_LINKS = const.RESOLVE_BENEATH | const.RESOLVE_NO_MAGICLINKS | const.RESOLVE_NO_SYMLINKS
# openat2 answers EAGAIN when a rename raced with "..": try again, but not for a hostile ever.
_RACES = 64
# The kernel's own limit on symbolic links in one path (path_resolution(7)).
_MAX_LINKS = 40

DIRECTORY_MODE = 0o755
FILE_MODE = 0o644


def openat2(dir_fd: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """Open ``path`` relative to ``dir_fd``, close-on-exec; OSError about ``path``."""
    how = _struct.pack("=3Q", flags | posix.O_CLOEXEC, mode, resolve)
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    for _ in range(_RACES):
        try:
            return syscall("openat2", path, dir_fd, name, how, len(how))
        except BlockingIOError:
            continue
    raise BlockingIOError(errno.EAGAIN, posix.strerror(errno.EAGAIN), path)


def open_in_root(root: int, path: str, flags: int = posix.O_PATH, mode: int = 0) -> int:
    """Open ``path`` with the directory ``root`` as ``/``; links cannot lead out of it."""
    return openat2(root, path, flags, _IN_ROOT, mode)


def open_without_links(root: int, path: str, flags: int = posix.O_PATH, mode: int = 0) -> int:
    """Open the relative ``path`` beneath ``root``; ELOOP when any part is a symbolic link."""
    return openat2(root, path, flags, _NO_LINKS, mode)


def open_same_mount(root: int, path: str, flags: int) -> int:
    """Open the relative ``path`` on the very mount of ``root``: no links, nothing mounted over.

    For writes to procfs and sysfs: what a container mounted over a file is refused with EXDEV.
    """
    return openat2(root, path, flags, _NO_LINKS | const.RESOLVE_NO_XDEV)


def make_in_root(root: int, path: str, directory: bool) -> int:
    """Return an O_PATH fd of ``path`` inside ``root``, made first where parts are missing.

    Missing directories are made, then an empty file or directory. A symbolic link whose target is
    missing is followed inside the root and its target made, since images have such links at the
    places where files are mounted (/etc/resolv.conf). Raises OSError: ELOOP after 40 links.
    """
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        pass
    done: list[str] = []
    todo = [part for part in path.split("/") if part and part != "."]
    links = 0
    while todo:
        part = todo.pop(0)
        target = _make_part(root, done, part, directory or bool(todo))
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, posix.strerror(errno.ELOOP), path) from None
        if target.startswith("/"):
            done = []
        todo = [step for step in target.split("/") if step and step != "."] + todo
    return open_in_root(root, "/".join(done) or ".")


def _make_part(root: int, done: "list[str]", part: str, directory: bool) -> "str | None":
    """Make ``part`` behind ``done`` unless it is there; return where a dangling link points to."""
    place = "/".join([*done, part])
    try:
        posix.close(open_in_root(root, place))
        return None
    except FileNotFoundError:
        parent = open_in_root(root, "/".join(done) or ".", posix.O_PATH | posix.O_DIRECTORY)
    try:
        target = _link_target(parent, part)
        if target is None:
            _make(parent, part, directory)
            return None
        try:
            # A magic link of procfs may have come into being just now, by the descriptor that we
            # opened; its text is a path of the host and means nothing here: ELOOP.
            posix.close(open_in_root(root, place))
        except FileNotFoundError:
            return target
        return None
    finally:
        posix.close(parent)


def _link_target(parent: int, name: str) -> "str | None":
    try:
        return posix.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _make(parent: int, name: str, directory: bool) -> None:
    try:
        if directory:
            posix.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
        else:
            flags = posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
            posix.close(posix.open(name, flags, FILE_MODE, dir_fd=parent))
    except FileExistsError:
        # Somebody else made it between the look and the making; opening it decides.
        return


def is_directory(fd: int) -> bool:
    """Tell whether ``fd`` is a directory."""
    return posix.fstat(fd).st_mode & 0o170000 == 0o040000
