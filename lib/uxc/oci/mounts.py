"""The bundle's mounts, each made detached and then put in its place below the root."""

import errno
import posix

from uxc.errors import InvalidError, UxcError, system_failure
from uxc.linux import const, mount, path
from uxc.oci import cgroupmount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from posix import stat_result

    from uxc.oci.mountplan import MountStep
    from uxc.oci.rootfs import Rootfs

# File systems of which a mount is a new one, or one of a namespace that is new. A remount changes
# these only: others may be the host's as well.
_OWN = {
    "tmpfs": 0,
    "ramfs": 0,
    "devpts": 0,
    "overlay": 0,
    "proc": const.CLONE_NEWPID,
    "mqueue": const.CLONE_NEWIPC,
}
_SUPERBLOCK_FLAGS = {
    "ro": const.MS_RDONLY,
    "sync": const.MS_SYNCHRONOUS,
    "mand": const.MS_MANDLOCK,
    "lazytime": const.MS_LAZYTIME,
}
_IS_TYPE = 0o170000
_IS_LINK = 0o120000


def make_all(rootfs: "Rootfs") -> None:
    """Make the mounts of the plan in their order; UxcError naming the one that failed."""
    for step in rootfs.plan.mounts:
        try:
            if step.kind == "bind":
                _bind(rootfs, step)
            elif step.kind == "cgroup":
                cgroupmount.mount_cgroups(step, rootfs.layout, rootfs.plan, rootfs.attach)
            elif step.kind == "remount":
                _remount(rootfs, step)
            else:
                _mount(rootfs, step)
        except OSError as error:
            raise failure(step, error) from None


def failure(step: "MountStep", error: OSError) -> UxcError:
    """Return what to raise when the mount of ``step`` failed."""
    what = f"mount {step.source or step.kind} on {step.destination}"
    if step.kind == "remount":
        what = f"remount {step.destination}"
    return system_failure(f"{what} (mounts[{step.index}])", error)


def open_source(step: "MountStep") -> int:
    """Return an fd of a detached copy of what ``step`` binds; OSError.

    Of a symbolic link that is to be copied, an fd of the link itself.
    """
    options = step.options
    if options.copy_symlink:
        flags = posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
        link = posix.open(step.source, flags)
        if is_link_to_copy(link, step):
            return link
        posix.close(link)
    return mount.clone_tree(step.source, options.recursive_bind, follow=not options.source_nofollow)


def is_link_to_copy(fd: int, step: "MountStep") -> bool:
    """Tell whether ``fd`` is a symbolic link that is to be made again, not mounted."""
    return step.options.copy_symlink and posix.fstat(fd).st_mode & _IS_TYPE == _IS_LINK


def _bind(rootfs: "Rootfs", step: "MountStep") -> None:
    fd = rootfs.trees.pop(step.index, -1)
    if fd < 0:
        fd = open_source(step)
    try:
        if is_link_to_copy(fd, step):
            _copy_link(rootfs, step, posix.readlink("", dir_fd=fd))
        else:
            rootfs.attach(fd, step, path.is_directory(fd))
    finally:
        posix.close(fd)


def _copy_link(rootfs: "Rootfs", step: "MountStep", text: str) -> None:
    parent, _, name = step.place.rpartition("/")
    directory = path.make_in_root(rootfs.fd, parent or "/", directory=True)
    try:
        posix.symlink(text, name, dir_fd=directory)
    except FileExistsError:
        if _read_link(directory, name) != text:
            raise
    finally:
        posix.close(directory)


def _read_link(directory: int, name: str) -> str:
    try:
        return posix.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return ""


def _mount(rootfs: "Rootfs", step: "MountStep") -> None:
    options = step.options
    data = list(options.data)
    attributes = options.change.set
    if step.kind == "tmpfs":
        data = _with_mode(rootfs, step, data)
    if step.label and step.kind != "mqueue":
        data.append(f"context={step.label}")
    if options.copy_up:
        # Writable until it is filled.
        attributes &= ~const.MOUNT_ATTR_RDONLY
    elif options.read_only:
        data.insert(0, "ro")
    try:
        fd = mount.new_filesystem(step.kind, step.source or step.kind, data, attributes)
    except PermissionError:
        if step.kind != "sysfs" or not rootfs.plan.user_namespace:
            raise
        _bind_sysfs(rootfs, step)
        return
    try:
        if options.copy_up:
            _copy_up(rootfs, step, fd)
        if step.label and step.kind == "mqueue":
            _set_label(fd, step.label)
        if _is_own(step, rootfs.plan.new_flags):
            rootfs.own_devices.add(posix.fstat(fd).st_dev)
        rootfs.attach(fd, step, directory=True)
        if options.iversion:
            flags = [bit for name, bit in _SUPERBLOCK_FLAGS.items() if name in data]
            mount.count_versions(fd, sum(flags))
            mount.set_attributes(fd, attributes, options.change.clear)
    except BaseException:
        posix.close(fd)
        raise
    if step.kind == "devpts" and step.place == "/dev/pts":
        rootfs.terminals = fd
    else:
        posix.close(fd)


