"""Compare what a container shall have with what the kernel has: the operations in between.

An unchanged world gives an empty plan; so verifying is planning again. Present and not wanted is a
difference only for what our own journal says that we made: a DHCP client in the container sets
addresses and routes too, and those are its own.
"""

import zlib
from dataclasses import dataclass, replace

from uxc.errors import ConflictError, MissingError
from uxc.net import ops
from uxc.net.ledger import LOOPBACK, Ledger, divide, teardown
from uxc.net.model import Address, Bridge, Link, Port, Side, Snapshot, Wiring
from uxc.net.ops import Op, SideName

DEFAULT_MTU = 1500


@dataclass(frozen=True, slots=True)
class Plan:
    """The way to a wiring: undo records of what is not wanted any more, then what is missing."""

    removals: tuple[Op, ...] = ()
    steps: tuple[Op, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removals or self.steps)


def group_of(alias: str, link: str) -> int:
    """Return the IFLA_GROUP that a link of ours has from its first instant until it has its alias.

    The kernel takes a group, but no alias, in the message that makes a link; so there is no moment
    at which a link of ours bears no mark.
    """
    return zlib.crc32(f"{alias} {link}".encode()) & 0x7FFFFFFF | 1


def is_ours(link: Link, alias: str) -> bool:
    """Tell whether we made ``link``, as its alias or its group says."""
    return link.alias == alias or (not link.alias and link.group == group_of(alias, link.name))


def plan_bridge(want: Bridge, host: Side, alias: str) -> tuple[Op, ...]:
    """Return what makes the bridge; nothing when somebody else made it.

    Raises ConflictError when the name, or one of the ports, is taken.
    """
    have = host.links.get(want.name)
    plan: list[Op] = []
    if have is None:
        group = group_of(alias, want.name)
        plan.append(ops.MakeBridge(link=want.name, macaddr=want.macaddr, alias=alias, group=group))
        have = Link(name=want.name, index=0, kind="bridge", mtu=0)
        have = replace(have, macaddr=want.macaddr or "", group=group)
    elif have.kind != "bridge":
        raise ConflictError(
            f"{want.name} exists already and is not a bridge",
            "rename that link, or give the bridge another name in /etc/config/network",
        )
    elif not is_ours(have, alias):
        return ()
    if have.alias != alias:
        plan.append(ops.Mark(link=want.name, alias=alias))
    plan += _tune("host", have, want.macaddr, want.mtu)
    plan += _address("host", want.name, want.addresses, host)
    for name in want.ports:
        port = host.links.get(name)
        if port is None or port.master == want.name:
            continue
        if port.master:
            raise ConflictError(
                f"{name} shall be a port of {want.name}, but is one of {port.master}",
                f"take it off one of them in /etc/config/network, or 'ip link set {name} nomaster'",
            )
        plan.append(ops.Enslave(link=name, bridge=want.name))
        if not port.up:
            plan.append(ops.Up(link=name))
    if not have.up:
        plan.append(ops.Up(link=want.name))
    return tuple(plan)


def plan_container(want: Wiring, have: Snapshot, ledger: Ledger, alias: str) -> Plan:
    """Return what brings the container's wiring from ``have`` to ``want``; bridges come before.

    ``ledger`` says what was done for the container until now. Raises ConflictError when a name is
    taken by something that is not ours, MissingError when a device that shall be lent is not there.
    """
    removals = teardown(divide(want, ledger)[1])
    for record in removals:
        have = _after(have, record)
    moving: list[Op] = []
    making: list[Op] = []
    settling: list[Op] = []
    inside: list[Op] = []
    taken = {link.index for link in have.inside.links.values()}
    loopback = have.inside.links.get(LOOPBACK)
    if loopback is not None and not loopback.up:
        inside.append(ops.Up(side="inside", link=LOOPBACK))
    for port in want.ports:
        inner: Link | None
        mtu = None
        if port.host is None:
            base, inner = _lend(port, have, ledger, taken)
        else:
            base, outer, inner = _plug(port, port.host, have, alias, taken)
            settling += _settle_outer(port, outer, have.host, alias)
            mtu = DEFAULT_MTU if is_ours(outer, alias) else None
        for op in base:
            (moving if isinstance(op, ops.MoveIn) else making).append(op)
        if inner is not None:
            inside += _settle_inner(_with_defaults(port, mtu, ledger), inner, have.inside)
    # A move brings its index along, so it comes before the kernel chooses one for a new link.
    steps = (*moving, *making, *settling, *inside)
    wrong = tuple(op for op in steps if isinstance(op, ops.RemoveAddress))
    return Plan((*removals, *wrong), tuple(op for op in steps if op not in wrong))


