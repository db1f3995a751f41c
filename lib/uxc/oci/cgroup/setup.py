"""A container's cgroup planned and made: directories, controllers, limits, device rules."""

import errno
import posix

from uxc.errors import ConflictError, InvalidError, MissingError, system_failure
from uxc.linux import bpf
from uxc.oci.cgroup import devices, limits, place, tree
from uxc.oci.cgroup.group import Cgroup, cannot_write, write
from uxc.oci.cgroup.layout import read_words
from uxc.oci.spec_fields import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.cgroup.values import Limit
    from uxc.oci.spec_resources import Resources


# v1's controllers that count. Entered with or without a limit: who shows what a container uses
# (Podman's `stats`, the metrics and the out-of-memory events of containerd's shim) looks there, and
# would find nothing, or what the cgroup above uses.
_COUNTING = ("memory", "cpu", "cpuacct", "blkio", "pids", "hugetlb", "rdma")


class Plan:
    """What a container's cgroup will be; a value. ``warnings`` are lines for the log."""

    __slots__ = ("device_rules", "devices_origin", "layout", "relative", "warnings", "writes")

    def __init__(self, relative: str, layout: "Layout", resources: "Resources | None") -> None:
        """Plan for the cgroup ``relative`` to every mount point; InvalidError with JSON path."""
        self.relative = relative
        self.layout = layout
        self.writes: list[Limit] = []
        self.warnings: list[str] = []
        self.device_rules: list[devices.Rule] = []
        self.devices_origin = ""
        if resources is not None:
            self.writes, self.warnings = limits.plan(resources, layout)
            if resources.devices:
                self.device_rules = devices.rules_of(resources.devices)
                self.devices_origin = member(resources.where, "devices")

    def create(self) -> "Cgroup":
        """Make the directories and write every limit, before any process is inside.

        When a step fails, what was made is removed again. Raises SystemFailure naming file and
        value, ConflictError when the cgroup exists and has processes or is frozen, MissingError
        when the machine has no cgroups that could hold the container.
        """
        group = Cgroup(self.relative, self.layout.unified, [], [])
        try:
            self._build(group)
        except BaseException:
            group.close()
            group.remove(0)
            raise
        return group

    def record(self) -> "dict[str, Any] | None":
        """Return the record of a cgroup in any hierarchy that there is, should we die making it.

        None when processes are in it: it is another's, and ``create`` will refuse it.
        """
        layout = self.layout
        # The one that knows the processes comes first.
        tracking = layout.unified or layout.v1.get(layout.tracker(), "")
        if tracking and tree.processes(f"{tracking}/{self.relative}"):
            return None
        points = [tracking, *layout.v1.values()]
        mounts = [point for point in dict.fromkeys(points) if point]
        parts = self.relative.split("/")
        below = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        paths = [f"{point}/{part}" for point in mounts for part in below]
        return {
            "path": self.relative,
            "unified": layout.unified,
            "hierarchies": mounts,
            "made": [path for path in paths if not posix.access(path, posix.F_OK)],
        }

    def _build(self, group: "Cgroup") -> None:
        layout = self.layout
        if layout.unified:
            group.add(layout.unified)
            group.open()
            wanted = {limit.controller for limit in self.writes if limit.version == 2}
            wanted.discard("cgroup")
            # Where v2 has them, they count without a limit as well: see _COUNTING.
            if wanted or not layout.v1:
                _enable(layout, self.relative, wanted)
        elif layout.tracker():
            group.add(layout.v1[layout.tracker()])
        else:
            raise MissingError(
                "no cgroup file system is mounted",
                "mount one: mount -t cgroup2 none /sys/fs/cgroup",
            )
        for controller in _COUNTING:
            if controller in layout.v1:
                _join_hierarchy(group, layout, layout.v1[controller])
        for limit in self.writes:
            if limit.version == 1:
                _join_hierarchy(group, layout, layout.mount_of(limit.controller))
        _refuse_used(group)
        _apply(group, layout, [limit for limit in self.writes if not _is_late(limit)])
        group.late = [
            (f"{_directory(group, layout, limit)}/{limit.file}", limit.value, limit.origin)
            for limit in self.writes
            if _is_late(limit)
        ]
        if self.device_rules:
            self._restrict_devices(group)

    def _restrict_devices(self, group: "Cgroup") -> None:
        """Put the device rules in force: by the v1 controller where it is, else by eBPF on v2."""
        mount = self.layout.v1.get("devices", "")
        lines: list[tuple[str, str]] = []
        if mount:
            try:
                lines = devices.lines_v1(self.device_rules, self.devices_origin)
            except InvalidError:
                # What only a program can say.
                if group.v2_fd < 0:
                    raise
        if lines:
            _join_hierarchy(group, self.layout, mount)
            for file, line in lines:
                write(f"{mount}/{self.relative}/{file}", line, self.devices_origin)
        elif group.v2_fd >= 0:
            self._attach_program(group)
        else:
            raise MissingError(f"{self.devices_origin}: no controller for devices is mounted")

    def _attach_program(self, group: "Cgroup") -> None:
        try:
            program = bpf.load_device_program(devices.program_v2(self.device_rules))
        except OSError as error:
            raise system_failure("load the device rules", error) from None
        try:
            bpf.attach_device_program(group.v2_fd, program, group.tracking)
        except OSError as error:
            raise system_failure("attach the device rules", error) from None
        finally:
            posix.close(program)


