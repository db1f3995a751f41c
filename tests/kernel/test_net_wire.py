"""Wiring containers, seen through ip(8): there at once, gone again, foreign links safe."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import netlab
from netlab import ROUTER4, ROUTER6, Lab, addresses, everything, ip, link, ping, port, wiring
from uxc.errors import ConflictError, InvalidError, MissingError, SystemFailure
from uxc.linux import ns
from uxc.net import journal, wire
from uxc.net.model import Route
from uxc.paths import Paths

pytestmark = pytest.mark.needs("veth", "bridge", "ip")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A host's namespace for this test alone."""
    with netlab.laboratory(tmp_path) as lab:
        yield lab


def make_pair(host: str = "vhost0", peer: str = "virt0") -> None:
    """Make a cable as somebody else would, with settings to be recognized by."""
    ip("link", "add", "name", host, "type", "veth", "peer", "name", peer)
    ip("link", "set", peer, "address", "02:00:00:00:00:77", "mtu", "1400")


class TestCables:
    def test_is_there_with_all_it_needs(self, lab: Lab) -> None:
        """A wired container has its interface up, its addresses and its routes."""
        fd = lab.container()

        wire.wire(lab.paths, wiring(), fd)

        assert addresses("eth0", fd) == ["192.168.1.10/24", "fd00:1::a/64"]
        assert ("default", ROUTER4, "eth0") in netlab.routes(fd)
        assert ("default", ROUTER6, "eth0") in netlab.routes(fd)
        assert link("eth0", fd)["operstate"] == "UP"
        assert link("vhost0")["master"] == "br-lan"
        assert addresses("br-lan") == [f"{ROUTER4}/24", f"{ROUTER6}/64"]

    def test_broadcast_is_set(self, lab: Lab) -> None:
        """The broadcast address of the configuration reaches the kernel."""
        fd = lab.container()

        wire.wire(lab.paths, wiring(), fd)

        (shown,) = ip("-4", "address", "show", "dev", "eth0", fd=fd)
        assert shown["addr_info"][0]["broadcast"] == "192.168.1.255"

    def test_addresses_are_usable_at_once(self, lab: Lab) -> None:
        """An IPv6 address can be bound the moment that the wiring is done."""
        fd = lab.container()
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("1")

        wire.wire(lab.paths, wiring(), fd)

        with ns.entered(fd, "net"), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as server:
            server.bind(("fd00:1::a", 8080))

    def test_packets_pass(self, lab: Lab) -> None:
        """The container reaches the router, and the router the container, with both protocols."""
        fd = lab.container()

        wire.wire(lab.paths, wiring(), fd)

        assert ping(ROUTER4, fd)
        assert ping(ROUTER6, fd)
        assert ping("192.168.1.10")
        assert ping("fd00:1::a")

    def test_leaves_nothing(self, lab: Lab) -> None:
        """After unwiring, host and container are as before, and no file is left."""
        fd = lab.container()
        before = everything(), everything(fd)

        wire.wire(lab.paths, wiring(), fd)
        wire.unwire(lab.paths, "c0", fd)

        assert (everything(), everything(fd)) == before
        assert lab.files() == []

    def test_second_time_does_nothing(self, lab: Lab) -> None:
        """A plan on an unchanged world is empty, and unwiring twice is fine."""
        fd = lab.container()

        assert wire.wire(lab.paths, wiring(), fd)
        assert wire.wire(lab.paths, wiring(), fd) == []
        assert not wire.plan(lab.paths, wiring(), fd)

        wire.unwire(lab.paths, "c0", fd)
        wire.unwire(lab.paths, "c0", fd)

    def test_settings_of_both_ends(self, lab: Lab) -> None:
        """MAC addresses and mtu of the device section are those of the ends."""
        fd = lab.container()
        macs = {"host_macaddr": "02:00:00:00:00:01", "macaddr": "02:00:00:00:00:02"}

        wire.wire(lab.paths, wiring(0, port(mtu=1420, **macs)), fd)

        assert (link("vhost0")["address"], link("vhost0")["mtu"]) == (macs["host_macaddr"], 1420)
        assert (link("eth0", fd)["address"], link("eth0", fd)["mtu"]) == (macs["macaddr"], 1420)

    def test_bears_our_mark(self, lab: Lab) -> None:
        """What we made says so in its alias, and is in no group."""
        wire.wire(lab.paths, wiring(), lab.container())

        assert link("vhost0")["ifalias"] == lab.paths.link_alias("c0")
        assert link("br-lan")["ifalias"] == f"{lab.paths.alias_prefix}bridge"
        assert link("vhost0")["group"] == link("br-lan")["group"] == "default"

    def test_peer_is_never_seen_on_the_host(self, lab: Lab) -> None:
        """The end of the container is born there: no event about it reaches the host."""
        fd = lab.container()
        rtmgrp_link, netlink_route = 1, 0
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink_route) as events:
            events.bind((0, rtmgrp_link))
            wire.wire(lab.paths, wiring(), fd)
            seen = b""
            events.setblocking(False)
            try:
                while True:
                    seen += events.recv(1 << 16)
            except BlockingIOError:
                pass

        assert b"vhost0\0" in seen
        assert b"virt0\0" not in seen
        assert b"eth0\0" not in seen

    def test_without_a_bridge(self, lab: Lab) -> None:
        """A host end in no bridge gets the host's own addresses on it."""
        fd = lab.container()
        own = port(bridge=None, host_addresses=(netlab.address(f"{ROUTER4}/24"),))

        wire.wire(lab.paths, wiring(0, replace(own, routes=own.routes[:1]), bridges=()), fd)

        assert "master" not in link("vhost0")
        assert ping(ROUTER4, fd)

    def test_several_interfaces(self, lab: Lab) -> None:
        """A container may have several cables, each with its own name."""
        fd = lab.container()
        before = everything()
        second = port(1, name="eth1", routes=())

        wire.wire(lab.paths, wiring(0, port(0), second), fd)

        assert addresses("eth1", fd) == ["192.168.1.11/24", "fd00:1::b/64"]
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before

    def test_resolver(self, lab: Lab) -> None:
        """The resolver's file names the servers, keeps its inode when they change, and goes."""
        fd = lab.container()
        path = Path(wire.resolver_path(lab.paths, "c0"))

        wire.wire(lab.paths, wiring(dns=(ROUTER4, ROUTER6)), fd)
        inode = path.stat().st_ino
        wire.wire(lab.paths, wiring(dns=(ROUTER6,)), fd)

        assert path.stat().st_ino == inode
        assert path.read_text().splitlines()[1:] == [f"nameserver {ROUTER6}"]
        wire.wire(lab.paths, wiring(dns=()), fd)
        assert path.read_text().splitlines()[1:] == []
        wire.unwire(lab.paths, "c0", fd)
        assert not path.exists()