def _plug(
    port: Port, host: str, have: Snapshot, alias: str, taken: set[int]
) -> tuple[list[Op], Link, Link]:
    """Return the operations that make a cable reach into the container, and both ends after them.

    A peer that somebody else made is moved; else the pair is ours to make, with the peer in place.
    """
    outer = have.host.links.get(host)
    inner = have.inside.links.get(port.name)
    peer = have.host.links.get(port.device)
    base: list[Op] = []
    if inner is not None:
        if outer is not None and _connected(outer, inner, have.nsid):
            return base, outer, inner
        raise _taken_inside(port)
    if outer is not None and peer is not None and _is_pair(outer, peer):
        move, inner = _move(port, peer, have, taken)
        return [move], outer, inner
    if outer is not None:
        if not (outer.kind == "veth" and is_ours(outer, alias)):
            raise ConflictError(
                f"{host} exists already and is not the other end of {port.device}",
                f"remove it ('ip link delete {host}') or name the cable of '{port.interface}' "
                "differently in /etc/config/network",
            )
        # Ours, but what it was plugged into is gone: it belongs to a namespace that has died.
        base.append(_make(port, host, alias).undo())
    elif peer is not None:
        raise ConflictError(
            f"{port.device} exists already and is not the other end of {host}",
            f"remove it ('ip link delete {port.device}') or name the cable of '{port.interface}' "
            "differently in /etc/config/network",
        )
    make = _make(port, host, alias)
    base.append(make)
    mtu = port.mtu or DEFAULT_MTU
    outer = Link(name=host, index=0, kind="veth", mtu=mtu, group=make.group)
    outer = replace(outer, macaddr=port.host_macaddr or "")
    inner = Link(name=port.name, index=0, kind="veth", mtu=mtu, macaddr=port.macaddr or "")
    return base, outer, inner


def _lend(
    port: Port, have: Snapshot, ledger: Ledger, taken: set[int]
) -> tuple[list[Op], Link | None]:
    """Return what moves a device of the host in, and the device after that; None: go without."""
    inner = have.inside.links.get(port.name)
    if inner is not None:
        home = _home(port, ledger)
        if home is not None and home.index == inner.index:
            return [], inner
        raise _taken_inside(port)
    device = have.host.links.get(port.device)
    if device is None:
        if not port.required:
            return [], None
        raise MissingError(
            f"device '{port.device}' of interface '{port.interface}' does not exist",
            "plug it in or load its driver; for a cable, write a device section of type 'veth' "
            f"with peer_name '{port.device}'",
        )
    move, inner = _move(port, device, have, taken)
    return [move], inner


def _home(port: Port, ledger: Ledger) -> ops.MoveOut | None:
    """Return what moves the port's device back to the host, if it was moved in by us."""
    moves = (record for record in ledger if isinstance(record, ops.MoveOut))
    wanted = (port.name, port.device)
    return next((record for record in moves if (record.link, record.device) == wanted), None)


def _with_defaults(port: Port, mtu: int | None, ledger: Ledger) -> Port:
    """Return ``port`` with the values that its device shall have when the user asks for none.

    A moved device has again what it had at home, a cable of ours ``mtu``.
    """
    home = _home(port, ledger)
    if home is not None:
        return replace(port, macaddr=port.macaddr or home.macaddr, mtu=port.mtu or home.mtu)
    return replace(port, mtu=port.mtu or mtu)


def _make(port: Port, host: str, alias: str) -> ops.MakeCable:
    return ops.MakeCable(
        link=host,
        name=port.name,
        macaddr=port.host_macaddr,
        peer_macaddr=port.macaddr,
        mtu=port.mtu,
        alias=alias,
        group=group_of(alias, host),
    )


def _move(port: Port, device: Link, have: Snapshot, taken: set[int]) -> tuple[ops.MoveIn, Link]:
    """Return what moves a device in, and the device after that; its index joins ``taken``."""
    index = device.index if device.index not in taken else max(taken) + 1
    taken.add(index)
    home = ops.MoveOut(
        link=port.name,
        index=index,
        home_index=device.index,
        device=device.name,
        kind=device.kind,
        peer=device.peer,
        macaddr=device.macaddr,
        mtu=device.mtu,
        up=device.up,
        master=device.master,
        permanent=device.permanent,
        addresses=have.host.addresses.get(device.name, ()),
    )
    move = ops.MoveIn(
        link=device.name, index=index, name=port.name, macaddr=port.macaddr, home=home
    )
    inner = replace(device, name=port.name, index=index, up=False, master=None)
    return move, replace(inner, macaddr=port.macaddr or device.macaddr)


