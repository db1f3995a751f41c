"""Mounts of the type ``cgroup``: what of the hierarchies a container sees at /sys/fs/cgroup."""

import posix

from uxc.linux import const, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.mountplan import MountStep
    from uxc.oci.plan import Plan

    class Attach(Protocol):
        """Put the detached mount ``fd`` at the step's destination."""

        def __call__(self, fd: int, step: MountStep, directory: bool) -> None: ...


def mount_cgroups(step: "MountStep", layout: "Layout", plan: "Plan", attach: "Attach") -> None:
    """Mount the machine's cgroup hierarchies as the container may see them; OSError.

    On v2 it is one tree. Otherwise it is a small file system with one directory for every v1
    hierarchy, and the v2 tree as ``unified``; or, for a mount of type ``cgroup2`` or one whose
    data names controllers, just that hierarchy. With a cgroup namespace the kernel itself shows
    the container's part only; without one that part is bound here.
    """
    view = _View(step, layout, plan)
    if step.unified or not layout.v1:
        fd = view.open_unified()
    elif step.options.data:
        fd = view.open_hierarchy(layout.v1.get(step.options.data[-1], ""), step.options.data)
    else:
        _mount_all(view, step, layout, attach)
        return
    try:
        attach(fd, step, True)
    finally:
        posix.close(fd)


def _mount_all(view: "_View", step: "MountStep", layout: "Layout", attach: "Attach") -> None:
    # Writable until the directories in it are made.
    attributes = view.attributes & ~const.MOUNT_ATTR_RDONLY
    top = mount.new_filesystem("tmpfs", "cgroup", ("mode=755",), attributes)
    try:
        attach(top, step, True)
        _attach_hierarchies(view, layout, top)
        if layout.unified:
            _attach_below(top, "unified", view.open_unified())
        mount.set_attributes(top, view.attributes & const.MOUNT_ATTR_RDONLY)
    finally:
        posix.close(top)


class _View:
    """How a container sees hierarchies: mounted anew, or the part that it is in bound."""

    __slots__ = ("_data", "_layout", "_paths", "attributes")

    def __init__(self, step: "MountStep", layout: "Layout", plan: "Plan") -> None:
        """Find out where this process, which is in its cgroups already, is."""
        flag = const.CLONE_NEWCGROUP
        own = bool(plan.new_flags & flag) or plan.joins(flag)
        self._layout = layout
        self._data = step.options.data
        self._paths = {} if own else _own_paths()
        self.attributes = step.options.change.set
        if plan.user_namespace and not own:
            # What belongs to the host's ids is not to be changed from here (CVE-2023-25809).
            self.attributes |= const.MOUNT_ATTR_RDONLY

    def open_unified(self) -> int:
        """Return an fd of a detached mount of the v2 tree."""
        if not self._paths or not self._layout.unified:
            return mount.new_filesystem("cgroup2", "cgroup", self._data, self.attributes)
        return self._bind(self._layout.unified + self._paths.get("", "/"))

    def open_hierarchy(self, point: str, controllers: "list[str]") -> int:
        """Return an fd of a detached mount of the v1 hierarchy with ``controllers``."""
        if self._paths and point:
            return self._bind(point + self._paths.get(controllers[-1], "/"))
        options = controllers
        if "=" in controllers[0]:
            options = [*controllers, "none"]
        return mount.new_filesystem("cgroup", "cgroup", options, self.attributes)

    def _bind(self, place: str) -> int:
        fd = mount.clone_tree(place, recursive=False)
        mount.set_attributes(fd, self.attributes)
        return fd


def _attach_hierarchies(view: "_View", layout: "Layout", top: int) -> None:
    hierarchies: dict[str, list[str]] = {}
    for controller, point in layout.v1.items():
        hierarchies.setdefault(point, []).append(controller)
    for point, controllers in hierarchies.items():
        name = point.rpartition("/")[2]
        _attach_below(top, name, view.open_hierarchy(point, controllers))
        for controller in controllers:
            # Programs look for one controller by its name, also where several share a hierarchy.
            if len(controllers) > 1 and controller != name:
                posix.symlink(name, controller, dir_fd=top)


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
