"""How the kernel shall treat the program: scheduler, ioPriority, personality, memoryPolicy.

Hardly any bundle says anything about it: this module is imported for one that does. What the
kernel would refuse without a word is refused with its JSON path; what depends on the machine is
left to the kernel.
"""

from uxc.errors import InvalidError, system_failure
from uxc.linux import sched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from uxc.oci.spec_linux import Linux
    from uxc.oci.spec_process import Process
    from uxc.oci.spec_rare import MemoryPolicy, Personality, Scheduler

# linux/sched.h.
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
_KEEP = SCHEDULER_FLAGS["SCHED_FLAG_KEEP_POLICY"] | SCHEDULER_FLAGS["SCHED_FLAG_KEEP_PARAMS"]
_REAL_TIME = ("SCHED_FIFO", "SCHED_RR")
_REAL_TIME_PRIORITIES = range(1, 100)
# sched(7): the bounds of the three times of SCHED_DEADLINE.
_DEADLINE_TIMES = range(1024, 1 << 63)

# linux/ioprio.h.
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

# linux/personality.h.
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}

# linux/mempolicy.h.
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
_WITHOUT_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
_NODES_OPTIONAL = ("MPOL_PREFERRED",)

# More than any kernel can be built for (NODES_SHIFT, NR_CPUS): a bound for what a list may say.
_MAX_NODE = 1023
_MAX_CPU = 65535


class Attributes:
    """What is to be set in the process itself; None is left as it is."""

    __slots__ = ("io_priority", "memory_policy", "personality", "scheduling")

    def __init__(self) -> None:
        """Begin with nothing to set."""
        self.scheduling: sched.Scheduling | None = None
        self.io_priority: tuple[int, int] | None = None
        self.personality: int | None = None
        self.memory_policy: tuple[int, list[int]] | None = None

    def apply(self) -> None:
        """Set them in the calling process, before its privileges go; SystemFailure."""
        what = "process.scheduler"
        hint = (
            "real-time policies need CAP_SYS_NICE on the host, and a share for the container's"
            " cgroup where the kernel divides real time among groups (cpu.realtimeRuntime)"
        )
        try:
            if self.scheduling is not None:
                sched.set_scheduling(self.scheduling)
            what, hint = "process.ioPriority", ""
            if self.io_priority is not None:
                sched.set_io_priority(*self.io_priority)
            what = "linux.personality"
            if self.personality is not None:
                sched.set_personality(self.personality)
            what, hint = "linux.memoryPolicy", "the nodes must be online, and in cpu.mems"
            if self.memory_policy is not None:
                sched.set_memory_policy(*self.memory_policy)
        except OSError as error:
            raise system_failure(f"apply {what}", error, hint) from None


def resolve(process: "Process", linux: "Linux", source: str) -> Attributes:
    """Resolve what the objects ``process`` and ``linux`` of ``source`` say; InvalidError."""
    made = Attributes()
    if process.scheduler is not None:
        made.scheduling = _scheduling(process.scheduler, f"{source}: process.scheduler")
    if process.io_priority is not None:
        made.io_priority = IO_CLASSES[process.io_priority.io_class], process.io_priority.priority
    if linux.personality is not None:
        made.personality = _persona(linux.personality, f"{source}: linux.personality")
    if linux.memory_policy is not None:
        made.memory_policy = _memory_policy(linux.memory_policy, f"{source}: linux.memoryPolicy")
    return made


def _scheduling(wanted: "Scheduler", where: str) -> sched.Scheduling:
    made = sched.Scheduling(POLICIES[wanted.policy])
    for flag in wanted.flags:
        made.flags |= SCHEDULER_FLAGS[flag]
    made.nice = wanted.nice
    made.priority = wanted.priority
    made.runtime, made.deadline, made.period = wanted.runtime, wanted.deadline, wanted.period
    if made.flags & _KEEP:
        # What the process has already counts; the kernel compares.
        return made
    if wanted.policy in _REAL_TIME:
        if wanted.priority not in _REAL_TIME_PRIORITIES:
            _refuse(where, "priority", f"must be a number from 1 to 99 with {wanted.policy}")
    elif wanted.priority:
        _refuse(where, "priority", "needs the policy SCHED_FIFO or SCHED_RR")
    if wanted.policy == "SCHED_DEADLINE":
        _check_deadline(wanted, where)
    else:
        for key in ("runtime", "deadline", "period"):
            if getattr(wanted, key):
                _refuse(where, key, "needs the policy SCHED_DEADLINE")
    return made


def _check_deadline(wanted: "Scheduler", where: str) -> None:
    for key in ("runtime", "deadline", "period"):
        value = getattr(wanted, key)
        # Without a period it is the deadline (sched(7)).
        if value not in _DEADLINE_TIMES and (key != "period" or value):
            _refuse(where, key, "must be from 1024 to 2^63-1 nanoseconds with SCHED_DEADLINE")
    if wanted.runtime > wanted.deadline:
        _refuse(where, "runtime", "must not be longer than the deadline")
    if wanted.period and wanted.deadline > wanted.period:
        _refuse(where, "deadline", "must not be longer than the period")


def _persona(wanted: "Personality", where: str) -> int:
    if wanted.flags:
        raise InvalidError(f"{where}.flags[0]: is not supported: the specification has no flags")
    return PERSONALITIES[wanted.domain]


def _memory_policy(wanted: "MemoryPolicy", where: str) -> "tuple[int, list[int]]":
    nodes = numbers(wanted.nodes, f"{where}.nodes", _MAX_NODE)
    if wanted.mode in _WITHOUT_NODES:
        if nodes:
            _refuse(where, "nodes", f"must be empty with {wanted.mode}")
    elif not nodes and wanted.mode not in _NODES_OPTIONAL:
        _refuse(where, "nodes", f"must name a node with {wanted.mode}")
    if "MPOL_F_STATIC_NODES" in wanted.flags and "MPOL_F_RELATIVE_NODES" in wanted.flags:
        _refuse(where, "flags", "holds MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES")
    mode = MEMORY_MODES[wanted.mode]
    for flag in wanted.flags:
        mode |= MEMORY_FLAGS[flag]
    return mode, nodes


def cpu_list(text: str, where: str) -> "list[int]":
    """Return the CPUs that the list ``text`` (as "0-3,7") names; InvalidError about ``where``."""
    return numbers(text, where, _MAX_CPU)


def set_affinity(cpus: "list[int]") -> None:
    """Let the calling process run on ``cpus`` only, if there are any; SystemFailure."""
    if not cpus:
        return
    try:
        sched.set_affinity(cpus)
    except OSError as error:
        raise system_failure(
            "apply process.execCPUAffinity", error, "one of the CPUs must be online and in cpu.cpus"
        ) from None


def numbers(text: str, where: str, highest: int) -> "list[int]":
    """Return the numbers that a list such as "0-3,7" names, in order; empty for an empty text.

    Raises InvalidError about ``where`` for anything else, blanks included, and for numbers above
    ``highest``.
    """
    if not text:
        return []
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise InvalidError(f"{where}: must be a list such as 0-3,7: '{part}' is no part of one")
        low = int(first)
        high = int(last) if dash else low
        if low > high:
            raise InvalidError(f"{where}: the range {part} ends before it begins")
        if high > highest:
            raise InvalidError(f"{where}: must not hold numbers above {highest}")
        found.update(range(low, high + 1))
    return sorted(found)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _refuse(where: str, key: str, message: str) -> "NoReturn":
    raise InvalidError(f"{where}.{key}: {message}")
