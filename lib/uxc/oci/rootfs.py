"""The container's file system, built from inside its new mount namespace.

Every target is opened beneath the root's descriptor and mounted on by descriptor; the only host
paths are the bundle's root and the sources of bind mounts, which the bundle's author chose.
"""

import errno
import posix

from uxc.errors import InvalidError, UxcError, system_failure
from uxc.linux import const, mount, path
from uxc.oci import mountplan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.mountplan import MountStep
    from uxc.oci.plan import Plan

# What may be mounted over in procfs: files that lxcfs and its kin replace. Anything else there
# steers the kernel or this runtime's own writes (CVE-2019-16884, CVE-2019-19921, CVE-2023-28642).
_PROC_OVERLAYS = (
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
)
_NULL_RDEV = posix.makedev(1, 3)


class Rootfs:
    """The root of the container while it is put together."""

    __slots__ = (
        "_covers_old_root",
        "_proc_devices",
        "fd",
        "layout",
        "own_devices",
        "plan",
        "terminals",
        "trees",
    )

    def __init__(
        self, plan: "Plan", layout: "Layout", trees: "dict[int, int] | None" = None
    ) -> None:
        """Attach a copy of the bundle's root to itself; ``fd`` is its directory.

        ``trees`` are what the parent opened (``trees.open_trees``); they are used up.
        """
        self.plan = plan
        self.layout = layout
        self.trees = dict(trees or {})
        self._proc_devices: set[int] = set()
        # File systems that nobody but the container uses.
        self.own_devices: set[int] = set()
        # The devpts instance that the bundle mounts, for the console; -1 without one.
        self.terminals = -1
        self._covers_old_root = False
        try:
            self.fd = self.trees.pop(mountplan.ROOT_TREE, -1)
            if not plan.shares_mounts:
                self._attach_root()
        except OSError as error:
            raise system_failure("mount the root file system", error) from None

    def _attach_root(self) -> None:
        """Attach the root to itself, where hooks look for it."""
        plan = self.plan
        if plan.new_flags & const.CLONE_NEWNS:
            self._set_propagation()
        flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
        try:
            place = posix.open(plan.rootfs, flags)
        except PermissionError:
            if self.fd < 0 or not plan.new_flags & const.CLONE_NEWNS:
                raise
            # The root of a user namespace may have no way to it; any place serves for the pivot.
            place = posix.open("/", flags)
            self._covers_old_root = True
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise InvalidError(f"config.json: root.path: {plan.rootfs}: {reason}") from None
        if self.fd < 0:
            # What is mounted below the root belongs to it.
            self.fd = mount.clone_tree(plan.rootfs, recursive=True)
        if plan.propagation is not None and plan.propagation[0] == const.MS_SHARED:
            # pivot_root(2) wants neither the new root nor its parent shared.
            mount.set_attributes(self.fd, propagation=const.MS_PRIVATE)
        mount.attach(self.fd, place)
        posix.close(place)

    def _set_propagation(self) -> None:
        """Keep our mounts from the host.

        As slaves the mounts still learn what the host unmounts. With ``shared`` nothing changes
        but the mount that holds the root, where a copy of the root would show up on the host.
        """
        kind = self.plan.propagation[0] if self.plan.propagation else const.MS_SLAVE
        if kind == const.MS_SHARED and not self.plan.user_namespace:
            self._make_parent_private()
        elif kind in (const.MS_SLAVE, const.MS_SHARED):
            mount.set_propagation("/", const.MS_SLAVE)
        else:
            mount.set_propagation("/", const.MS_PRIVATE)

    def _make_parent_private(self) -> None:
        place = self.plan.rootfs
        while True:
            try:
                mount.set_propagation(place, const.MS_PRIVATE, recursive=False)
                return
            except OSError as error:
                # EINVAL: not a mount point; the mount is further up.
                if error.errno != errno.EINVAL or place == "/":
                    raise
            place = place.rstrip("/").rpartition("/")[0] or "/"

    def attach(self, fd: int, step: "MountStep", directory: bool) -> None:
        """Give the detached mount ``fd`` its attributes and put it in its place."""
        if step.kind == "bind":
            self.set_attributes(fd, step)
        elif step.options.recursive_change:
            change = step.options.recursive_change
            mount.set_attributes(fd, change.set, change.clear, recursive=True)
        target = self._open_target(step, directory, fd)
        try:
            is_root = _same(target, self.fd)
            mount.attach(fd, target)
        finally:
            posix.close(target)
        self.set_propagation(fd, step)
        if is_root:
            # What comes now is to be below it.
            posix.dup2(fd, self.fd, inheritable=False)

    def set_attributes(self, fd: int, step: "MountStep") -> None:
        """Set and clear what the options name, first in all mounts below, then in this one."""
        for change, recursive in (
            (step.options.recursive_change, True),
            (step.options.change, False),
        ):
            if change:
                mount.set_attributes(fd, change.set, change.clear, recursive=recursive)

    def set_propagation(self, fd: int, step: "MountStep") -> None:
        """Give the mount ``fd`` the propagation types that the options name."""
        for propagation, recursive in step.options.propagation:
            mount.set_attributes(fd, propagation=propagation, recursive=recursive)

    def _open_target(self, step: "MountStep", directory: bool, fd: int) -> int:
        place = step.place
        if place in ("/proc", "/sys") or step.kind in ("proc", "sysfs"):
            # A /proc that leads elsewhere would take the masks and our own writes along
            # (CVE-2019-19921).
            if place == "/proc" or step.kind == "proc":
                self._note_procfs(step, fd)
            return self.open_without_links(place, make=True)
        if step.options.destination_nofollow:
            target = path.open_in_root(self.fd, step.destination, posix.O_PATH | posix.O_NOFOLLOW)
        else:
            target = path.make_in_root(self.fd, step.destination, directory)
        if posix.fstat(target).st_dev in self._proc_devices and place not in _PROC_OVERLAYS:
            posix.close(target)
            raise InvalidError(
                f"config.json: mounts[{step.index}].destination: '{step.destination}' must not be "
                "mounted over: it is inside /proc"
            )
        return target

    def _note_procfs(self, step: "MountStep", fd: int) -> None:
        """Refuse a false /proc: masks and whoever reads it would be deceived (CVE-2019-16884)."""
        device = posix.fstat(fd).st_dev
        if step.kind != "proc" and device != posix.stat("/proc").st_dev:
            raise InvalidError(
                f"config.json: mounts[{step.index}]: what is mounted on /proc must be a procfs"
            )
        self._proc_devices.add(device)

    def open_without_links(self, place: str, make: bool = False) -> int:
        """Open the directory ``place``, no part of which may be a symbolic link.

        ``make`` makes what is missing. Raises InvalidError for a link.
        """
        relative = place.strip("/") or "."
        flags = posix.O_PATH | posix.O_DIRECTORY
        try:
            try:
                return path.open_without_links(self.fd, relative, flags)
            except FileNotFoundError:
                if not make:
                    raise
            posix.close(path.make_in_root(self.fd, relative, directory=True))
            return path.open_without_links(self.fd, relative, flags)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise system_failure(f"open {place} in the root file system", error) from None
        raise InvalidError(f"{place} in the root file system must not be a symbolic link")

    def mask(self) -> None:
        """Hide ``maskedPaths``: directories below an empty one, files below /dev/null."""
        empty = null = -1
        try:
            for place in self.plan.masked_paths:
                target = self._open_existing(place)
                if target < 0:
                    continue
                try:
                    if path.is_directory(target):
                        empty = self._mask_directory(empty, target)
                    else:
                        null = null if null >= 0 else open_null()
                        attach_copy(null, target)
                except OSError as error:
                    raise system_failure(f"mask {place}", error) from None
                finally:
                    posix.close(target)
        finally:
            for fd in (empty, null):
                if fd >= 0:
                    posix.close(fd)

    def _mask_directory(self, empty: int, target: int) -> int:
        if empty >= 0:
            attach_copy(empty, target)
            return empty
        # One empty file system serves for all: the second and later ones are copies of the mount.
        empty = mount.new_filesystem("tmpfs", "tmpfs", ("ro",), const.MOUNT_ATTR_RDONLY)
        mount.attach(empty, target)
        return empty

    def make_paths_readonly(self) -> None:
        """Apply ``readonlyPaths``: each becomes a read-only mount of itself."""
        for place in self.plan.readonly_paths:
            target = self._open_existing(place)
            if target < 0:
                continue
            try:
                fd = mount.clone_tree("", recursive=True, dir_fd=target)
                try:
                    mount.set_attributes(fd, const.MOUNT_ATTR_RDONLY)
                    mount.attach(fd, target)
                finally:
                    posix.close(fd)
            except OSError as error:
                raise system_failure(f"make {place} read-only", error) from None
            finally:
                posix.close(target)

    def _open_existing(self, place: str) -> int:
        """Open ``place``; -1 when it does not exist here (another kernel, another image)."""
        try:
            return path.open_in_root(self.fd, place)
        except (FileNotFoundError, NotADirectoryError):
            return -1
        except OSError as error:
            raise system_failure("open", error) from None

    def make_readonly(self) -> None:
        """Make the root itself read-only, what is mounted below it not."""
        mount.set_attributes(self.fd, const.MOUNT_ATTR_RDONLY)

    def enter(self, pivot: bool) -> None:
        """Make this the root directory of the process; SystemFailure."""
        try:
            own = bool(self.plan.new_flags & const.CLONE_NEWNS)
            if not own or (self._covers_old_root and not pivot):
                # The mount namespace is somebody else's as well, and its root stays; or the root
                # is where MS_MOVE would bring it.
                posix.fchdir(self.fd)
                posix.chroot(".")
            elif not pivot:
                mount.move_to_root(self.fd)
            else:
                mount.pivot_to(self.fd)
            if self.plan.propagation is not None:
                mount.set_propagation("/", *self.plan.propagation)
        except OSError as error:
            raise system_failure("enter the root file system", error) from None


def _same(one: int, other: int) -> bool:
    """Tell whether two descriptors are of one file in one mount."""
    a, b = posix.fstat(one), posix.fstat(other)
    if (a.st_dev, a.st_ino) != (b.st_dev, b.st_ino):
        return False
    return mount.identity(one) == mount.identity(other)


def open_null() -> int:
    """Open the host's /dev/null and make sure that it is it (CVE-2025-31133)."""
    fd = posix.open("/dev/null", posix.O_PATH | posix.O_CLOEXEC)
    found = posix.fstat(fd)
    if found.st_mode & 0o170000 != 0o020000 or found.st_rdev != _NULL_RDEV:
        posix.close(fd)
        raise UxcError("/dev/null of the host is not the null device")
    return fd


def attach_copy(source: int, target: int) -> None:
    """Mount what is behind ``source`` on ``target`` as well; OSError."""
    fd = mount.clone_tree("", recursive=False, dir_fd=source)
    try:
        mount.attach(fd, target)
    finally:
        posix.close(fd)
