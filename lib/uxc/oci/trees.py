"""Detached mounts that the parent opens with the host's privileges, for its child to attach.

The root of a user namespace need not be able to reach the bundle or a volume (a directory above
may be for the host's root alone), may not make device nodes, and may map no owners.
"""

import posix

from uxc.errors import InvalidError, system_failure
from uxc.linux import const, mount, userns
from uxc.oci import devices, hostroot, idmaps, mountplan, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.mountplan import MountStep
    from uxc.oci.plan import DeviceStep, Plan


def open_trees(plan: "Plan") -> "dict[int, int]":
    """Return index in ``mounts`` → fd of a detached mount; UxcError, and then none is open.

    With a user namespace of all that is bound, of the root file system and of a file system with
    the device nodes (``mountplan.ROOT_TREE``, ``DEVICES_TREE``); else of what is idmapped. Where
    the mount namespace is the caller's own, the root is attached already (``hostroot``). The fds
    are the caller's. To be called where something may be waited for: paths of the host are looked
    up.
    """
    opened: dict[int, int] = {}
    spaces = _Spaces(plan)
    try:
        if plan.shares_mounts:
            opened[mountplan.ROOT_TREE] = hostroot.attach(plan.rootfs)
        elif plan.user_namespace:
            opened[mountplan.ROOT_TREE] = _open_root(plan)
        if plan.user_namespace and devices.wanted(plan):
            opened[mountplan.DEVICES_TREE] = _make_devices(plan, spaces)
        for step in plan.mounts:
            if step.kind == "bind" and (plan.user_namespace or step.options.idmap):
                opened[step.index] = _open_source(plan, step, spaces)
    except BaseException:
        for fd in opened.values():
            posix.close(fd)
        raise
    finally:
        spaces.close()
    return opened


def _open_root(plan: "Plan") -> int:
    try:
        return _isolated(mount.clone_tree(plan.rootfs, recursive=True), plan)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidError(f"config.json: root.path: {plan.rootfs}: {reason}") from None


def _open_source(plan: "Plan", step: "MountStep", spaces: "_Spaces") -> int:
    try:
        fd = mounts.open_source(step)
        if mounts.is_link_to_copy(fd, step):
            return fd
        _isolated(fd, plan)
    except OSError as error:
        raise mounts.failure(step, error) from None
    if not step.options.idmap:
        return fd
    try:
        mount.set_idmap(fd, spaces.of(step), step.options.idmap_recursive)
    except BaseException as error:
        posix.close(fd)
        if isinstance(error, OSError):
            raise system_failure(
                f"map the owners of {step.source} (mounts[{step.index}])",
                error,
                "not every file system can do that",
            ) from None
        raise
    return fd


def _isolated(fd: int, plan: "Plan") -> int:
    """Keep what is mounted in the copy ``fd`` from the host, whose mount may be a shared one."""
    kind = plan.propagation[0] if plan.propagation else const.MS_SLAVE
    if kind == const.MS_SHARED:
        if not plan.user_namespace:
            return fd
        # As for every mount that a user namespace inherits (mount_namespaces(7)).
        kind = const.MS_SLAVE
    try:
        mount.set_attributes(
            fd,
            propagation=const.MS_SLAVE if kind == const.MS_SLAVE else const.MS_PRIVATE,
            recursive=True,
        )
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _make_devices(plan: "Plan", spaces: "_Spaces") -> int:
    """Return a file system with the device nodes, named by their index in the plan.

    Only the host's root makes nodes that can be opened (mknod(2)); they get the owners that the
    container shall see.
    """
    try:
        options = ("mode=711", f"nr_inodes={len(plan.devices) + 2}", "nr_blocks=1")
        fd = mount.new_filesystem("tmpfs", "devices", options, const.MOUNT_ATTR_NOEXEC)
        try:
            for index, step in enumerate(plan.devices):
                if not devices.is_fifo(step):
                    _make_device(plan, fd, str(index), step)
            if plan.maps is None:
                mount.set_idmap(fd, spaces.own())
        except BaseException:
            posix.close(fd)
            raise
    except OSError as error:
        raise system_failure("make the device nodes", error) from None
    return fd


def _make_device(plan: "Plan", top: int, name: str, step: "DeviceStep") -> None:
    posix.mknod(name, step.mode, posix.makedev(step.major, step.minor), dir_fd=top)
    # mknod(2) heeds the umask.
    posix.chmod(name, step.mode & 0o7777, dir_fd=top)
    uid, gid = step.uid, step.gid
    if plan.maps is not None:
        uid = idmaps.host_id(plan.maps.uids, uid)
        gid = idmaps.host_id(plan.maps.gids, gid)
    # -1, an id that the container does not have, changes nothing.
    posix.chown(name, uid, gid, dir_fd=top, follow_symlinks=False)


class _Spaces:
    """The user namespaces whose maps the mounts get, each made once."""

    __slots__ = ("_made", "_plan")

    def __init__(self, plan: "Plan") -> None:
        """Make none yet."""
        self._plan = plan
        self._made: dict[object, int] = {}

    def of(self, step: "MountStep") -> int:
        """Return an fd of the namespace for ``step``, which stays ours."""
        maps = step.maps
        if maps is None:
            return self.own()
        key = (tuple(idmaps.lines(maps.uids)), tuple(idmaps.lines(maps.gids)))
        if key not in self._made:
            where = f"config.json: mounts[{step.index}]"
            self._made[key] = userns.make(lambda pid: idmaps.write(pid, maps, where))
        return self._made[key]

    def own(self) -> int:
        """Return an fd of a namespace with the container's own maps."""
        if None not in self._made:
            self._made[None] = self._open_own()
        return self._made[None]

    def _open_own(self) -> int:
        maps = self._plan.maps
        if maps is not None:
            return userns.make(lambda pid: idmaps.write(pid, maps))
        path = next(path for path, _, flag in self._plan.joined if flag == const.CLONE_NEWUSER)
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)

    def close(self) -> None:
        """Close what was made."""
        for fd in self._made.values():
            posix.close(fd)
