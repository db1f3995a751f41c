"""A container's cgroup handed over to the container's user (runtime-spec, "Cgroup ownership").

A program that manages cgroups, such as an init, can then make some of its own below. The limits
stay ours: only what the kernel lists as safe to delegate changes its owner (cgroups(7),
"Cgroups v2 delegation").
"""

import posix

from uxc import files
from uxc.errors import SystemFailure, system_failure
from uxc.linux import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.plan import Plan

_DELEGATED = "/sys/kernel/cgroup/delegate"
# What the specification names for kernels without that list (before 4.15).
_ALWAYS_DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
_PLACE = "/sys/fs/cgroup"


def is_wanted(plan: "Plan", layout: "Layout") -> bool:
    """Tell whether the container gets its cgroup: v2 alone, seen as a root, and writable there.

    Without a user namespace the user may write already, or is not meant to.
    """
    if layout.v1 or not plan.user_namespace or not plan.new_flags & const.CLONE_NEWCGROUP:
        return False
    # Of mounts at the same place, the last one is seen.
    seen = [step for step in plan.mounts if step.place == _PLACE][-1:]
    return any(
        step.kind == "cgroup" and not step.options.change.set & const.MOUNT_ATTR_RDONLY
        for step in seen
    )


def hand_over(cgroup: "Cgroup", pid: int, uid: int, gid: int) -> None:
    """Make the ids ``uid`` and ``gid`` of the user namespace that ``pid`` is in the owners.

    A cgroup that was there before create stays whose it was. Raises SystemFailure, also for an id
    that the namespace has not.
    """
    if not cgroup.is_new:
        return
    owner, group = _host_id(pid, "uid_map", uid), _host_id(pid, "gid_map", gid)
    try:
        posix.chown(cgroup.v2_fd, owner, group)
        for name in _delegated():
            try:
                posix.chown(name, owner, group, dir_fd=cgroup.v2_fd, follow_symlinks=False)
            except FileNotFoundError:
                # Of a controller that the cgroup does not have.
                continue
    except OSError as error:
        raise system_failure(f"hand {cgroup.tracking} over to the container", error) from None


def _delegated() -> "tuple[str, ...]":
    try:
        return tuple(files.read_bytes(_DELEGATED).decode().split())
    except FileNotFoundError:
        return _ALWAYS_DELEGATED


def _host_id(pid: int, file: str, inside: int) -> int:
    """Return our number of the id ``inside`` the user namespace of ``pid``; SystemFailure."""
    path = f"/proc/{pid}/{file}"
    try:
        lines = files.read_bytes(path).decode().splitlines()
    except OSError as error:
        raise system_failure("look for the owner of the cgroup", error) from None
    for line in lines:
        first, outside, size = map(int, line.split())
        if first <= inside < first + size:
            return outside + inside - first
    raise SystemFailure(f"the cgroup can have no owner: {path} has no id {inside}")
