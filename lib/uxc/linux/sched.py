"""How the kernel treats this process: CPU and I/O scheduling, execution domain, NUMA policy.

Each holds for the calling thread and what it starts later, also across an execve.
"""

import _struct
import posix

from uxc.linux.libc import syscall

# linux/sched/types.h: size, policy, flags, nice, priority, runtime, deadline, period, and the
# utilization clamps of Linux 5.3. Every member is aligned by itself on all architectures.
_SCHED_ATTR = "=IIQiIQQQII"
# linux/ioprio.h.
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_SHIFT = 13


class Scheduling:
    """What sched_setattr(2) takes; times in nanoseconds, clamps are 0."""

    __slots__ = ("deadline", "flags", "nice", "period", "policy", "priority", "runtime")

    def __init__(self, policy: int) -> None:
        """Begin with the number of a SCHED_* policy, the other members 0."""
        self.policy = policy
        self.flags = 0
        self.nice = 0
        self.priority = 0
        self.runtime = 0
        self.deadline = 0
        self.period = 0

    def pack(self) -> bytes:
        """Return the ``struct sched_attr``."""
        return _struct.pack(
            _SCHED_ATTR,
            _struct.calcsize(_SCHED_ATTR),
            self.policy,
            self.flags,
            self.nice,
            self.priority,
            self.runtime,
            self.deadline,
            self.period,
            0,
            0,
        )


def set_scheduling(wanted: Scheduling) -> None:
    """Put the calling thread under a scheduling policy; OSError as sched_setattr(2)."""
    syscall("sched_setattr", None, 0, wanted.pack(), 0)


def set_io_priority(io_class: int, level: int) -> None:
    """Set the I/O class (1 real-time, 2 best-effort, 3 idle) and level; OSError, ioprio_set(2)."""
    syscall("ioprio_set", None, _IOPRIO_WHO_PROCESS, 0, io_class << _IOPRIO_CLASS_SHIFT | level)


def set_personality(persona: int) -> None:
    """Set the execution domain; OSError as personality(2)."""
    syscall("personality", None, persona)


def set_memory_policy(mode: int, nodes: "list[int]") -> None:
    """Set the NUMA policy: an MPOL_* mode with its flags, and nodes; OSError, set_mempolicy(2)."""
    mask = node_mask(nodes)
    # One more than there are bits: the kernel takes one off first.
    syscall("set_mempolicy", None, mode, mask or None, len(mask) * 8 + 1 if mask else 0)


def node_mask(numbers: "list[int]") -> bytes:
    """Return the bit mask of ``numbers`` as the kernel reads it, in words of ``long``."""
    if not numbers:
        return b""
    bits = _struct.calcsize("@L") * 8
    words = [0] * (max(numbers) // bits + 1)
    for number in numbers:
        words[number // bits] |= 1 << number % bits
    return _struct.pack(f"@{len(words)}L", *words)


def set_affinity(cpus: "list[int]") -> None:
    """Let the calling thread run on ``cpus`` only; OSError as sched_setaffinity(2)."""
    posix.sched_setaffinity(0, cpus)
