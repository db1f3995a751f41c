"""The container's file system, built from inside its new mount namespace.

Every target is opened beneath the root's descriptor and mounted on by descriptor; the only host
paths are the bundle's root and the sources of bind mounts, which the bundle's author chose.
"""

import errno
import posix

from uxc.errors import InvalidError, UxcError, system_failure
from uxc.linux import const, mount, path
from uxc.oci import cgroupmount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.plan import MountStep, Plan

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

    __slots__ = ("_layout", "_plan", "_proc_devices", "fd", "terminals")

    def __init__(self, plan: "Plan", layout: "Layout") -> None:
        """Attach a copy of the bundle's root to itself; ``fd`` is its directory."""
        self._plan = plan
        self._layout = layout
        self._proc_devices: set[int] = set()
        # The devpts instance that the bundle mounts, for the console; -1 without one.
        self.terminals = -1
        try:
            if not plan.joins(const.CLONE_NEWNS):
                self._set_propagation()
            place = _open_root(plan.rootfs)
            # What is mounted below the root belongs to it.
            self.fd = mount.clone_tree(plan.rootfs, recursive=True)
            if plan.propagation is not None and plan.propagation[0] == const.MS_SHARED:
                # pivot_root(2) wants neither the new root nor its parent shared.
                mount.set_attributes(self.fd, propagation=const.MS_PRIVATE)
            mount.attach(self.fd, place)
            posix.close(place)
        except OSError as error:
            raise system_failure("mount the root file system", error) from None

    def _set_propagation(self) -> None:
        """Keep our mounts from the host.

        As slaves the mounts still learn what the host unmounts. With ``shared`` nothing changes
        but the mount that holds the root, where a copy of the root would show up on the host.
        """
        kind = self._plan.propagation[0] if self._plan.propagation else const.MS_SLAVE
        if kind == const.MS_SHARED:
            self._make_parent_private()
        elif kind == const.MS_SLAVE:
            mount.set_propagation("/", const.MS_SLAVE)
        else:
            mount.set_propagation("/", const.MS_PRIVATE)

    def _make_parent_private(self) -> None:
        place = self._plan.rootfs
        while True:
            try:
                mount.set_propagation(place, const.MS_PRIVATE, recursive=False)
                return
            except OSError as error:
                # EINVAL: not a mount point; the mount is further up.
                if error.errno != errno.EINVAL or place == "/":
                    raise
            place = place.rstrip("/").rpartition("/")[0] or "/"

    def mount_all(self) -> None:
        """Make the bundle's mounts in their order; UxcError naming the one that failed."""
        for step in self._plan.mounts:
            try:
                if step.kind == "bind":
                    self._bind(step)
                elif step.kind == "cgroup":
                    cgroupmount.mount_cgroups(step, self._layout, self._plan, self._attach)
                else:
                    self._mount(step)
            except OSError as error:
                what = f"mount {step.source or step.kind} on {step.destination}"
                raise system_failure(f"{what} (mounts[{step.index}])", error) from None

    def _bind(self, step: "MountStep") -> None:
        fd = mount.clone_tree(step.source, step.options.recursive_bind)
        try:
            self._attach(fd, step, path.is_directory(fd))
        finally:
            posix.close(fd)

    def _mount(self, step: "MountStep") -> None:
        options = step.options.data
        if step.options.read_only:
            options = ["ro", *options]
        fd = mount.new_filesystem(
            step.kind, step.source or step.kind, options, step.options.change.set
        )
        try:
            if step.kind == "proc":
                self._proc_devices.add(posix.fstat(fd).st_dev)
            self._attach(fd, step, directory=True)
        except BaseException:
            posix.close(fd)
            raise
        if step.kind == "devpts" and step.destination.rstrip("/") == "/dev/pts":
            self.terminals = fd
        else:
            posix.close(fd)

    def _attach(self, fd: int, step: "MountStep", directory: bool) -> None:
        """Give the detached mount ``fd`` its attributes and put it in its place."""
        options = step.options
        if options.recursive_change:
            change = options.recursive_change
            mount.set_attributes(fd, change.set, change.clear, recursive=True)
        if step.kind == "bind" and options.change:
            mount.set_attributes(fd, options.change.set, options.change.clear)
        target = self._open_target(step, directory)
        try:
            mount.attach(fd, target)
        finally:
            posix.close(target)
        for propagation, recursive in options.propagation:
            mount.set_attributes(fd, propagation=propagation, recursive=recursive)

    def _open_target(self, step: "MountStep", directory: bool) -> int:
        destination = step.destination
        if step.kind in ("proc", "sysfs"):
            # A /proc that leads elsewhere would take the masks and our own writes along
            # (CVE-2019-19921).
            target = self.open_without_links(destination, make=True)
        else:
            target = path.make_in_root(self.fd, destination, directory)
            if posix.fstat(target).st_dev in self._proc_devices:
                self._check_proc_overlay(step, target)
        return target

    def _check_proc_overlay(self, step: "MountStep", target: int) -> None:
        if "/" + step.destination.strip("/") in _PROC_OVERLAYS:
            return
        posix.close(target)
        raise InvalidError(
            f"config.json: mounts[{step.index}].destination: '{step.destination}' must not be "
            "mounted over: it is inside /proc"
        )

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
                raise
        raise InvalidError(f"{place} in the root file system must not be a symbolic link")

    def mask(self) -> None:
        """Hide ``maskedPaths``: directories below an empty one, files below /dev/null."""
        empty = null = -1
        try:
            for place in self._plan.masked_paths:
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
        for place in self._plan.readonly_paths:
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
            if not pivot:
                mount.move_to_root(self.fd)
            elif self._plan.joins(const.CLONE_NEWNS):
                # The mount namespace is somebody else's as well: its root stays.
                posix.fchdir(self.fd)
                posix.chroot(".")
            else:
                mount.pivot_to(self.fd)
            if self._plan.propagation is not None:
                mount.set_propagation("/", *self._plan.propagation)
        except OSError as error:
            raise system_failure("enter the root file system", error) from None


def _open_root(place: str) -> int:
    try:
        return posix.open(place, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidError(f"config.json: root.path: {place}: {reason}") from None


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
