"""Say in one line which step failed and why, and what to do about it."""

import errno

from uxc.errors import ConflictError, MissingError, SystemFailure, UxcError
from uxc.net import ops
from uxc.net.ops import Op
from uxc.net.world import StepError

_MAKING = ops.MakeBridge | ops.MakeCable
_ADDRESSING = ops.AddAddress | ops.AddRoute


def explain(failure: StepError) -> UxcError:
    """Return the error that tells a user about ``failure``."""
    op, number = failure.op, failure.error.errno
    kind, reason, hint = _reason(op, number)
    return kind(f"cannot {op.describe()}: {reason or str(failure.error.strerror).lower()}", hint)


def _reason(op: Op, number: int | None) -> tuple[type[UxcError], str, str]:
    """Return the kind of error, the reason (empty: the kernel's own words) and the hint."""
    match number:
        case errno.EEXIST if isinstance(op, _MAKING):
            return ConflictError, "name taken", "'ip link' shows by what"
        case errno.EEXIST if isinstance(op, ops.MoveIn | ops.MoveOut):
            return ConflictError, "name taken", "rename the link that has it"
        case errno.EEXIST if isinstance(op, ops.AddRoute):
            hint = "only one interface of a container can have a gateway of each IP version"
            return ConflictError, "there is another route to the same target", hint
        case errno.EEXIST | errno.EADDRINUSE:
            return ConflictError, "address in use", "choose another one in /etc/config/network"
        case errno.EOPNOTSUPP if isinstance(op, ops.MakeCable):
            return MissingError, "the kernel cannot make cables", "install kmod-veth"
        case errno.EOPNOTSUPP if isinstance(op, ops.MakeBridge):
            return MissingError, "the kernel cannot make bridges", "load the module 'bridge'"
        case errno.EPERM:
            return SystemFailure, "", "it takes root with CAP_NET_ADMIN on both sides"
        case errno.EACCES if isinstance(op, _ADDRESSING):
            return SystemFailure, "", "is IPv6 switched off there (net.ipv6.conf.*.disable_ipv6)?"
        case errno.ENODEV:
            return SystemFailure, "no such device", "it vanished meanwhile: try again"
        case errno.EBUSY:
            return (
                ConflictError,
                "device is busy",
                "something else uses it: 'ip -d link' shows what",
            )
        case errno.ENETUNREACH | errno.EHOSTUNREACH | errno.EINVAL if isinstance(op, ops.AddRoute):
            hint = "the gateway must lie in a subnet of the interface, and not be its own address"
            return SystemFailure, "", hint
        case errno.EADDRNOTAVAIL if isinstance(op, ops.SetMac | ops.MoveIn | _MAKING):
            return SystemFailure, "not a MAC address for one device", "its first byte must be even"
    return SystemFailure, "", ""
