"""The ids of a container's own user namespace: written by the maker, taken on by the child.

Only a process outside of a new user namespace that is privileged there may write maps with more
than its own id (user_namespaces(7)), so the child waits until its maker has written them.
"""

import errno
import posix

from uxc.errors import InvalidError, SystemFailure, system_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_linux import IDMapping

# The kernel takes a map in one write of less than a page (map_write()), and 340 lines of it.
_MAX_BYTES = 4095
_MAX_LINES = 340


class Maps:
    """Ranges of user and of group ids: (container, host, size) each, user_namespaces(7)."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: "list[IDMapping]", gids: "list[IDMapping]") -> None:
        """Take the lists of config.json."""
        self.uids = uids
        self.gids = gids


def lines(mappings: "list[IDMapping]") -> "list[tuple[int, int, int]]":
    """Return (container, host, size) of ``mappings``; ranges that continue another are joined."""
    merged: list[tuple[int, int, int]] = []
    for one in sorted(mappings, key=lambda one: one.container_id):
        inside, outside, size = one.container_id, one.host_id, one.size
        if merged:
            first, host, length = merged[-1]
            if first + length == inside and host + length == outside:
                merged[-1] = (first, host, length + size)
                continue
        merged.append((inside, outside, size))
    return merged


def host_id(mappings: "list[IDMapping]", inside: int) -> int:
    """Return the host's number of the container's id ``inside``, -1 when it has none."""
    for one in mappings:
        if one.container_id <= inside < one.container_id + one.size:
            return one.host_id + inside - one.container_id
    return -1


def root_of(mappings: "list[IDMapping]") -> int:
    """Return the id that the first process has while it builds the container: 0 if there is one."""
    return min(one.container_id for one in mappings)


def write(pid: int, maps: Maps, where: str = "config.json: linux") -> None:
    """Write the maps of the new user namespace that ``pid`` is in.

    Raises InvalidError about the maps at ``where``, SystemFailure.
    """
    for file, key, mappings in (
        ("uid_map", "uidMappings", maps.uids),
        ("gid_map", "gidMappings", maps.gids),
    ):
        entries = lines(mappings)
        text = "\n".join(f"{inside} {outside} {size}" for inside, outside, size in entries)
        if len(text) > _MAX_BYTES or len(entries) > _MAX_LINES:
            raise InvalidError(
                f"{where}.{key}: are {len(entries)} separate ranges, {len(text)} bytes",
                f"the kernel takes at most {_MAX_LINES} ranges and {_MAX_BYTES} bytes",
            )
        path = f"/proc/{pid}/{file}"
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                posix.write(fd, text.encode())
            finally:
                posix.close(fd)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise InvalidError(
                    f"{where}.{key}: the kernel takes no ranges that overlap"
                ) from None
            raise system_failure(f"write {path}", error) from None


def become_root(maps: Maps | None) -> None:
    """Become the root of the user namespace that this process is in; SystemFailure.

    Without ``maps``, of one that existed before: they are read from /proc. The caller's other
    groups are given up before such a one is joined, since it may forbid that (setgroups "deny").
    """
    try:
        if maps is None:
            uid, gid = _first("uid_map"), _first("gid_map")
        else:
            uid, gid = root_of(maps.uids), root_of(maps.gids)
            posix.setgroups([])
        # Ids that are not mapped own nothing and make nothing: the kernel answers EOVERFLOW.
        posix.setresgid(gid, gid, gid)
        posix.setresuid(uid, uid, uid)
    except OSError as error:
        raise system_failure("become root of the user namespace", error) from None


def root_ids(pid: int) -> "tuple[int, int]":
    """Return the user and the group that are root in the user namespace of ``pid``.

    They are 0, or the lowest ids there are. Raises OSError, SystemFailure before there are any.
    """
    return _first("uid_map", f"{pid}"), _first("gid_map", f"{pid}")


def _first(file: str, process: str = "thread-self") -> int:
    fd = posix.open(f"/proc/{process}/{file}", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        words = posix.read(fd, _MAX_BYTES * 4).split()
    finally:
        posix.close(fd)
    if not words:
        raise SystemFailure(f"the user namespace has no {file} yet")
    return min(int(word) for word in words[::3])
