"""``tmpcopyup``: what an image has in a directory, copied into the file system mounted on it.

The image is somebody else's, and may change while it is copied: names are opened one by one below
descriptors and never through symbolic links, so nothing outside of the directory is read.
"""

import errno
import posix

from uxc.linux import path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from posix import stat_result

_TYPE = 0o170000
_DIRECTORY = 0o040000
_REGULAR = 0o100000
_LINK = 0o120000
_CHUNK = 1 << 20
_READ = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_NOCTTY


def copy_tree(source: int, target: int) -> None:
    """Copy everything in the directory ``source`` into the directory ``target``; OSError.

    Owners, modes, times, extended attributes, and hard links among the files are kept; those of
    ``target`` itself become those of ``source``. Other mounts below are copied as they look.
    """
    links: dict[tuple[int, int], str] = {}
    # Paths and not descriptors: the depth is the image's choice.
    todo = ["."]
    done = []
    while todo:
        place = todo.pop()
        done.append(place)
        todo += _copy_directory(source, target, place, links)
    # A directory's time is that of its last entry, so what is deepest comes first.
    for place in reversed(done):
        _finish_directory(source, target, place)


def _copy_directory(
    source: int, target: int, place: str, links: "dict[tuple[int, int], str]"
) -> "list[str]":
    """Copy the entries of one directory; return the directories among them, empty so far."""
    found = []
    here = path.open_without_links(source, place, posix.O_RDONLY | posix.O_DIRECTORY)
    try:
        there = path.open_without_links(target, place, posix.O_RDONLY | posix.O_DIRECTORY)
        try:
            for name in sorted(posix.listdir(here)):
                below = f"{place}/{name}"
                what = posix.stat(name, dir_fd=here, follow_symlinks=False)
                kind = what.st_mode & _TYPE
                known = links.get((what.st_dev, what.st_ino))
                if kind == _DIRECTORY:
                    # Open for its owner alone until it is complete.
                    posix.mkdir(name, 0o700, dir_fd=there)
                    found.append(below)
                elif known is not None:
                    posix.link(known, name, src_dir_fd=target, dst_dir_fd=there)
                else:
                    _copy_file(here, there, name, what)
                    if what.st_nlink > 1:
                        links[what.st_dev, what.st_ino] = below
        finally:
            posix.close(there)
    finally:
        posix.close(here)
    return found


def _copy_file(here: int, there: int, name: str, what: "stat_result") -> None:
    kind = what.st_mode & _TYPE
    if kind == _REGULAR:
        _copy_content(here, there, name)
        return
    if kind == _LINK:
        posix.symlink(posix.readlink(name, dir_fd=here), name, dir_fd=there)
    else:
        posix.mknod(name, what.st_mode, what.st_rdev, dir_fd=there)
    posix.chown(name, what.st_uid, what.st_gid, dir_fd=there, follow_symlinks=False)
    times = (what.st_atime_ns, what.st_mtime_ns)
    posix.utime(name, ns=times, dir_fd=there, follow_symlinks=False)


def _copy_content(here: int, there: int, name: str) -> None:
    source = path.open_without_links(here, name, _READ)
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
        target = posix.open(name, flags, 0o600, dir_fd=there)
        try:
            while posix.sendfile(target, source, None, _CHUNK):
                pass
            _copy_attributes(source, target)
        finally:
            posix.close(target)
    finally:
        posix.close(source)


def _finish_directory(source: int, target: int, place: str) -> None:
    here = path.open_without_links(source, place, posix.O_RDONLY | posix.O_DIRECTORY)
    try:
        there = path.open_without_links(target, place, posix.O_RDONLY | posix.O_DIRECTORY)
        try:
            _copy_attributes(here, there)
        finally:
            posix.close(there)
    finally:
        posix.close(here)


def _copy_attributes(source: int, target: int) -> None:
    """Give ``target`` the owner, mode, extended attributes and times of ``source``, in that order.

    A change of the owner takes set-id bits and file capabilities away.
    """
    what = posix.fstat(source)
    posix.fchown(target, what.st_uid, what.st_gid)
    posix.fchmod(target, what.st_mode & 0o7777)
    try:
        for name in posix.listxattr(source):
            posix.setxattr(target, name, posix.getxattr(source, name))
    except OSError as error:
        # A kernel whose tmpfs has none of that kind.
        if error.errno != errno.ENOTSUP:
            raise
    posix.utime(target, ns=(what.st_atime_ns, what.st_mtime_ns))
