"""Small files: bounded reads, atomic replacement, exclusive locks. Imports nothing heavy."""

import fcntl
import posix

from uxc import jsontext
from uxc.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A config.json with every property of the specification stays far below this.
MAX_DOCUMENT_BYTES = 8 << 20


def read_bytes(path: str, limit: int = MAX_DOCUMENT_BYTES, dir_fd: "int | None" = None) -> bytes:
    """Return the whole content of ``path``.

    Raises OSError as open(2) and read(2) do, InvalidError when the file is larger than ``limit``
    bytes (proc and sysfs files report no size, so the bound is on what was read).
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=dir_fd)
    try:
        parts = []
        left = limit + 1
        while left:
            part = posix.read(fd, min(left, 1 << 16))
            if not part:
                break
            parts.append(part)
            left -= len(part)
    finally:
        posix.close(fd)
    if not left:
        raise InvalidError(f"{path}: larger than {limit} bytes")
    return b"".join(parts)


def read_text(path: str, limit: int = MAX_DOCUMENT_BYTES) -> str:
    """Return the content of ``path`` as UTF-8 text; InvalidError when it is not UTF-8."""
    data = read_bytes(path, limit)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path}: not UTF-8 text at byte {error.start}") from None


def read_json(path: str) -> "Any":
    """Return the JSON document in ``path``; OSError or InvalidError as the parts raise them."""
    return jsontext.loads(read_text(path), path)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data`` to ``fd``; OSError as write(2)."""
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]


def write_atomic(path: str, data: bytes, mode: int = 0o600, durable: bool = False) -> None:
    """Replace ``path`` by a file that holds ``data``: readers see the old text or the new one.

    ``durable`` syncs to the medium first; run-time state in RAM does not need it. Nothing is left
    behind when a step fails (OSError).
    """
    temporary = f"{path}.{posix.getpid()}.new"
    # Where others may write, what has the name already may be a link to a file of ours.
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        fd = posix.open(temporary, flags, mode)
    except FileExistsError:
        # Or left by a process that had our pid, and died.
        posix.unlink(temporary)
        fd = posix.open(temporary, flags, mode)
    try:
        try:
            write_all(fd, data)
            if durable:
                posix.fsync(fd)
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except BaseException:
        posix.unlink(temporary)
        raise


def write_json(path: str, value: object, mode: int = 0o600) -> None:
    """Replace ``path`` atomically by the JSON text of ``value``."""
    write_atomic(path, jsontext.dumps(value).encode() + b"\n", mode)


def make_dirs(path: str, mode: int = 0o755) -> None:
    """Create ``path`` and its missing parents, as ``mkdir -p`` does; OSError as mkdir(2)."""
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = path.rstrip("/").rpartition("/")[0]
        if not parent:
            raise
        make_dirs(parent, mode)
        make_dirs(path, mode)


def lock(path: str, wait: bool = True) -> int:
    """Take the exclusive flock on ``path`` (made when missing) and return the fd that holds it.

    Closing the fd gives the lock back. Raises BlockingIOError when ``wait`` is false and another
    process holds it.
    """
    fd = posix.open(path, posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        posix.close(fd)
        raise
    return fd
