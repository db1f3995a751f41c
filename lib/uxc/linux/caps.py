"""Capability sets of the calling thread (capabilities(7))."""

import _struct
import errno

from uxc.linux import const
from uxc.linux.libc import buffer, syscall

_VERSION_3 = 0x20080522
_HEADER = _struct.pack("=Ii", _VERSION_3, 0)


def get() -> "tuple[int, int, int]":
    """Return the (effective, permitted, inheritable) sets as bit masks."""
    data = buffer(24)
    syscall("capget", None, _HEADER, data)
    words = _struct.unpack("=6I", data.raw)
    effective, permitted, inheritable = (words[at] | words[at + 3] << 32 for at in range(3))
    return effective, permitted, inheritable


def set_(effective: int, permitted: int, inheritable: int) -> None:
    """Set all three sets; EPERM when one is more than what we have."""
    low = [mask & 0xFFFFFFFF for mask in (effective, permitted, inheritable)]
    high = [mask >> 32 for mask in (effective, permitted, inheritable)]
    syscall("capset", None, _HEADER, _struct.pack("=6I", *low, *high))


def drop_bounding(keep: int) -> None:
    """Drop every capability from the bounding set that is not in the mask ``keep``.

    Goes on until the kernel says that it knows no more (EINVAL), so that capabilities younger than
    this program go as well.
    """
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            syscall("prctl", "bounding set", const.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return
            raise


def set_ambient(mask: int) -> None:
    """Make ``mask`` the ambient set; each must be permitted and inheritable already."""
    prctl = const.PR_CAP_AMBIENT
    syscall("prctl", "ambient set", prctl, const.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(64):
        if mask >> number & 1:
            syscall("prctl", "ambient set", prctl, const.PR_CAP_AMBIENT_RAISE, number)


def keep_over_setuid(on: bool) -> None:
    """Keep permitted capabilities when the last user id 0 is given up (PR_SET_KEEPCAPS)."""
    syscall("prctl", "keepcaps", const.PR_SET_KEEPCAPS, int(on))
