"""Mounts of the type ``cgroup``: what of the hierarchies a container sees at /sys/fs/cgroup."""

import posix

from uxc.linux import const, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.plan import MountStep, Plan

    class Attach(Protocol):
        """Put the detached mount ``fd`` at the step's destination plus ``below``."""

        def __call__(self, fd: int, step: MountStep, directory: bool, below: str = "") -> None: ...


def mount_cgroups(step: "MountStep", layout: "Layout", plan: "Plan", attach: "Attach") -> None:
    """Mount the machine's cgroup hierarchies as the container may see them; OSError.

    On v2 it is one tree. Otherwise it is a small file system with one directory for every v1
    hierarchy, and the v2 tree as ``unified``. With a cgroup namespace the kernel itself shows the
    container's part only; without one that part is bound here.
    """
    own = bool(plan.new_flags & const.CLONE_NEWCGROUP) or plan.joins(const.CLONE_NEWCGROUP)
    paths = {} if own else _own_paths()
    if not layout.v1:
        _attach_unified(step, layout, paths, attach, "")
        return
    # Writable until the directories in it are made.
    attributes = step.options.change.set & ~const.MOUNT_ATTR_RDONLY
    top = mount.new_filesystem("tmpfs", "cgroup", ("mode=755",), attributes)
    try:
        attach(top, step, True)
        _attach_hierarchies(step, layout, paths, attach, top)
        if layout.unified:
            _attach_unified(step, layout, paths, attach, "/unified")
        mount.set_attributes(top, step.options.change.set & const.MOUNT_ATTR_RDONLY)
    finally:
        posix.close(top)


def _attach_hierarchies(
    step: "MountStep", layout: "Layout", paths: "dict[str, str]", attach: "Attach", top: int
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
        _attach(fd, step, attach, "/" + name)
        for controller in controllers:
            # Programs look for one controller by its name, also where several share a hierarchy.
            if len(controllers) > 1 and controller != name:
                posix.symlink(name, controller, dir_fd=top)


def _attach_unified(
    step: "MountStep", layout: "Layout", paths: "dict[str, str]", attach: "Attach", below: str
) -> None:
    if paths:
        fd = mount.clone_tree(layout.unified + paths.get("", "/"), recursive=False)
        mount.set_attributes(fd, step.options.change.set)
    else:
        fd = mount.new_filesystem("cgroup2", "cgroup", (), step.options.change.set)
    _attach(fd, step, attach, below)


def _attach(fd: int, step: "MountStep", attach: "Attach", below: str) -> None:
    try:
        attach(fd, step, True, below)
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