class TestBridges:
    def test_existing_one_is_only_joined(self, lab: Lab) -> None:
        """A bridge that somebody else made keeps its addresses, ports, mtu, state; and stays."""
        ip("link", "add", "name", "br-lan", "address", "02:00:00:00:00:01", "type", "bridge")
        ip("link", "add", "name", "lan1", "type", "veth", "peer", "name", "far1")
        before = everything()
        wanted = netlab.bridge(ports=("lan1",), mtu=1400, macaddr="02:00:00:00:00:09")
        fd = lab.container()

        wire.wire(lab.paths, wiring(bridges=(wanted,)), fd)

        assert link("vhost0")["master"] == "br-lan"
        assert "master" not in link("lan1")
        assert (link("br-lan")["mtu"], addresses("br-lan")) == (1500, [])
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before

    def test_keeps_its_mac_address(self, lab: Lab) -> None:
        """Containers that come and go do not change the address that the neighbours know."""
        ip("link", "add", "name", "br-lan", "type", "bridge")
        ip("link", "add", "name", "lan1", "type", "veth", "peer", "name", "far1")
        ip("link", "set", "lan1", "master", "br-lan")
        first, second = lab.container(), lab.container()
        theirs = link("br-lan")["address"]
        away = {"bridge": "br-own", "name": "eth1", "addresses": (), "routes": ()}
        wanted = (netlab.bridge(), netlab.bridge(name="br-own", addresses=()))

        wire.wire(lab.paths, wiring(0, port(0), port(1, **away), bridges=wanted), first)
        ours = link("br-own")["address"]
        low = port(3, host_macaddr="02:00:00:00:00:00", **away)
        wire.wire(lab.paths, wiring(2, port(2), low, bridges=wanted), second)

        assert (link("br-lan")["address"], link("br-own")["address"]) == (theirs, ours)

    def test_named_ports_are_plugged_in(self, lab: Lab) -> None:
        """A bridge of ours takes the named links that exist, and gives them back as they were."""
        ip("link", "add", "name", "lan1", "type", "veth", "peer", "name", "far1")
        ip("link", "add", "name", "lan2", "type", "veth", "peer", "name", "far2")
        ip("link", "set", "lan2", "up")
        before = everything()
        fd = lab.container()
        wanted = netlab.bridge(ports=("lan1", "lan2", "lan3"), mtu=1400)

        wire.wire(lab.paths, wiring(bridges=(wanted,)), fd)

        for name in ("lan1", "lan2"):
            assert link(name)["master"] == "br-lan"
            assert "UP" in link(name)["flags"]
        assert link("br-lan")["mtu"] == 1400
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before

    def test_lives_as_long_as_it_is_used(self, lab: Lab) -> None:
        """A bridge of ours goes with the last container on it, whichever came first."""
        first, second = lab.container(), lab.container()
        before = everything()

        wire.wire(lab.paths, wiring(0), first)
        wire.wire(lab.paths, wiring(1), second)
        assert ping("192.168.1.11", first)
        wire.unwire(lab.paths, "c0", first)
        assert ping(ROUTER4, second)
        wire.unwire(lab.paths, "c1", second)

        assert everything() == before
        assert lab.files() == []

    def test_made_again_by_others(self, lab: Lab) -> None:
        """A bridge that was replaced by somebody else's of that name is theirs."""
        fd = lab.container()
        wire.wire(lab.paths, wiring(), fd)
        ip("link", "delete", "br-lan")
        ip("link", "add", "name", "br-lan", "type", "bridge")

        wire.unwire(lab.paths, "c0", fd)

        assert link("br-lan")
        assert lab.files() == []

    def test_of_another_prefix(self, lab: Lab, tmp_path: Path) -> None:
        """Two prefixes share a bridge; the one that did not make it leaves it alone."""
        other = Paths(str(tmp_path / "other"))
        first, second = lab.container(), lab.container()
        wire.wire(lab.paths, wiring(0), first)
        wire.wire(other, wiring(1), second)

        assert link("vhost1")["ifalias"] == other.link_alias("c1") != lab.paths.link_alias("c1")
        wire.unwire(other, "c1", second)
        assert ping(ROUTER4, first)
        wire.unwire(lab.paths, "c0", first)
        assert not link("br-lan")


