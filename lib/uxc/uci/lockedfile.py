"""Whole files under the flock that libuci takes: shared for reading, exclusive for changing."""

import fcntl
import posix

_READ_SIZE = 1 << 16
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MAX_LINKS = 40
# `posix` lacks these two names, which `os` has.
_SEEK_SET, _SEEK_END = 0, 2


def read_shared(path: str) -> bytes:
    """Return the content of ``path``, read under a shared lock.

    Raises OSError as open(2), flock(2) and read(2), with ``filename`` set where open(2) failed.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        return read_all(fd)
    finally:
        posix.close(fd)


def open_exclusive(path: str, create_mode: "int | None" = None) -> int:
    """Open ``path`` for reading and writing, wait for its exclusive lock, return the descriptor.

    A missing file is made if ``create_mode`` is given (the umask applies). Raises OSError.
    """
    flags = posix.O_RDWR | posix.O_CLOEXEC | (0 if create_mode is None else posix.O_CREAT)
    while True:
        fd = posix.open(path, flags, create_mode or 0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Who held the lock may have put another file in this one's place meanwhile.
            if _same_file(posix.fstat(fd), path):
                return fd
        except BaseException:
            posix.close(fd)
            raise
        posix.close(fd)


def _same_file(opened: posix.stat_result, path: str) -> bool:
    try:
        named = posix.stat(path)
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


def read_all(fd: int) -> bytes:
    """Return everything from the present offset of ``fd``; OSError as read(2)."""
    parts = []
    while part := posix.read(fd, _READ_SIZE):
        parts.append(part)
    return b"".join(parts)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data`` at the offset of ``fd``; OSError as write(2)."""
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]


def append(fd: int, data: bytes) -> None:
    """Write ``data`` behind the end of ``fd``'s file; OSError."""
    posix.lseek(fd, 0, _SEEK_END)
    write_all(fd, data)


def overwrite(fd: int, data: bytes) -> None:
    """Make ``data`` the content of ``fd``'s file, in place; OSError."""
    posix.ftruncate(fd, 0)
    posix.lseek(fd, 0, _SEEK_SET)
    write_all(fd, data)


def replace(path: str, data: bytes) -> None:
    """Put a file with ``data``, synced to the medium, in the place of ``path``, which must exist.

    If ``path`` is a symlink, it stays, and what it links to is replaced. The new file is made
    beside the old one as ``.name.uci-XXXXXX`` and gets its mode. Nothing remains of it when a step
    fails (OSError).
    """
    target = _link_target(path)
    mode = posix.stat(target).st_mode
    folder, slash, name = target.rpartition("/")
    fd, temporary = _make_temporary(f"{folder}{slash}.{name}.uci-")
    try:
        try:
            write_all(fd, data)
            posix.fsync(fd)
            posix.fchmod(fd, mode & 0o7777)
        finally:
            posix.close(fd)
        posix.rename(temporary, target)
    except BaseException:
        posix.unlink(temporary)
        raise


def _make_temporary(stem: str) -> "tuple[int, str]":
    flags = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    while True:
        path = stem + "".join(_LETTERS[byte % len(_LETTERS)] for byte in posix.urandom(6))
        try:
            return posix.open(path, flags, 0o600), path
        except FileExistsError:
            continue


def _link_target(path: str) -> str:
    # Only the last component matters: rename(2) follows links in all others.
    for _ in range(_MAX_LINKS):
        try:
            target = posix.readlink(path)
        except OSError:
            return path
        folder, slash, _ = path.rpartition("/")
        path = target if target[:1] == "/" else f"{folder}{slash}{target}"
    return path