def plan(
    container_id: str,
    cgroups_path: str,
    parent: str,
    resources: "Resources | None",
    layout: "Layout",
) -> Plan:
    """Decide where the container's cgroup is and what is written there; nothing is touched.

    ``parent`` holds the cgroups of bundles without a path of their own, or with a relative one.
    Raises InvalidError with JSON path.
    """
    return Plan(place.relative_path(container_id, cgroups_path, parent), layout, resources)


def update(group: Cgroup, resources: "Resources", layout: "Layout") -> "list[str]":
    """Change limits while processes run; return warnings. Device rules stay as they are.

    Raises InvalidError with JSON path, SystemFailure naming file and value; limits written
    before a failing one stay.
    """
    writes, warnings = limits.plan(resources, layout)
    memory = resources.memory
    if memory is not None and memory.check_before_update and memory.limit not in (None, -1):
        _check_memory(group, memory.limit or 0, layout, resources.where)
    wanted = {limit.controller for limit in writes if limit.version == 2} - {"cgroup"}
    if wanted:
        _enable(layout, group.relative, wanted)
    enter(group, writes, layout)
    _apply(group, layout, writes)
    return warnings


def enter(group: Cgroup, writes: "list[Limit]", layout: "Layout") -> None:
    """Take a container that runs into the v1 hierarchies that ``writes`` are for; SystemFailure."""
    for limit in writes:
        if limit.version == 1:
            mount = layout.mount_of(limit.controller)
            if mount not in group.joined:
                _join_hierarchy(group, layout, mount)
                for pid in group.processes():
                    _move(pid, f"{mount}/{group.relative}/cgroup.procs")


def _move(pid: int, path: str) -> None:
    try:
        tree.write(path, str(pid))
    except OSError as error:
        # Ended since it was listed.
        if error.errno != errno.ESRCH:
            cannot_write(error, str(pid), "")


def _check_memory(group: Cgroup, limit: int, layout: "Layout", where: str) -> None:
    # v1's kernel refuses such a limit itself; v2's would kill.
    if layout.version_of("memory") != 2:
        return
    current = int(read_words(f"{group.tracking}/memory.current")[0])
    if limit < current:
        path = member(member(where, "memory"), "limit")
        raise InvalidError(f"{path}: {limit} is below the {current} bytes in use")


def _apply(group: Cgroup, layout: "Layout", writes: "list[Limit]") -> None:
    """Write every limit; SystemFailure naming file and value.

    What the kernel refuses is tried once more after the others: a limit that shrinks together with
    another (memory and memsw, quota and burst) has an order that depends on the old values.
    """
    refused: list[Limit] = []
    for limit in writes:
        try:
            _write_limit(group, layout, limit)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EBUSY) or len(writes) == 1:
                cannot_write(error, limit.value, limit.origin)
            refused.append(limit)
    for limit in refused:
        try:
            _write_limit(group, layout, limit)
        except OSError as error:
            cannot_write(error, limit.value, limit.origin)