class TestExistingDevices:
    def test_peer_is_moved_and_comes_back(self, lab: Lab) -> None:
        """The peer of an existing cable is moved; it returns with name, MAC, mtu, index, state."""
        make_pair()
        ip("link", "set", "virt0", "up")
        ip("address", "add", "10.9.9.9/24", "dev", "virt0")
        before = everything()
        fd = lab.container()
        changed = port(macaddr="02:00:00:00:00:88", mtu=1300)

        wire.wire(lab.paths, wiring(0, changed), fd)

        assert not link("virt0")
        assert (link("eth0", fd)["address"], link("eth0", fd)["mtu"]) == (changed.macaddr, 1300)
        assert link("vhost0")["master"] == "br-lan"
        assert "ifalias" not in link("vhost0")
        assert ping(ROUTER4, fd)
        assert wire.wire(lab.paths, wiring(0, changed), fd) == []
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before
        assert lab.files() == []

    def test_keeps_what_nobody_asked_to_change(self, lab: Lab) -> None:
        """A moved peer keeps its own MAC address and mtu when the configuration names none."""
        make_pair()
        fd = lab.container()

        wire.wire(lab.paths, wiring(), fd)

        assert (link("eth0", fd)["address"], link("eth0", fd)["mtu"]) == ("02:00:00:00:00:77", 1400)

    def test_comes_back_whatever_was_done_to_it(self, lab: Lab) -> None:
        """A program in the container may rename it and change its MAC: it is still found."""
        make_pair()
        before = everything()
        fd = lab.container()
        wire.wire(lab.paths, wiring(), fd)
        ip("link", "set", "eth0", "down", fd=fd)
        ip("link", "set", "eth0", "name", "hidden", "address", "02:00:00:00:00:99", fd=fd)

        wire.unwire(lab.paths, "c0", fd)

        assert everything() == before

    def test_lent_device(self, lab: Lab) -> None:
        """A device that is no cable's peer is lent: moved in, and back at the end."""
        make_pair("far0", "nic0")
        ip("link", "add", "name", "br-other", "type", "bridge")
        ip("link", "set", "nic0", "master", "br-other")
        before = everything()
        fd = lab.container()
        lent = port(device="nic0", host=None, bridge=None, routes=())

        wire.wire(lab.paths, wiring(0, lent, bridges=()), fd)

        assert not link("nic0")
        assert addresses("eth0", fd) == ["192.168.1.10/24", "fd00:1::a/64"]
        assert wire.wire(lab.paths, wiring(0, lent, bridges=()), fd) == []
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before

    def test_index_taken_inside(self, lab: Lab) -> None:
        """A device whose index somebody in the container has already gets another one there."""
        fd = lab.container()
        make_pair("far0", "nic0")
        index = link("nic0")["ifindex"]
        with_index = ("name", "own", "index", str(index), "type", "bridge")
        ip("link", "add", *with_index, fd=fd)
        before = everything()
        lent = port(device="nic0", host=None, bridge=None, routes=())

        wire.wire(lab.paths, wiring(0, lent, bridges=()), fd)
        assert link("eth0", fd)["ifindex"] != index
        wire.unwire(lab.paths, "c0", fd)

        assert everything() == before

    def test_name_taken_at_home(self, lab: Lab) -> None:
        """A device whose name was taken meanwhile stays, is told about, and returns later."""
        make_pair("far0", "nic0")
        before = everything()
        fd = lab.container()
        lent = port(device="nic0", host=None, bridge=None, routes=())
        wire.wire(lab.paths, wiring(0, lent, bridges=()), fd)
        ip("link", "add", "name", "nic0", "type", "bridge")

        with pytest.raises(ConflictError, match="c0: cannot move eth0 back to the host as nic0"):
            wire.unwire(lab.paths, "c0", fd)

        ip("link", "delete", "nic0")
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before

    def test_missing_device(self, lab: Lab) -> None:
        """A device that is not there is named, and nothing was done."""
        before = everything()
        lent = port(device="nic7", host=None, bridge=None)

        with pytest.raises(MissingError, match="device 'nic7' of interface 'virt0'"):
            wire.wire(lab.paths, wiring(0, lent), lab.container())

        assert everything() == before
        assert lab.files() == []

    def test_missing_device_that_may_be_missing(self, lab: Lab) -> None:
        """Without ``required`` the container goes without, and gets the device when it comes."""
        fd = lab.container()
        lent = port(1, device="nic0", host=None, bridge=None, name="eth1", required=False)
        wanted = wiring(0, port(), replace(lent, routes=()))

        wire.wire(lab.paths, wanted, fd)
        assert not link("eth1", fd)
        make_pair("far0", "nic0")
        wire.wire(lab.paths, wanted, fd)

        assert link("eth1", fd)


