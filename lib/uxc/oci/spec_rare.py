"""Objects of config.json that hardly any bundle has; imported only for one that has them."""

from uxc.oci.spec_fields import (
    MAX_INT32,
    MAX_UINT64,
    choices,
    flag,
    need_choice,
    need_number,
    number,
    refuse,
    text,
    texts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_fields import Node

SCHEDULER_POLICIES = (
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
)
SCHEDULER_FLAGS = (
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
)
IO_CLASSES = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
MEMORY_MODES = (
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
)
MEMORY_FLAGS = ("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")
PERSONALITIES = ("LINUX", "LINUX32")


class Scheduler:
    """The scheduling policy of the process, as sched_setattr(2) takes it; times in nanoseconds."""

    __slots__ = ("deadline", "flags", "nice", "period", "policy", "priority", "runtime")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.policy = need_choice(node, "policy", where, SCHEDULER_POLICIES)
        # The kernel clamps a nice value silently, so the range is checked here.
        self.nice = number(node, "nice", where, -20, 19) or 0
        self.priority = number(node, "priority", where, 0, MAX_INT32) or 0
        self.flags = choices(node, "flags", where, SCHEDULER_FLAGS)
        self.runtime = number(node, "runtime", where, 0, MAX_UINT64) or 0
        self.deadline = number(node, "deadline", where, 0, MAX_UINT64) or 0
        self.period = number(node, "period", where, 0, MAX_UINT64) or 0


class IOPriority:
    """The class and level of ioprio_set(2); level 0 is the highest."""

    __slots__ = ("io_class", "priority")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.io_class = need_choice(node, "class", where, IO_CLASSES)
        self.priority = need_number(node, "priority", where, 0, 7)


class CPUAffinity:
    """CPU lists for a process that joins the container: before and after it enters the cgroup."""

    __slots__ = ("final", "initial")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.initial = text(node, "initial", where)
        self.final = text(node, "final", where)


class IntelRdt:
    """What to write into the resctrl file system."""

    __slots__ = ("clos_id", "enable_monitoring", "l3_cache_schema", "mem_bw_schema", "schemata")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.clos_id = text(node, "closID", where)
        self.l3_cache_schema = text(node, "l3CacheSchema", where)
        self.mem_bw_schema = text(node, "memBwSchema", where)
        if self.mem_bw_schema and not self.mem_bw_schema.startswith("MB:"):
            refuse(where, "memBwSchema", "must start with MB:")
        self.schemata = texts(node, "schemata", where)
        self.enable_monitoring = flag(node, "enableMonitoring", where)


class MemoryPolicy:
    """The NUMA policy of set_mempolicy(2)."""

    __slots__ = ("flags", "mode", "nodes")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.mode = need_choice(node, "mode", where, MEMORY_MODES)
        self.nodes = text(node, "nodes", where)
        self.flags = choices(node, "flags", where, MEMORY_FLAGS)


class Personality:
    """The execution domain of personality(2); the specification defines no flags so far."""

    __slots__ = ("domain", "flags")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.domain = need_choice(node, "domain", where, PERSONALITIES)
        self.flags = texts(node, "flags", where)