def _write_limit(group: Cgroup, layout: "Layout", limit: "Limit") -> None:
    directory = _directory(group, layout, limit)
    try:
        tree.write(f"{directory}/{limit.file}", limit.value)
    except FileNotFoundError:
        if limit.instead is not None:
            tree.write(f"{directory}/{limit.instead.file}", limit.instead.value)
        elif not limit.optional:
            raise


def _directory(group: Cgroup, layout: "Layout", limit: "Limit") -> str:
    mount = layout.unified if limit.version == 2 else layout.mount_of(limit.controller)
    return f"{mount}/{group.relative}"


def _is_late(limit: "Limit") -> bool:
    # clone3 into a cgroup, unlike a move into it, counts against the limit.
    return limit.file == "pids.max" and limit.value == "0"


def _join_hierarchy(group: Cgroup, layout: "Layout", mount: str) -> None:
    """Make the cgroup in one more v1 hierarchy, ready to take processes in."""
    if mount in group.joined:
        return
    group.add(mount)
    if mount == layout.v1.get("cpuset"):
        _inherit_cpuset(mount, group.relative)


def _inherit_cpuset(mount: str, relative: str) -> None:
    # A new v1 cpuset has neither CPUs nor memory nodes and takes no process in.
    above = mount
    for part in relative.split("/"):
        path = f"{above}/{part}"
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read_words(f"{path}/{file}"):
                write(f"{path}/{file}", " ".join(read_words(f"{above}/{file}")))
        above = path


def _enable(layout: "Layout", relative: str, controllers: "set[str]") -> None:
    """Hand ``controllers`` down the v2 tree to the cgroup ``relative``; SystemFailure.

    Every parent hands on what it has: statistics of the others cost little, and a container that
    runs a manager of its own expects them. Handed on once, a controller stays so: by the time the
    container is removed, its neighbours may depend on it.
    """
    path = layout.unified
    try:
        if set(read_words(f"{path}/{relative}/cgroup.controllers")) == set(layout.controllers):
            return
    except OSError as error:
        raise system_failure("look for controllers", error) from None
    for part in relative.split("/"):
        try:
            there = read_words(f"{path}/cgroup.controllers")
            handed = read_words(f"{path}/cgroup.subtree_control")
        except OSError as error:
            raise system_failure("look for controllers", error) from None
        if not controllers.issubset(there):
            lacking = ", ".join(sorted(controllers.difference(there)))
            raise MissingError(f"the cgroup {path} was not given the controller {lacking}")
        missing = [name for name in there if name not in handed]
        if missing:
            try:
                tree.write(f"{path}/cgroup.subtree_control", _plus(missing))
            except OSError:
                # One that is not needed may be what fails (cpu with real-time processes).
                needed = sorted(controllers.difference(handed))
                if needed:
                    _hand_on(path, needed)
        path = f"{path}/{part}"


def _hand_on(path: str, names: "list[str]") -> None:
    file = f"{path}/cgroup.subtree_control"
    try:
        tree.write(file, _plus(names))
    except OSError as error:
        hint = ""
        if error.errno == errno.EBUSY:
            hint = "processes live in that cgroup; its children can have no limits (cgroups(7))"
        raise system_failure(f"enable {' '.join(names)} in {file}", error, hint) from None


def _plus(names: "list[str]") -> str:
    return " ".join(f"+{name}" for name in names)


def _refuse_used(group: Cgroup) -> None:
    """Refuse a cgroup that is not fit for a new container."""
    count = 0 if group.is_new else len(tree.processes(group.tracking))
    if count:
        raise ConflictError(f"the cgroup {group.tracking} is not empty: processes in it: {count}")
    # Also a new one, below one that is: its first process would never begin, and we would wait.
    if group.frozen():
        raise ConflictError(f"the cgroup {group.tracking} is frozen")