def _settle_outer(port: Port, outer: Link, host: Side, alias: str) -> list[Op]:
    """Return what the host end still needs; of a pair that is not ours, only what was asked for."""
    plan: list[Op] = []
    ours = is_ours(outer, alias)
    if ours and outer.alias != alias:
        plan.append(ops.Mark(link=outer.name, alias=alias))
    plan += _tune("host", outer, port.host_macaddr, port.mtu or (DEFAULT_MTU if ours else None))
    if ours:
        # A pair that we are about to make has nothing that its predecessor had.
        have = host if outer.index else Side()
        plan += _address("host", outer.name, port.host_addresses, have)
    if port.bridge and outer.master != port.bridge:
        if outer.master and not ours:
            raise ConflictError(
                f"{outer.name} shall be a port of {port.bridge}, but is one of {outer.master}",
                f"take it off one of them, or 'ip link set {outer.name} nomaster'",
            )
        plan.append(ops.Enslave(link=outer.name, bridge=port.bridge))
    if not outer.up:
        plan.append(ops.Up(link=outer.name))
    return plan


def _settle_inner(port: Port, inner: Link, inside: Side) -> list[Op]:
    """Return what the end in the container still needs; addresses come before it is up."""
    have = inside if port.name in inside.links else Side()
    plan = _tune("inside", inner, port.macaddr, port.mtu)
    plan += _address("inside", port.name, port.addresses, have)
    if not inner.up:
        plan.append(ops.Up(side="inside", link=port.name))
    routes = have.routes.get(port.name, ())
    plan += (
        ops.AddRoute(link=port.name, route=route) for route in port.routes if route not in routes
    )
    return plan


def _tune(side: SideName, have: Link, macaddr: str | None, mtu: int | None) -> list[Op]:
    plan: list[Op] = []
    if macaddr and macaddr != have.macaddr:
        plan.append(ops.SetMac(side=side, link=have.name, macaddr=macaddr, old=have.macaddr))
    if mtu and mtu != have.mtu:
        plan.append(ops.SetMtu(side=side, link=have.name, mtu=mtu, old=have.mtu))
    return plan


def _address(side: SideName, link: str, want: tuple[Address, ...], have: Side) -> list[Op]:
    """Return what gives ``link`` the addresses that it lacks.

    The kernel cannot change the broadcast address of an address: that one is removed and added.
    """
    plan: list[Op] = []
    there = {(entry.address, entry.prefix): entry for entry in have.addresses.get(link, ())}
    for address in want:
        found = there.get((address.address, address.prefix))
        if found is not None:
            if address.broadcast in (None, found.broadcast):
                continue
            plan.append(ops.RemoveAddress(side=side, link=link, address=found))
        plan.append(ops.AddAddress(side=side, link=link, address=address))
    return plan


def _connected(outer: Link, inner: Link, nsid: int | None) -> bool:
    """Tell whether both are ends of one cable: each names the other's index and namespace."""
    return (
        outer.kind == inner.kind == "veth"
        and (outer.peer, inner.peer) == (inner.index, outer.index)
        and outer.peer_nsid is not None
        and outer.peer_nsid == nsid
    )


def _is_pair(outer: Link, peer: Link) -> bool:
    """Tell whether both are ends of one cable that lies in the host's namespace."""
    return (
        outer.kind == peer.kind == "veth"
        and (outer.peer, peer.peer) == (peer.index, outer.index)
        and outer.peer_nsid is None
        and peer.peer_nsid is None
    )


def _taken_inside(port: Port) -> ConflictError:
    return ConflictError(
        f"{port.name} exists already in the container, and is not {port.device}",
        f"choose another jail_device for interface '{port.interface}'",
    )


def _after(have: Snapshot, record: Op) -> Snapshot:
    """Return what the kernel has after ``record``, as far as the plan depends on it."""
    host, inside = have.host, have.inside
    if isinstance(record, ops.RemoveLink):
        if record.peer:
            inside = _without(inside, record.peer)
        host = _without(host, record.link)
    elif isinstance(record, ops.MoveOut):
        there = inside.links.get(record.link)
        if there is not None:
            home = replace(there, name=record.device, macaddr=record.macaddr, mtu=record.mtu)
            home = replace(home, index=record.home_index, up=record.up, master=record.master)
            home = replace(home, peer_nsid=None)
            ends = {
                name: replace(link, peer=home.index, peer_nsid=None)
                for name, link in host.links.items()
                if (link.index, link.kind) == (there.peer, "veth")
            }
            host = replace(host, links={**host.links, **ends, record.device: home})
        inside = _without(inside, record.link)
    elif isinstance(record, ops.Release) and record.link in host.links:
        link = replace(host.links[record.link], master=None)
        host = replace(host, links={**host.links, record.link: link})
    return replace(have, host=host, inside=inside)


def _without(side: Side, link: str) -> Side:
    return replace(
        side,
        links={name: entry for name, entry in side.links.items() if name != link},
        addresses={name: entry for name, entry in side.addresses.items() if name != link},
        routes={name: entry for name, entry in side.routes.items() if name != link},
    )
