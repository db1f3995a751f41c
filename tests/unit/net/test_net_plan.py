"""Plans as tables: what is wanted, what is there, and the operations in between. No kernel."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.errors import ConflictError, MissingError
from uxc.net import ops
from uxc.net.ledger import divide, recorded, teardown
from uxc.net.model import Address, Bridge, Link, Port, Route, Side, Snapshot, Wiring
from uxc.net.plan import group_of, is_ours, plan_bridge, plan_container

ALIAS, BRIDGE_ALIAS = "uxc::web", "uxc::bridge"
ADDRESS = Address(address="192.168.1.10", prefix=24, version=4, broadcast="192.168.1.255")
ROUTE = Route(target="0.0.0.0/0", version=4, gateway="192.168.1.1")
CABLE = Port(
    interface="virt0",
    device="virt0",
    name="host0",
    host="vhost0",
    bridge="br-lan",
    addresses=(ADDRESS,),
    routes=(ROUTE,),
)
LENT = Port(interface="wan2", device="eth3", name="eth0")
LOOPBACK = Link(name="lo", index=1, up=True)
LAN = Link(name="br-lan", index=5, kind="bridge", up=True)
NIC = Link(name="eth3", index=4, macaddr="00:11:22:33:44:55", permanent="00:11:22:33:44:55")
# A cable that others made, and the same once it was moved.
VHOST = Link(name="vhost0", index=7, kind="veth", peer=8)
VIRT = Link(name="virt0", index=8, kind="veth", peer=7, mtu=1400)


def side(*links: Link, **more: object) -> Side:
    """Return what was seen of one side."""
    return Side(links={link.name: link for link in links}, **more)  # type: ignore[arg-type]


def have(*host: Link, inside: Side | None = None) -> Snapshot:
    """Return a world with these links on the host, and an empty container unless told otherwise."""
    return Snapshot(host=side(*host), inside=inside or side(LOOPBACK), nsid=0)


def wired() -> Snapshot:
    """Return a world in which ``CABLE`` is wired."""
    outer = replace(VHOST, alias=ALIAS, up=True, master="br-lan", peer=2, peer_nsid=0)
    inner = Link(name="host0", index=2, kind="veth", up=True, peer=7, peer_nsid=0)
    inside = side(LOOPBACK, inner, addresses={"host0": (ADDRESS,)}, routes={"host0": (ROUTE,)})
    return have(LAN, outer, inside=inside)


def want(*ports: Port) -> Wiring:
    """Return the wiring of the container ``web``."""
    return Wiring(container="web", ports=ports)


def described(world: Snapshot, *ports: Port, ledger: tuple[ops.Op, ...] = ()) -> list[str]:
    """Return the plan as text."""
    plan = plan_container(want(*ports), world, ledger, ALIAS)
    return [op.describe() for op in (*plan.removals, *plan.steps)]


class TestCable:
    def test_all_is_made(self) -> None:
        """On an empty host: the pair, its mark, its port, then the inside, routes last."""
        assert described(have(LAN), CABLE) == [
            "make cable vhost0 with host0 in the container",
            "mark vhost0 as 'uxc::web'",
            "plug vhost0 into br-lan",
            "bring vhost0 up",
            "add address 192.168.1.10/24 to host0 in the container",
            "bring host0 in the container up",
            "add route default via 192.168.1.1 through host0 in the container",
        ]

    def test_unchanged_world(self) -> None:
        """Where everything is, nothing is planned."""
        assert described(wired(), CABLE) == []

    @pytest.mark.parametrize(
        ("outer", "inner", "planned"),
        [
            ({"up": False}, {}, ["bring vhost0 up"]),
            ({"master": None}, {}, ["plug vhost0 into br-lan"]),
            ({"master": "br-x"}, {}, ["plug vhost0 into br-lan"]),
            ({"mtu": 1400}, {}, ["set the mtu of vhost0 to 1500"]),
            ({}, {"mtu": 1400}, ["set the mtu of host0 in the container to 1500"]),
            ({}, {"up": False}, ["bring host0 in the container up"]),
        ],
    )
    def test_one_difference(
        self, outer: dict[str, object], inner: dict[str, object], planned: list[str]
    ) -> None:
        """What differs is put right, and nothing else."""
        world = wired()
        links = {**world.host.links, "vhost0": replace(world.host.links["vhost0"], **outer)}
        within = {**world.inside.links, "host0": replace(world.inside.links["host0"], **inner)}
        world = replace(
            world,
            host=replace(world.host, links=links),
            inside=replace(world.inside, links=within),
        )

        assert described(world, CABLE) == planned

    def test_mark_is_completed(self) -> None:
        """A link that died before it got its alias is known by its group, and gets the alias."""
        world = wired()
        group = group_of(ALIAS, "vhost0")
        nameless = replace(world.host.links["vhost0"], alias="", group=group)
        links = {**world.host.links, "vhost0": nameless}

        assert described(replace(world, host=replace(world.host, links=links)), CABLE) == [
            "mark vhost0 as 'uxc::web'"
        ]

    def test_other_broadcast(self) -> None:
        """An address with another broadcast address is taken away before it is added."""
        world = wired()
        other = replace(ADDRESS, broadcast=None)
        inside = replace(world.inside, addresses={"host0": (other,)})

        assert described(replace(world, inside=inside), CABLE) == [
            "remove address 192.168.1.10/24 from host0 in the container",
            "add address 192.168.1.10/24 to host0 in the container",
        ]

    def test_addresses_of_others_stay(self) -> None:
        """What a DHCP client in the container has set is not ours to remove."""
        world = wired()
        theirs = Address(address="10.0.0.9", prefix=8, version=4)
        inside = replace(world.inside, addresses={"host0": (ADDRESS, theirs)})

        assert described(replace(world, inside=inside), CABLE) == []

    def test_stale_one_is_replaced(self) -> None:
        """A host end of ours whose other end is in a namespace of the past is made again."""
        old = replace(VHOST, alias=ALIAS, peer=2, peer_nsid=9)

        planned = described(have(LAN, old), CABLE)

        assert planned[:2] == ["remove vhost0", "make cable vhost0 with host0 in the container"]

    def test_same_index_elsewhere(self) -> None:
        """Indexes that match by chance, in different namespaces, are not one cable."""
        world = replace(wired(), nsid=3)

        with pytest.raises(ConflictError, match="host0 exists already"):
            described(world, CABLE)

    @pytest.mark.parametrize(
        "taken",
        [
            replace(VHOST, kind="bridge"),
            VHOST,
            replace(VHOST, alias="uxc::other"),
            replace(VHOST, alias="uxc:0badcafe:web"),
        ],
    )
    def test_name_taken(self, taken: Link) -> None:
        """A host end that is not ours is not touched."""
        with pytest.raises(ConflictError, match="vhost0 exists already"):
            described(have(LAN, taken), CABLE)


class TestExistingPair:
    def test_peer_is_moved(self) -> None:
        """Of a pair that others made, the peer is moved; its mtu stays, its home is recorded."""
        plan = plan_container(want(CABLE), have(LAN, VHOST, VIRT), (), ALIAS)
        move = plan.steps[0]

        assert isinstance(move, ops.MoveIn)
        assert (move.index, move.name) == (8, "host0")
        assert (move.home.device, move.home.home_index, move.home.mtu) == ("virt0", 8, 1400)
        assert not any(isinstance(op, ops.SetMtu | ops.Mark) for op in plan.steps)

    def test_index_taken(self) -> None:
        """The index inside is one that no link there has."""
        inside = side(LOOPBACK, Link(name="x", index=8), Link(name="y", index=30))
        plan = plan_container(want(CABLE), have(LAN, VHOST, VIRT, inside=inside), (), ALIAS)

        assert isinstance(plan.steps[0], ops.MoveIn)
        assert plan.steps[0].index == 31

    def test_moves_come_first(self) -> None:
        """Indexes are chosen before the kernel gives one to a new link."""
        other = replace(CABLE, device="virt9", host="vhost9", name="eth9", routes=())
        plan = plan_container(want(other, CABLE), have(LAN, VHOST, VIRT), (), ALIAS)

        assert [type(op) for op in plan.steps[:2]] == [ops.MoveIn, ops.MakeCable]

    def test_in_another_bridge(self) -> None:
        """A host end that others plugged in elsewhere is a conflict."""
        with pytest.raises(ConflictError, match="shall be a port of br-lan, but is one of br-x"):
            described(have(LAN, replace(VHOST, master="br-x"), VIRT), CABLE)

    def test_not_a_pair(self) -> None:
        """A device with the peer's name that is somebody else's peer is a conflict."""
        with pytest.raises(ConflictError, match="not the other end of virt0"):
            described(have(LAN, VHOST, replace(VIRT, peer=99)), CABLE)


class TestLentDevice:
    def test_is_moved(self) -> None:
        """A lent device is moved and brought up."""
        assert described(have(NIC), LENT) == [
            "move eth3 into the container as eth0",
            "bring eth0 in the container up",
        ]

    def test_is_there(self) -> None:
        """A lent device that the ledger knows needs nothing."""
        home = plan_container(want(LENT), have(NIC), (), ALIAS).steps[0].undo()
        inner = replace(NIC, name="eth0", up=True)

        assert home is not None
        assert described(have(inside=side(LOOPBACK, inner)), LENT, ledger=(home,)) == []

    def test_is_missing(self) -> None:
        """A device that is not there is named, with its interface."""
        with pytest.raises(MissingError, match="device 'eth3' of interface 'wan2'"):
            described(have(), LENT)

    def test_may_be_missing(self) -> None:
        """Without ``required`` a missing device is no error, and no operation."""
        assert described(have(), replace(LENT, required=False)) == []

    def test_another_of_that_name_inside(self) -> None:
        """A link inside that we did not move there is a conflict."""
        inner = replace(NIC, name="eth0")
        with pytest.raises(ConflictError, match="eth0 exists already in the container"):
            described(have(inside=side(LOOPBACK, inner)), LENT)


class TestBridge:
    WANT = Bridge(name="br-lan", ports=("lan1", "lan2"), mtu=1400, addresses=(ADDRESS,))

    def _described(self, *host: Link, want: Bridge = WANT) -> list[str]:
        return [op.describe() for op in plan_bridge(want, side(*host), BRIDGE_ALIAS)]

    def test_is_made(self) -> None:
        """A bridge is made with what the host has on it, and with the ports that exist."""
        assert self._described(Link(name="lan1", index=3)) == [
            "make bridge br-lan",
            "mark br-lan as 'uxc::bridge'",
            "set the mtu of br-lan to 1400",
            "add address 192.168.1.10/24 to br-lan",
            "plug lan1 into br-lan",
            "bring lan1 up",
            "bring br-lan up",
        ]

    def test_of_others(self) -> None:
        """A bridge that others made is left as it is."""
        assert self._described(LAN, Link(name="lan1", index=3)) == []

    def test_is_completed(self) -> None:
        """A port that appears later is plugged into a bridge of ours."""
        there = replace(LAN, alias=BRIDGE_ALIAS)
        port = Link(name="lan1", index=3, up=True)

        assert self._described(there, port, want=Bridge(name="br-lan", ports=("lan1",))) == [
            "plug lan1 into br-lan"
        ]

    def test_port_of_another(self) -> None:
        """A port that is in another bridge is a conflict."""
        with pytest.raises(ConflictError, match="lan1 shall be a port of br-lan"):
            self._described(Link(name="lan1", index=3, master="br-x"))

    def test_no_bridge(self) -> None:
        """A link of that name that is no bridge is a conflict."""
        with pytest.raises(ConflictError, match="is not a bridge"):
            self._described(replace(LAN, kind="veth"))


class TestLedger:
    def _ledger(self) -> tuple[ops.Op, ...]:
        return recorded((), plan_container(want(CABLE), have(LAN), (), ALIAS).steps)

    def test_link_takes_the_rest_along(self) -> None:
        """A cable of ours is undone by removing it, whatever was set on it."""
        assert [op.describe() for op in teardown(self._ledger())] == ["remove vhost0"]

    def test_nothing_wanted(self) -> None:
        """A container without interfaces gets rid of what it had."""
        plan = plan_container(want(), wired(), self._ledger(), ALIAS)

        assert [op.describe() for op in plan.removals] == ["remove vhost0"]
        assert plan.steps == ()

    def test_other_address(self) -> None:
        """Another address: only the old one is removed."""
        new = replace(CABLE, addresses=(replace(ADDRESS, address="192.168.1.11"),))
        plan = plan_container(want(new), wired(), self._ledger(), ALIAS)

        assert [op.describe() for op in plan.removals] == [
            "remove address 192.168.1.10/24 from host0 in the container"
        ]
        assert [op.describe() for op in plan.steps] == [
            "add address 192.168.1.11/24 to host0 in the container"
        ]

    def test_other_bridge(self) -> None:
        """Another bridge: unplugged from the one, plugged into the other."""
        plan = plan_container(
            want(replace(CABLE, bridge="br-x")), wired(), self._ledger()[1:], ALIAS
        )

        assert [op.describe() for op in (*plan.removals, *plan.steps)] == [
            "unplug vhost0 from br-lan",
            "plug vhost0 into br-x",
        ]

    def test_oldest_value_is_kept(self) -> None:
        """After two changes of a foreign link's mtu, the first value is the one to go back to."""
        ledger = recorded((), (ops.SetMtu(link="vhost0", mtu=1400, old=1500),))
        ledger = recorded(ledger, (ops.SetMtu(link="vhost0", mtu=1300, old=1400),))

        assert ledger == (ops.SetMtu(link="vhost0", mtu=1500, old=1400),)

    def test_divide(self) -> None:
        """Every record belongs to what is wanted, or to what is not."""
        ledger = self._ledger()

        assert divide(want(CABLE), ledger) == (ledger, ())
        assert divide(want(), ledger) == ((), ledger)


@given(alias=st.text(min_size=1, max_size=40), name=st.text(min_size=1, max_size=15))
def test_marks(alias: str, name: str) -> None:
    """A link of ours is known by group or alias; a link with neither, or another's, is not."""
    link = Link(name=name, index=3)

    assert is_ours(replace(link, group=group_of(alias, name)), alias)
    assert is_ours(replace(link, alias=alias), alias)
    assert not is_ours(link, alias)
    assert not is_ours(replace(link, alias=f"{alias}2", group=group_of(alias, name)), alias)
    assert 0 < group_of(alias, name) < 1 << 31
