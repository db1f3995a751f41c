"""Network sections → wiring, by small configurations."""

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from uxc.config.models import Bridge, Config, Interface, Place, Veth
from uxc.manager import wiring
from uxc.net.model import Address, Route

PLACE = Place(file="/etc/config/network", line=1, section="x")
VETH = Veth(
    name="vhost0", place=PLACE, peer_name="virt0", mtu=1400, peer_macaddr="02:00:00:00:AB:CD"
)
LAN = Interface(
    name="lan",
    place=PLACE,
    device="br-lan",
    proto="static",
    addresses=(ip_interface("192.168.1.1/24"), ip_interface("fd00::1/64")),
)
VIRT = Interface(
    name="virt0", place=PLACE, device="virt0", jail="web", jail_device="host0", dns=("192.168.1.1",)
)
BRIDGE = Bridge(name="br-lan", place=PLACE, ports=("lan1", "vhost0", "vhost9"))
OTHER = Veth(name="vhost9", place=PLACE, peer_name="virt9")


def config(*interfaces: Interface) -> Config:
    """Return a configuration with a LAN bridge, two cables and the given interfaces."""
    return Config(
        veths={"vhost0": VETH, "vhost9": OTHER},
        bridges={"br-lan": BRIDGE},
        interfaces={entry.name: entry for entry in interfaces},
    )


def test_a_cable() -> None:
    """A device that is a veth's peer is a cable: both ends, the bridge, the name inside."""
    (port,) = wiring.of(config(LAN, VIRT), "web").ports

    assert (port.host, port.device, port.name, port.bridge) == (
        "vhost0",
        "virt0",
        "host0",
        "br-lan",
    )
    assert (port.mtu, port.macaddr, port.host_macaddr) == (1400, "02:00:00:00:ab:cd", None)
    assert port.required


def test_a_lent_device() -> None:
    """A device that is nobody's peer is lent, under its own name unless told otherwise."""
    lent = replace(VIRT, device="eth3", jail_device="eth3", required=False)
    (port,) = wiring.of(config(LAN, lent), "web").ports

    assert (port.host, port.device, port.name, port.bridge) == (None, "eth3", "eth3", None)
    assert not port.required


def test_the_bridge() -> None:
    """The bridge has the host's addresses, and as ports only what exists without us."""
    (bridge,) = wiring.of(config(LAN, VIRT), "web").bridges

    assert (bridge.name, bridge.ports) == ("br-lan", ("lan1",))
    assert bridge.addresses == (
        Address(address="192.168.1.1", prefix=24, version=4, broadcast="192.168.1.255"),
        Address(address="fd00::1", prefix=64, version=6),
    )


def test_bridge_once() -> None:
    """Two cables into one bridge name it once."""
    second = replace(VIRT, name="virt9", device="virt9", jail_device="host9")
    wires = wiring.of(replace(config(LAN, VIRT, second), bridges={"br-lan": BRIDGE}), "web")

    assert [bridge.name for bridge in wires.bridges] == ["br-lan"]
    assert [port.name for port in wires.ports] == ["host0", "host9"]


def test_static() -> None:
    """Addresses, default routes and name servers of a static interface."""
    static = replace(
        VIRT,
        proto="static",
        addresses=(ip_interface("192.168.1.10/24"), ip_interface("fd00::a/64")),
        gateway="192.168.1.1",
        ip6gw="fd00::1",
    )
    wires = wiring.of(config(LAN, static), "web")

    assert [str(entry) for entry in wires.ports[0].addresses] == ["192.168.1.10/24", "fd00::a/64"]
    assert wires.ports[0].routes == (
        Route(target="0.0.0.0/0", version=4, gateway="192.168.1.1"),
        Route(target="::/0", version=6, gateway="fd00::1"),
    )
    assert wires.dns == ("192.168.1.1",)


def test_proto_none() -> None:
    """Without a protocol the container configures its interface itself."""
    (port,) = wiring.of(config(LAN, VIRT), "web").ports

    assert (port.addresses, port.routes) == ((), ())


@pytest.mark.parametrize(
    ("text", "broadcast"),
    [
        ("10.0.0.1/30", "10.0.0.3"),
        ("10.0.0.1/31", None),
        ("10.0.0.1/32", None),
        ("fd00::1/64", None),
    ],
)
def test_broadcast(text: str, broadcast: str | None) -> None:
    """Networks with room for it have a broadcast address."""
    lan = replace(LAN, addresses=(ip_interface(text),))
    (bridge,) = wiring.of(config(lan, VIRT), "web").bridges

    assert bridge.addresses[0].broadcast == broadcast


def test_host_end_with_addresses() -> None:
    """The host's static interface on the host end of a cable gives it its addresses."""
    link = replace(LAN, name="link", device="vhost0")
    bare = replace(config(VIRT, link), bridges={})
    (port,) = wiring.of(bare, "web").ports

    assert [str(entry) for entry in port.host_addresses] == ["192.168.1.1/24", "fd00::1/64"]


def test_jailed_addresses_stay_off_the_host() -> None:
    """What a jailed interface has is never the host's."""
    jailed = replace(LAN, jail="other", jail_device="eth0")
    (bridge,) = wiring.of(config(jailed, VIRT), "web").bridges

    assert bridge.addresses == ()


def test_shown() -> None:
    """The list shows the name inside, the host's end, the bridge and the addresses."""
    static = replace(VIRT, proto="static", addresses=(ip_interface("192.168.1.10/24"),))

    assert wiring.shown(wiring.of(config(LAN, static), "web")) == [
        {
            "name": "host0",
            "peer": "vhost0",
            "bridge": "br-lan",
            "addresses": ["192.168.1.10/24"],
        }
    ]


def test_nobody() -> None:
    """A container that no interface names is not wired."""
    assert wiring.of(config(LAN, VIRT), "mail") == wiring.Wiring(container="mail")
