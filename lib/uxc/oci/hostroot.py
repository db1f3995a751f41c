"""The root file system of a container that shares the mount namespace of whoever makes it.

Its mounts would be the host's for ever, so all of them hang on one: a copy of the root, attached to
itself. Detaching that one takes back everything.
"""

import posix

from uxc.errors import ConflictError, InvalidError, system_failure
from uxc.linux import const, mount

_OPEN = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC


def mount_at(path: str) -> int:
    """Return the number of the mount that the directory ``path`` is on; InvalidError.

    To be put on record before ``attach``, for ``detach`` to know what is to be seen again.
    """
    try:
        return _look(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidError(f"config.json: root.path: {path}: {reason}") from None


def _look(path: str) -> int:
    fd = posix.open(path, _OPEN)
    try:
        return mount.identity(fd)
    finally:
        posix.close(fd)


def attach(path: str) -> int:
    """Attach a copy of the root file system at ``path`` to itself; return its fd. SystemFailure."""
    try:
        place = posix.open(path, _OPEN)
        try:
            fd = mount.clone_tree(path, recursive=True)
            mount.attach(fd, place)
            # A shared mount makes what is attached to it shared (mount_namespaces(7)).
            mount.set_attributes(fd, propagation=const.MS_PRIVATE, recursive=True)
            return fd
        finally:
            posix.close(place)
    except OSError as error:
        raise system_failure("mount the root file system", error) from None


def detach(path: str, before: int, ours: int) -> None:
    """Undo ``attach``, and all that was mounted below.

    ``before`` and ``ours`` are what ``mount_at`` said before and after it; ``ours`` is 0 when
    nobody came to ask. Nothing attached any more, or no such directory, is fine. Raises
    ConflictError when another mount covers it, SystemFailure.
    """
    try:
        found = _look(path)
        if found == before:
            return
        if ours not in (found, 0):
            raise ConflictError(
                f"cannot detach the root file system {path}: something else is mounted on it",
                "unmount that, or delete the other container that uses the directory",
            )
        mount.unmount(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise system_failure("detach the root file system", error) from None
