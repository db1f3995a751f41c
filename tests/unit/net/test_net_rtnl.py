"""Messages on the wire, both ways, without a kernel; and pyroute2 that is not there."""

import struct
import sys

import pytest

from uxc.errors import MissingError
from uxc.net import messages, rtnl
from uxc.net.model import Address

# Importing pyroute2 runs uname(1), which no test may do.
rtnl._classes()


def test_header() -> None:
    """A message carries its kind, its flags, its sequence number and its own length."""
    data = messages.set_up(7, True).encode(5, rtnl.NLM_F_ACK)

    length, kind, flags, sequence, port = struct.unpack_from("=IHHII", data)
    assert (length, kind, sequence, port) == (len(data), rtnl.RTM_NEWLINK, 5, 0)
    assert flags == rtnl.NLM_F_REQUEST | rtnl.NLM_F_ACK
    assert struct.unpack_from("=BxHiII", data, 16) == (0, 0, 7, 1, 1)


def test_peer_is_described_in_the_message() -> None:
    """A cable's message holds the namespace, the name and the MAC address of the peer."""
    peer = messages.peer_in(9, "eth0", "02:00:00:00:00:02", 1400)
    data = messages.make_cable("vhost0", 77, None, 1400, peer).encode(1, 0)

    found = rtnl.attributes(data, 32)
    info = rtnl.attributes(found[18], 0)
    (nested,) = rtnl.attributes(info[2], 0).values()
    inner = rtnl.attributes(nested, 16)
    assert (rtnl.text(found[3]), rtnl.u32(found[27]), rtnl.text(info[1])) == ("vhost0", 77, "veth")
    assert (rtnl.text(inner[3]), rtnl.mac(inner[1])) == ("eth0", "02:00:00:00:00:02")
    assert (rtnl.u32(inner[4]), rtnl.u32(inner[28])) == (1400, 9)


def test_ipv6_is_usable_at_once() -> None:
    """Only an IPv6 address in a container says that it is not to be probed for."""
    entry = Address(address="fd00::2", prefix=64, version=6)
    flags = [
        messages.add_address(3, entry, nodad=nodad).encode(1, 0)[18] for nodad in (True, False)
    ]

    assert flags == [messages.IFA_F_NODAD, 0]


@pytest.mark.parametrize("data", [b"", b"\0", b"\4\0\1", b"\0\0\0\0", b"\2\0\1\0\0\0\0\0"])
def test_damaged_attributes_end(data: bytes) -> None:
    """Attributes that are cut off or shorter than their header end the list."""
    assert rtnl.attributes(data, 0) == {}


def test_flag_bits_are_not_the_kind() -> None:
    """The bits for nesting and byte order do not belong to an attribute's type."""
    data = struct.pack("=HH4s", 8, 0x8012, b"abcd")

    assert rtnl.attributes(data, 0) == {0x12: b"abcd"}


def test_without_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyroute2 one line says what to install."""
    rtnl._classes.cache_clear()
    monkeypatch.setitem(sys.modules, "pyroute2.netlink.rtnl.ifinfmsg", None)

    with pytest.raises(MissingError, match="pyroute2 cannot be imported") as caught:
        rtnl.Socket()

    assert "python3-pyroute2" in caught.value.hint
