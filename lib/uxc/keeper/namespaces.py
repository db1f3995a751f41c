"""Pinned network namespaces: made before a container is created, so that it is born wired.

For a container with a user namespace of its own, that is made and pinned as well: a network
namespace that belongs to another one lets it neither mount sysfs nor change a setting.
"""

from __future__ import annotations

import posix

from uxc import files
from uxc.errors import NotFoundError
from uxc.linux import const, link, ns, userns
from uxc.oci import idmaps

_OPEN = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK


class Namespaces:
    """Namespaces by container name, each held by a descriptor and a bind mount.

    The bind mounts outlive the keeper: the next one finds the namespaces again.
    """

    __slots__ = ("_networks", "_users")

    def __init__(self, networks: str, users: str) -> None:
        """Pin below these directories, made when missing, and take over what is there.

        Raises OSError as mkdir(2).
        """
        self._networks = _Pins(networks, const.CLONE_NEWNET)
        self._users = _Pins(users, const.CLONE_NEWUSER)

    def pin(self, name: str, maps: idmaps.Maps | None = None) -> int:
        """Return the descriptor of the network namespace of ``name``, made if there is none yet.

        With ``maps`` it belongs to a new user namespace, pinned as well. It stays the keeper's.
        Raises OSError as the system calls do, InvalidError about the maps; then nothing was made.
        """
        if name not in self._networks.fds:
            if maps is None:
                self._networks.add(name, ns.new_netns())
            else:
                self._make_both(name, maps)
        return self._networks.fds[name]

    def _make_both(self, name: str, maps: idmaps.Maps) -> None:
        user, network = userns.make_with(
            lambda pid: idmaps.write(pid, maps), const.CLONE_NEWNET, ("user", "net")
        )
        try:
            with ns.entered(network, "net"):
                link.set_up("lo")
        except BaseException:
            posix.close(network)
            posix.close(user)
            raise
        try:
            self._users.add(name, user)
        except OSError:
            posix.close(network)
            raise
        try:
            self._networks.add(name, network)
        except OSError:
            self._users.remove(name)
            raise

    def unpin(self, name: str) -> None:
        """Let the namespaces of ``name`` go; they end when no process is in them any more.

        Raises NotFoundError when there is none, OSError as umount(2).
        """
        if name in self._users.fds:
            self._users.remove(name)
        elif name not in self._networks.fds:
            raise NotFoundError(f"no network namespace is kept for '{name}'")
        if name in self._networks.fds:
            self._networks.remove(name)

    def path(self, name: str) -> str:
        """Return where the network namespace of ``name`` is mounted when it is pinned."""
        return self._networks.path(name)

    def names(self) -> set[str]:
        """Return the names for which a namespace is pinned."""
        return self._networks.fds.keys() | self._users.fds.keys()


class _Pins:
    """The namespaces of one type."""

    __slots__ = ("_directory", "_flag", "fds")

    def __init__(self, directory: str, flag: int) -> None:
        self._directory = directory
        self._flag = flag
        self.fds: dict[str, int] = {}
        files.make_dirs(directory, 0o700)
        for name in posix.listdir(directory):
            self._take_over(name)

    def path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def add(self, name: str, fd: int) -> None:
        """Pin the namespace behind ``fd``, which is owned from now on, and closed on failure."""
        try:
            ns.pin(fd, self.path(name))
        except OSError:
            posix.close(fd)
            raise
        self.fds[name] = fd

    def remove(self, name: str) -> None:
        ns.unpin(self.path(name))
        posix.close(self.fds.pop(name))

    def _take_over(self, name: str) -> None:
        path = self.path(name)
        fd = posix.open(path, _OPEN)
        try:
            if ns.kind(fd) == self._flag:
                self.fds[name] = fd
                return
        except OSError:
            # ENOTTY: a plain file, from a keeper that died between making it and mounting on it.
            ns.unpin(path)
        posix.close(fd)
