"""What a user is told about a step that the kernel refused."""

import errno
import os
import re

import pytest

from uxc.errors import ConflictError, MissingError, SystemFailure, UxcError
from uxc.net import ops
from uxc.net.explain import explain
from uxc.net.model import Address, Route
from uxc.net.world import StepError

CABLE = ops.MakeCable(
    link="vhost0", name="eth0", macaddr=None, peer_macaddr=None, mtu=None, alias="", group=1
)
BRIDGE = ops.MakeBridge(link="br-lan", macaddr=None, alias="", group=1)
ADDRESS = ops.AddAddress(
    side="inside", link="eth0", address=Address(address="fd00::2", prefix=64, version=6)
)
ROUTE = ops.AddRoute(link="eth0", route=Route(target="0.0.0.0/0", version=4, gateway="10.0.0.1"))
PLUG = ops.Enslave(link="vhost0", bridge="br-lan")


@pytest.mark.parametrize(
    ("op", "number", "kind", "message", "hint"),
    [
        (CABLE, errno.EEXIST, ConflictError, "make cable vhost0 with eth0.*: name taken", "ip"),
        (CABLE, errno.EOPNOTSUPP, MissingError, "kernel cannot make cables", "kmod-veth"),
        (BRIDGE, errno.EOPNOTSUPP, MissingError, "kernel cannot make bridges", "bridge"),
        (BRIDGE, errno.EPERM, SystemFailure, "operation not permitted", "CAP_NET_ADMIN"),
        (ADDRESS, errno.EEXIST, ConflictError, "fd00::2/64 to eth0.*: address in use", "another"),
        (ADDRESS, errno.EACCES, SystemFailure, "permission denied", "IPv6"),
        (ROUTE, errno.ENETUNREACH, SystemFailure, "route default via 10.0.0.1", "gateway"),
        (ROUTE, errno.EEXIST, ConflictError, "another route", "one interface"),
        (PLUG, errno.ENODEV, SystemFailure, "plug vhost0 into br-lan: no such device", "again"),
        (PLUG, errno.EBUSY, ConflictError, "device is busy", "uses it"),
        (PLUG, errno.ENOMEM, SystemFailure, "cannot allocate memory", ""),
    ],
)
def test_one_line(op: ops.Op, number: int, kind: type[UxcError], message: str, hint: str) -> None:
    """The line says which step failed and why, the hint what to do."""
    error = explain(StepError(op, OSError(number, os.strerror(number))))

    assert type(error) is kind
    assert re.search(message, error.message)
    assert error.message.startswith("cannot ")
    assert hint in error.hint