def _set_label(fd: int, label: str) -> None:
    """Label the top of a file system that has no mount option for it, as the others label it."""
    top = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
    try:
        posix.setxattr(top, "security.selinux", label.encode() + b"\0")
    finally:
        posix.close(top)


def _with_mode(rootfs: "Rootfs", step: "MountStep", data: "list[str]") -> "list[str]":
    """Add the mode of the directory that a tmpfs will cover, unless the bundle names one.

    /tmp of an image stays everybody's; the kernel's own idea is 1777 for whatever it is.
    """
    if any(option.startswith("mode=") for option in data):
        return data
    try:
        target = path.open_in_root(rootfs.fd, step.destination)
    except FileNotFoundError:
        return data
    try:
        return [f"mode={posix.fstat(target).st_mode & 0o7777:o}", *data]
    finally:
        posix.close(target)


def _copy_up(rootfs: "Rootfs", step: "MountStep", fd: int) -> None:
    # Imported when the plan was made: here, imports are over.
    from uxc.oci import copyup

    try:
        source = path.open_in_root(rootfs.fd, step.destination, posix.O_RDONLY | posix.O_DIRECTORY)
    except FileNotFoundError:
        # Nothing to copy.
        source = -1
    if source >= 0:
        try:
            top = posix.stat(".", dir_fd=fd)
            copyup.copy_tree(source, fd)
            _keep_named(step.options.data, fd, top)
        finally:
            posix.close(source)
    if step.options.read_only:
        mount.set_attributes(fd, const.MOUNT_ATTR_RDONLY)
        mount.reconfigure(fd, ("ro",))


def _keep_named(data: "list[str]", fd: int, top: "stat_result") -> None:
    """Give the top of a tmpfs back the owner and the mode that the bundle names."""
    named = [option.partition("=")[0] for option in data]
    user = top.st_uid if "uid" in named else -1
    group = top.st_gid if "gid" in named else -1
    if user >= 0 or group >= 0:
        mode = posix.stat(".", dir_fd=fd).st_mode
        posix.chown(".", user, group, dir_fd=fd)
        # A change of the owner takes set-id bits away.
        posix.chmod(".", mode & 0o7777, dir_fd=fd)
    if "mode" in named:
        posix.chmod(".", top.st_mode & 0o7777, dir_fd=fd)


def _bind_sysfs(rootfs: "Rootfs", step: "MountStep") -> None:
    """Show the host's /sys, since only who owns the network namespace may mount a new one."""
    fd = mount.clone_tree("/sys", recursive=True)
    try:
        # What the host's mounts are locked to may be added to, not taken away.
        mount.set_attributes(fd, step.options.change.set, recursive=True)
        rootfs.attach(fd, step, directory=True)
    finally:
        posix.close(fd)


def _remount(rootfs: "Rootfs", step: "MountStep") -> None:
    """Change what is mounted at the destination: the mount, and a file system of our own, too."""
    options = step.options
    target = path.open_in_root(rootfs.fd, step.destination)
    try:
        if not options.bind:
            _reconfigure(rootfs, step, target)
        rootfs.set_attributes(target, step)
        rootfs.set_propagation(target, step)
    finally:
        posix.close(target)


def _is_own(step: "MountStep", new_flags: int) -> bool:
    needed = _OWN.get(step.kind)
    return needed is not None and needed & new_flags == needed


def _reconfigure(rootfs: "Rootfs", step: "MountStep", target: int) -> None:
    options = step.options
    if posix.fstat(target).st_dev in rootfs.own_devices:
        data = list(options.data)
        if options.change & const.MOUNT_ATTR_RDONLY:
            data.append("ro" if options.read_only else "rw")
        mount.reconfigure(target, data)
    elif options.data:
        raise InvalidError(
            f"config.json: mounts[{step.index}].options: '{options.data[0]}' would change a file "
            "system that the host uses as well",
            "a remount of what this bundle did not mount itself changes attributes only",
        )