class TestConflicts:
    def test_host_end_taken(self, lab: Lab) -> None:
        """A link of somebody else's with the name of our host end is not touched."""
        ip("link", "add", "name", "vhost0", "type", "bridge")
        before = everything()

        with pytest.raises(ConflictError, match="vhost0 exists already") as caught:
            wire.wire(lab.paths, wiring(), lab.container())

        assert "ip link delete vhost0" in caught.value.hint
        assert everything() == before

    def test_peer_name_taken(self, lab: Lab) -> None:
        """A device with the peer's name that is not the peer is not touched."""
        ip("link", "add", "name", "virt0", "type", "bridge")
        before = everything()

        with pytest.raises(ConflictError, match="virt0 exists already"):
            wire.wire(lab.paths, wiring(), lab.container())

        assert everything() == before

    def test_name_inside_taken(self, lab: Lab) -> None:
        """A link in the container with the wanted name is not touched."""
        fd = lab.container()
        ip("link", "add", "name", "eth0", "type", "bridge", fd=fd)
        before = everything(fd)

        with pytest.raises(ConflictError, match="eth0 exists already in the container"):
            wire.wire(lab.paths, wiring(), fd)

        assert everything(fd) == before

    def test_bridge_is_none(self, lab: Lab) -> None:
        """A link with the bridge's name that is no bridge is refused."""
        ip("link", "add", "name", "br-lan", "type", "veth", "peer", "name", "x")

        with pytest.raises(ConflictError, match="br-lan exists already and is not a bridge"):
            wire.wire(lab.paths, wiring(), lab.container())

    def test_replaced_by_others_is_theirs(self, lab: Lab) -> None:
        """A link of somebody else's that has the name of one of ours survives unwiring."""
        fd = lab.container()
        wire.wire(lab.paths, wiring(), fd)
        ip("link", "delete", "vhost0")
        ip("link", "add", "name", "vhost0", "type", "bridge")

        wire.unwire(lab.paths, "c0", fd)

        assert link("vhost0")

    def test_bad_gateway(self, lab: Lab) -> None:
        """A gateway outside all subnets: the kernel's reason, a hint, and nothing left."""
        fd = lab.container()
        before = everything(), everything(fd)
        routes = (Route(target="0.0.0.0/0", version=4, gateway="10.66.66.1"),)

        with pytest.raises(SystemFailure, match=r"cannot add route default via 10\.66") as caught:
            wire.wire(lab.paths, wiring(0, port(routes=routes)), fd)

        assert "gateway" in caught.value.hint
        assert (everything(), everything(fd)) == before
        assert lab.files() == []

    def test_two_default_routes(self, lab: Lab) -> None:
        """Two interfaces with a gateway each: the second route is refused, nothing is left."""
        fd = lab.container()
        before = everything()

        with pytest.raises(ConflictError, match="another route to the same target"):
            wire.wire(lab.paths, wiring(0, port(0), port(1, name="eth1")), fd)

        assert everything() == before

    def test_multicast_mac(self, lab: Lab) -> None:
        """A MAC address that no device can have is told so."""
        with pytest.raises(SystemFailure, match="not a MAC address for one device"):
            wire.wire(lab.paths, wiring(0, port(macaddr="01:00:00:00:00:01")), lab.container())

    def test_damaged_journal(self, lab: Lab) -> None:
        """A journal that is no JSON is named, not ignored."""
        wire.wire(lab.paths, wiring(), lab.container())
        Path(journal.container_path(lab.paths, "c0")).write_text("{")

        with pytest.raises(InvalidError, match=r"c0\.json: not JSON"):
            wire.unwire(lab.paths, "c0")


