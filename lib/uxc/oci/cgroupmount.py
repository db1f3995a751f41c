"""Mounts of the type ``cgroup``: what of the hierarchies a container sees at /sys/fs/cgroup."""

import posix

from uxc.linux import const, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.plan import MountStep, Plan

    class Attach(Protocol):
        """Put the detached mount ``fd`` at the step's destination."""

        def __call__(self, fd: int, step: MountStep, directory: bool) -> None: ...


def mount_cgroups(step: "MountStep", layout: "Layout", plan: "Plan", attach: "Attach") -> None:
    """Mount the machine's cgroup hierarchies as the container may see them; OSError.

    On v2 it is one tree. Otherwise it is a small file system with one directory for every v1
    hierarchy, and the v2 tree as ``unified``. With a cgroup namespace the kernel itself shows the
    container's part only; without one that part is bound here.
    """
    own = bool(plan.new_flags & const.CLONE_NEWCGROUP) or plan.joins(const.CLONE_NEWCGROUP)
    paths = {} if own else _own_paths()
    if not layout.v1:
        fd = _open_unified(step, layout, paths)
        try:
            attach(fd, step, True)
        finally:
            posix.close(fd)
        return
    # Writable until the directories in it are made.
    attributes = step.options.change.set & ~const.MOUNT_ATTR_RDONLY
    top = mount.new_filesystem("tmpfs", "cgroup", ("mode=755",), attributes)
    try:
        attach(top, step, True)
        _attach_hierarchies(step, layout, paths, top)
        if layout.unified:
            _attach_below(top, "unified", _open_unified(step, layout, paths))
        mount.set_attributes(top, step.options.change.set & const.MOUNT_ATTR_RDONLY)
    finally:
        posix.close(top)


def _attach_hierarchies(
    step: "MountStep", layout: "Layout", paths: "dict[str, str]", top: int
) -> None:
    hierarchies: dict[str, list[str]] = {}
    for controller, point in layout.v1.items():
        hierarchies.setdefault(point, []).append(controller)
    for point, controllers in hierarchies.items():
        name = point.rpartition("/")[2]
        if paths:
            fd = mount.clone_tree(point + paths.get(controllers[0], "/"), recursive=False)
            mount.set_attributes(fd, step.options.change.set)
        else:
            options = [*controllers, "none"] if "=" in controllers[0] else controllers
            fd = mount.new_filesystem("cgroup", "cgroup", options, step.options.change.set)
        _attach_below(top, name, fd)
        for controller in controllers:
            # Programs look for one controller by its name, also where several share a hierarchy.
            if len(controllers) > 1 and controller != name:
                posix.symlink(name, controller, dir_fd=top)


def _open_unified(step: "MountStep", layout: "Layout", paths: "dict[str, str]") -> int:
    if not paths:
        return mount.new_filesystem("cgroup2", "cgroup", (), step.options.change.set)
    fd = mount.clone_tree(layout.unified + paths.get("", "/"), recursive=False)
    mount.set_attributes(fd, step.options.change.set)
    return fd


def _attach_below(top: int, name: str, fd: int) -> None:
    """Attach ``fd``, which is used up, in a new directory of the file system that we just made."""
    try:
        posix.mkdir(name, 0o755, dir_fd=top)
        target = posix.open(name, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=top)
        try:
            mount.attach(fd, target)
        finally:
            posix.close(target)
    finally:
        posix.close(fd)


def _own_paths() -> "dict[str, str]":
    """Return where this process is: controller (empty for v2) → path in its hierarchy."""
    fd = posix.open("/proc/self/cgroup", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        text = posix.read(fd, 1 << 16).decode(errors="surrogateescape")
    finally:
        posix.close(fd)
    paths = {}
    for line in text.splitlines():
        _, controllers, place = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = place
    return paths
