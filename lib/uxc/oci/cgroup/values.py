"""What the limits of a ``resources`` object mean in the units of cgroup v1 and v2; pure.

The specification's numbers are those of v1. Where v2 counts differently, the conversion is the one
that runc and crun have agreed on, so that a bundle gets the same share under all of them. As there,
0 for a memory or CPU number means "not set": Docker's and Kubernetes' older versions write it so.
"""

import math

from uxc.errors import InvalidError
from uxc.oci.spec_fields import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from uxc.oci.spec_resources import Memory

# Range of cpu.shares that v2's cpu.weight (1 to 10000) is stretched over.
_MIN_SHARES = 2
_MAX_SHARES = 1 << 18
MIN_BLOCK_WEIGHT = 10
MAX_BLOCK_WEIGHT = 1000


class Limit:
    """One limit to write: ``value`` for ``file`` in the hierarchy of ``controller`` (v2's name).

    ``origin`` is the JSON path that asked for it. ``instead`` is written when the kernel has no
    such file; ``optional`` files may be missing altogether.
    """

    __slots__ = ("controller", "file", "instead", "optional", "origin", "value", "version")

    def __init__(
        self,
        version: int,
        controller: str,
        file: str,
        value: "int | str",
        origin: str,
        instead: "Limit | None" = None,
        optional: bool = False,
    ) -> None:
        """Keep the parts; a number is written in decimal."""
        self.version = version
        self.controller = controller
        self.file = file
        self.value = str(value)
        self.origin = origin
        self.instead = instead
        self.optional = optional

    def __repr__(self) -> str:
        """Return what is written, as it appears in a failed test and in the log."""
        return f"v{self.version} {self.file}={self.value}"


def refuse(where: str, key: str, message: str) -> "NoReturn":
    """Raise the InvalidError about the limit ``key`` of the object at ``where``."""
    raise InvalidError(f"{member(where, key)}: {message}")


def or_max(value: int) -> str:
    """Return ``value`` as v2 writes it: -1 is ``max``."""
    return "max" if value == -1 else str(value)


def cpu_weight(shares: int) -> int:
    """Return v2's cpu.weight for v1's ``shares``: 2 → 1, 1024 → 100, 262144 → 10000.

    A parabola through these three points on logarithmic scales, as the default values of the two
    versions are not in proportion to their ranges.
    """
    if shares <= _MIN_SHARES:
        return 1
    if shares >= _MAX_SHARES:
        return 10000
    exponent = math.log2(shares)
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """Return v2's io.weight (1 to 10000) for a v1 ``weight`` (10 to 1000)."""
    span = MAX_BLOCK_WEIGHT - MIN_BLOCK_WEIGHT
    return 1 + (weight - MIN_BLOCK_WEIGHT) * 9999 // span


def check_block_weight(weight: int, where: str, key: str) -> None:
    """Refuse a block I/O weight outside of v1's range; 0 means not set."""
    if weight and not MIN_BLOCK_WEIGHT <= weight <= MAX_BLOCK_WEIGHT:
        refuse(where, key, f"must be a number from {MIN_BLOCK_WEIGHT} to {MAX_BLOCK_WEIGHT}")


def swap_alone(memory: "Memory", where: str) -> "str | None":
    """Return v2's memory.swap.max, which counts swap alone, None when nothing is to be written.

    The specification's ``swap`` is the sum of memory and swap. Raises InvalidError when it is
    smaller than the memory limit, or given without one.
    """
    limit, both = memory.limit, memory.swap
    if not both:
        # v1's sum is unlimited when memory is; the same wish must not stop at an old limit.
        return "max" if limit == -1 and both == 0 else None
    if both == -1:
        return "max"
    check_swap(memory, where)
    return str(both - (limit or 0))


def check_swap(memory: "Memory", where: str) -> None:
    """Refuse a sum of memory and swap without a memory limit, or below it."""
    limit, both = memory.limit, memory.swap
    if not both or both == -1:
        return
    if not limit or limit == -1:
        refuse(where, "swap", "needs a memory limit: it is the sum of memory and swap")
    if both < limit:
        refuse(where, "swap", f"must not be below the memory limit {limit}: it is the sum of both")
