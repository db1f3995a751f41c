"""Pinned network namespaces: made before a container is created, so that it is born wired."""

from __future__ import annotations

import posix

from uxc import files
from uxc.errors import NotFoundError
from uxc.linux import const, ns


class Namespaces:
    """Network namespaces by container name, each held by a descriptor and a bind mount.

    The bind mount outlives the keeper: the next one finds the namespace again.
    """

    __slots__ = ("_directory", "_fds")

    def __init__(self, directory: str) -> None:
        """Pin below ``directory``, which is made when it is missing, and take over what is there.

        Raises OSError as mkdir(2).
        """
        self._directory = directory
        self._fds: dict[str, int] = {}
        files.make_dirs(directory, 0o700)
        for name in posix.listdir(directory):
            self._take_over(name)

    def pin(self, name: str) -> int:
        """Return the descriptor of the namespace of ``name``, made if there is none yet.

        It stays the keeper's. Raises OSError as the system calls do, and then nothing was made.
        """
        if name not in self._fds:
            fd = ns.new_netns()
            try:
                ns.pin(fd, self.path(name))
            except OSError:
                posix.close(fd)
                raise
            self._fds[name] = fd
        return self._fds[name]

    def unpin(self, name: str) -> None:
        """Let the namespace of ``name`` go; it ends when no process is in it any more.

        Raises NotFoundError when there is none, OSError as umount(2).
        """
        if name not in self._fds:
            raise NotFoundError(f"no network namespace is kept for '{name}'")
        ns.unpin(self.path(name))
        posix.close(self._fds.pop(name))

    def path(self, name: str) -> str:
        """Return where the namespace of ``name`` is mounted when it is pinned."""
        return f"{self._directory}/{name}"

    def names(self) -> set[str]:
        """Return the names for which a namespace is pinned."""
        return set(self._fds)

    def _take_over(self, name: str) -> None:
        path = self.path(name)
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
        try:
            if ns.kind(fd) == const.CLONE_NEWNET:
                self._fds[name] = fd
                return
        except OSError:
            # ENOTTY: a plain file, from a keeper that died between making it and mounting on it.
            ns.unpin(path)
        posix.close(fd)
