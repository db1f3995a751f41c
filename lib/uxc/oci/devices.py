"""Device nodes and links in the container's /dev, and the terminal of its program."""

import posix

from uxc.errors import InvalidError, UxcError, system_failure
from uxc.linux import fds, mount, path, pty
from uxc.oci import mountplan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.plan import DeviceStep, Plan
    from uxc.oci.rootfs import Rootfs

# config-linux.md, "Dev symbolic links"; core as the other runtimes have it.
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_IS_TYPE = 0o170000


def wanted(plan: "Plan") -> bool:
    """Tell whether /dev is ours to fill: one that is bound from the host is left as it is."""
    return not any(step.kind == "bind" and step.place == "/dev" for step in plan.mounts)


def is_fifo(step: "DeviceStep") -> bool:
    """Tell whether the node needs no privilege to make."""
    return step.mode & _IS_TYPE == 0o010000


def make_all(plan: "Plan", rootfs: "Rootfs") -> None:
    """Make the default devices and the listed ones, then the links; UxcError naming the node."""
    parents: dict[str, int] = {}
    made = rootfs.trees.pop(mountplan.DEVICES_TREE, -1)
    try:
        for parent in ("/dev", *(step.path.rpartition("/")[0] for step in plan.devices)):
            if parent not in parents:
                # Device nodes may only end up where the path says, not where a link in the image
                # points to (CVE-2026-41579).
                parents[parent] = rootfs.open_without_links(parent, make=True)
        if made >= 0:
            _attach_nodes(made, parents["/dev"])
        for index, step in enumerate(plan.devices):
            parent, _, name = step.path.rpartition("/")
            try:
                if made >= 0 and not is_fifo(step):
                    _bind(step, parents[parent], name, made, str(index))
                else:
                    _make(step, parents[parent], name)
            except OSError as error:
                raise system_failure(f"make the device {step.path}", error) from None
        try:
            if made >= 0:
                mount.detach(made)
            _make_links(parents["/dev"])
        except OSError as error:
            raise system_failure("make a link in /dev", error) from None
    finally:
        for fd in [made, *parents.values()]:
            fds.close_quietly(fd)


def _attach_nodes(made: int, dev: int) -> None:
    """Attach the file system with the nodes, since the kernel copies attached mounts only.

    Nobody sees it there, and it is gone before anybody could.
    """
    try:
        mount.attach(made, dev)
    except OSError as error:
        raise system_failure("attach the device nodes", error) from None


def _bind(step: "DeviceStep", parent: int, name: str, made: int, node: str) -> None:
    """Mount the node ``node`` of the file system ``made`` on ``name``."""
    target = _open_target(parent, name)
    try:
        found = posix.fstat(target)
        if _is_node(found, step):
            return
        if found.st_mode & _IS_TYPE != 0o100000 or found.st_size:
            raise _other_kind(step)
        fd = mount.clone_tree(node, recursive=False, dir_fd=made)
        try:
            mount.attach(fd, target)
        finally:
            posix.close(fd)
    finally:
        posix.close(target)


def _open_target(parent: int, name: str) -> int:
    """Open the file to mount on, which is made when it is missing; OSError ELOOP for a link."""
    try:
        flags = posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
        posix.close(posix.open(name, flags, 0o644, dir_fd=parent))
    except FileExistsError:
        # Opening it decides.
        pass
    return path.open_without_links(parent, name)


def _is_node(found: "posix.stat_result", step: "DeviceStep") -> bool:
    rdev = posix.makedev(step.major, step.minor)
    return found.st_mode & _IS_TYPE == step.mode & _IS_TYPE and found.st_rdev == rdev


def _other_kind(step: "DeviceStep") -> InvalidError:
    return InvalidError(f"{step.path} exists in the root file system and is another kind of file")


def _make(step: "DeviceStep", parent: int, name: str) -> None:
    rdev = posix.makedev(step.major, step.minor)
    try:
        posix.mknod(name, step.mode, rdev, dir_fd=parent)
    except FileExistsError:
        if not _is_node(posix.stat(name, dir_fd=parent, follow_symlinks=False), step):
            raise _other_kind(step) from None
        return
    if step.uid or step.gid:
        posix.chown(name, step.uid, step.gid, dir_fd=parent, follow_symlinks=False)


def _make_links(dev: int) -> None:
    for name, target in _LINKS:
        _link(name, target, dev)
    try:
        found = posix.readlink("ptmx", dir_fd=dev)
    except OSError:
        found = ""
    if found != "pts/ptmx":
        # A node here would be the host's multiplexer.
        try:
            posix.unlink("ptmx", dir_fd=dev)
        except FileNotFoundError:
            pass
        _link("ptmx", "pts/ptmx", dev)


def _link(name: str, target: str, dev: int) -> None:
    try:
        posix.symlink(target, name, dir_fd=dev)
    except FileExistsError:
        # The image has its own idea; it is the container's file system.
        return


def open_terminal(rootfs: "Rootfs") -> "tuple[int, int]":
    """Return (master, peer) of a new terminal in the container's devpts.

    Opened by descriptor on the mount that we made, so nothing that the image or another mount put
    at /dev/ptmx is ever opened (CVE-2025-52565). A bundle that mounts no devpts gets a terminal
    from an instance that nobody sees.
    """
    try:
        instance = rootfs.terminals
        hidden = instance < 0
        if hidden:
            instance = mount.new_filesystem("devpts", "devpts", ("ptmxmode=0666", "mode=0620"))
        flags = posix.O_RDWR | posix.O_NOCTTY
        master = path.open_same_mount(instance, "ptmx", flags)
        if hidden:
            posix.close(instance)
        return master, pty.open_peer(master)
    except OSError as error:
        raise system_failure("open a terminal", error) from None


def bind_console(rootfs: "Rootfs", peer: int) -> None:
    """Mount the terminal ``peer`` on /dev/console."""
    if rootfs.terminals < 0:
        # Its file system is attached nowhere, and the kernel copies only attached mounts.
        return
    try:
        dev = rootfs.open_without_links("/dev")
        try:
            # A link could lead to what is yet to be masked (CVE-2025-52565).
            target = _open_target(dev, "console")
        finally:
            posix.close(dev)
        try:
            if posix.fstat(target).st_mode & _IS_TYPE not in (0o100000, 0o020000):
                raise UxcError("/dev/console in the root file system is no file")
            fd = mount.clone_tree("", recursive=False, dir_fd=peer)
            try:
                mount.attach(fd, target)
            finally:
                posix.close(fd)
        finally:
            posix.close(target)
    except OSError as error:
        raise system_failure("mount the terminal on /dev/console", error) from None