class TestNamespaceDeath:
    def test_takes_the_cable_along(self, lab: Lab) -> None:
        """After the namespace died, unwiring finds nothing to do but the bridge."""
        before = everything()
        fd = lab.container()
        wire.wire(lab.paths, wiring(), fd)
        lab.kill(fd)

        wire.unwire(lab.paths, "c0", wire.GONE)

        _soon(lambda: everything() == before)
        assert lab.files() == []

    def test_wired_again_in_a_new_one(self, lab: Lab) -> None:
        """A new namespace for the same container is wired, whether or not the old cable is gone."""
        old = lab.container()
        wire.wire(lab.paths, wiring(), old)
        new = lab.container()

        wire.wire(lab.paths, wiring(), new)

        assert ping(ROUTER4, new)
        assert not link("eth0", old)


def _soon(condition: Callable[[], bool]) -> None:
    """Wait until the kernel, which takes namespaces apart in its own time, has done so."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_fifty_containers(lab: Lab) -> None:
    """Fifty containers on one bridge all reach the router; ``-s`` shows the time of each."""
    fds = [lab.container() for _ in range(50)]
    before = everything()
    times = []
    for number, fd in enumerate(fds):
        start = time.perf_counter()
        wire.wire(lab.paths, wiring(number), fd)
        times.append(time.perf_counter() - start)
    times.sort()
    sys.stdout.write(f" [50 containers wired, median {times[25] * 1000:.1f} ms each] ")

    assert ping(ROUTER4, fds[0])
    assert ping(ROUTER4, fds[49])
    assert [wire.wire(lab.paths, wiring(number), fd) for number, fd in enumerate(fds)] == [[]] * 50
    for number, fd in enumerate(fds):
        wire.unwire(lab.paths, f"c{number}", fd)
    assert everything() == before
    assert lab.files() == []
