"""The ``linux.resources`` object of config.json, which ``update`` reads as well, as typed values.

Absent numbers are None: for most files "not given" and "0" are two different wishes.
"""

from uxc.oci.spec_fields import (
    MAX_INT64,
    MAX_UINT16,
    MAX_UINT32,
    MAX_UINT64,
    entries_of,
    fail,
    flag,
    items_of,
    member,
    need_flag,
    need_number,
    need_text,
    node_of,
    number,
    refuse,
    text,
    text_entries,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_fields import Node

DEVICE_RULE_TYPES = ("a", "b", "c")
PAGE_UNITS = "KMG"
UNIFIED_KEY = "must be the name of a limit's file such as memory.high"
# Files that move, stop or kill processes: the runtime's own, never a limit.
RUNTIME_FILES = (
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
)


class DeviceRule:
    """One line of the device allow-list; None as a number means all of them."""

    __slots__ = ("access", "allow", "major", "minor", "type")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.allow = need_flag(node, "allow", where)
        self.type = text(node, "type", where) or "a"
        if self.type not in DEVICE_RULE_TYPES:
            refuse(where, "type", "must be one of a, b, c")
        # Podman and containerd write "all" as -1, as runc's own structures have it.
        self.major = _all_as_none(number(node, "major", where, -1, MAX_UINT32))
        self.minor = _all_as_none(number(node, "minor", where, -1, MAX_UINT32))
        self.access = text(node, "access", where) or "rwm"
        if self.access.strip("rwm"):
            refuse(where, "access", "must be made of the letters r, w and m")


def _all_as_none(value: "int | None") -> "int | None":
    return None if value == -1 else value


class Memory:
    """Memory limits in bytes; -1 is no limit, and ``swap`` is the sum of memory and swap."""

    __slots__ = (
        "check_before_update",
        "disable_oom_killer",
        "kernel",
        "kernel_tcp",
        "limit",
        "reservation",
        "swap",
        "swappiness",
        "use_hierarchy",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.limit = number(node, "limit", where, -1, MAX_INT64)
        self.reservation = number(node, "reservation", where, -1, MAX_INT64)
        self.swap = number(node, "swap", where, -1, MAX_INT64)
        self.kernel = number(node, "kernel", where, -1, MAX_INT64)
        self.kernel_tcp = number(node, "kernelTCP", where, -1, MAX_INT64)
        self.swappiness = number(node, "swappiness", where, 0, 100)
        self.disable_oom_killer = flag(node, "disableOOMKiller", where)
        self.use_hierarchy = flag(node, "useHierarchy", where)
        self.check_before_update = flag(node, "checkBeforeUpdate", where)


class CPU:
    """CPU time (microseconds, relative shares) and placement (lists of CPUs and memory nodes)."""

    __slots__ = (
        "burst",
        "cpus",
        "idle",
        "mems",
        "period",
        "quota",
        "realtime_period",
        "realtime_runtime",
        "shares",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.shares = number(node, "shares", where, 0, MAX_UINT64)
        self.quota = number(node, "quota", where, -1, MAX_INT64)
        self.burst = number(node, "burst", where, 0, MAX_UINT64)
        self.period = number(node, "period", where, 0, MAX_UINT64)
        self.realtime_runtime = number(node, "realtimeRuntime", where, -1, MAX_INT64)
        self.realtime_period = number(node, "realtimePeriod", where, 0, MAX_UINT64)
        self.cpus = _cpu_list(node, "cpus", where)
        self.mems = _cpu_list(node, "mems", where)
        self.idle = number(node, "idle", where, 0, 1)


def _cpu_list(node: "Node", key: str, where: str) -> str:
    value = text(node, key, where)
    if value.strip("0123456789,-"):
        refuse(where, key, "must be a list such as 0-3,7")
    return value


class WeightDevice:
    """The I/O weights of the cgroup on one block device."""

    __slots__ = ("leaf_weight", "major", "minor", "weight")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.major = need_number(node, "major", where, 0, MAX_UINT32)
        self.minor = need_number(node, "minor", where, 0, MAX_UINT32)
        self.weight = number(node, "weight", where, 0, MAX_UINT16)
        self.leaf_weight = number(node, "leafWeight", where, 0, MAX_UINT16)
        if self.weight is None and self.leaf_weight is None:
            fail(where, "weight or leafWeight is missing")


class ThrottleDevice:
    """The upper rate (bytes or operations a second) of the cgroup on one block device."""

    __slots__ = ("major", "minor", "rate")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.major = need_number(node, "major", where, 0, MAX_UINT32)
        self.minor = need_number(node, "minor", where, 0, MAX_UINT32)
        self.rate = need_number(node, "rate", where, 0, MAX_UINT64)


class BlockIO:
    """Weights and rates of block I/O."""

    __slots__ = (
        "leaf_weight",
        "throttle_read_bps",
        "throttle_read_iops",
        "throttle_write_bps",
        "throttle_write_iops",
        "weight",
        "weight_devices",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.weight = number(node, "weight", where, 0, MAX_UINT16)
        self.leaf_weight = number(node, "leafWeight", where, 0, MAX_UINT16)
        self.weight_devices = items_of(node, "weightDevice", where, WeightDevice)
        self.throttle_read_bps = items_of(node, "throttleReadBpsDevice", where, ThrottleDevice)
        self.throttle_write_bps = items_of(node, "throttleWriteBpsDevice", where, ThrottleDevice)
        self.throttle_read_iops = items_of(node, "throttleReadIOPSDevice", where, ThrottleDevice)
        self.throttle_write_iops = items_of(node, "throttleWriteIOPSDevice", where, ThrottleDevice)


class HugepageLimit:
    """The limit in bytes on huge pages of one size, written as in ``2MB``."""

    __slots__ = ("limit", "page_size")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.page_size = size = need_text(node, "pageSize", where)
        digits = size[:-2]
        plain = digits.isascii() and digits.isdigit() and digits[0] != "0"
        if not (plain and size[-2] in PAGE_UNITS and size[-1] == "B"):
            refuse(where, "pageSize", "must be a size such as 64KB, 2MB or 1GB")
        self.limit = need_number(node, "limit", where, 0, MAX_UINT64)


class InterfacePriority:
    """The priority of the cgroup's traffic on one network interface (net_prio)."""

    __slots__ = ("name", "priority")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.name = need_text(node, "name", where)
        self.priority = need_number(node, "priority", where, 0, MAX_UINT32)


class NetworkClass:
    """The v1 controllers net_cls and net_prio."""

    __slots__ = ("class_id", "priorities")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.class_id = number(node, "classID", where, 0, MAX_UINT32)
        self.priorities = items_of(node, "priorities", where, InterfacePriority)


class Rdma:
    """The limits on one RDMA device."""

    __slots__ = ("hca_handles", "hca_objects")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.hca_handles = number(node, "hcaHandles", where, 0, MAX_UINT32)
        self.hca_objects = number(node, "hcaObjects", where, 0, MAX_UINT32)
        if self.hca_handles is None and self.hca_objects is None:
            fail(where, "hcaHandles or hcaObjects is missing")


class Resources:
    """What the container's cgroup limits."""

    __slots__ = (
        "block_io",
        "cpu",
        "devices",
        "hugepage_limits",
        "memory",
        "network",
        "pids_limit",
        "rdma",
        "unified",
        "where",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``, which is kept for errors found later; InvalidError."""
        self.where = where
        self.devices = items_of(node, "devices", where, DeviceRule)
        memory = node_of(node, "memory", where)
        self.memory = None if memory is None else Memory(memory, member(where, "memory"))
        cpu = node_of(node, "cpu", where)
        self.cpu = None if cpu is None else CPU(cpu, member(where, "cpu"))
        pids = node_of(node, "pids", where)
        self.pids_limit = (
            None if pids is None else number(pids, "limit", member(where, "pids"), -1, MAX_INT64)
        )
        block_io = node_of(node, "blockIO", where)
        self.block_io = None if block_io is None else BlockIO(block_io, member(where, "blockIO"))
        self.hugepage_limits = items_of(node, "hugepageLimits", where, HugepageLimit)
        network = node_of(node, "network", where)
        self.network = None if network is None else NetworkClass(network, member(where, "network"))
        self.rdma = entries_of(node, "rdma", where, Rdma)
        self.unified = text_entries(node, "unified", where)
        for name in self.unified:
            # The key becomes a file name of the container's cgroup.
            if "/" in name or "." not in name[1:-1] or name in RUNTIME_FILES:
                refuse(member(where, "unified"), name, UNIFIED_KEY)
