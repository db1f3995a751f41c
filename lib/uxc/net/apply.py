"""Carry out operations: each becomes one netlink message, and consecutive ones travel together."""

import errno
import os
from collections.abc import Sequence

from uxc.net import messages, observe, ops
from uxc.net.ops import Op
from uxc.net.rtnl import Message
from uxc.net.undo import take_back
from uxc.net.world import StepError, World

_MAKING = ops.MakeBridge | ops.MakeCable
_REMOVING = ops.RemoveLink | ops.MoveOut | ops.Release | ops.Down | ops.RemoveAddress


def carry_out(steps: Sequence[Op], world: World) -> None:
    """Carry out ``steps`` in their order; StepError for the first one that the kernel refuses.

    Steps behind a refused one may have been carried out too: undo all of them.
    """
    waiting: list[tuple[Op, Message]] = []
    for op in steps:
        removing = isinstance(op, _REMOVING | ops.RemoveRoute)
        if waiting and (
            removing
            or waiting[0][0].side != op.side
            # A host end that comes up after a refused move would give its peer, still here, an
            # address.
            or isinstance(waiting[-1][0], ops.MoveIn)
            # What was made has an index only after the kernel has made it.
            or not all(world.knows(op.side, name) for name in _needed(op))
        ):
            _send(waiting, world)
            waiting = []
        if removing:
            take_back(op, world)
        else:
            waiting.append((op, _encode(op, world)))
    if waiting:
        _send(waiting, world)


def _send(waiting: list[tuple[Op, Message]], world: World) -> None:
    """Send one batch; learn the indexes of the links in it that are new."""
    made = [op for op, _ in waiting if isinstance(op, _MAKING)]
    requests = [message for _, message in waiting]
    requests += (observe.get_link(op.link) for op in made)
    answers = world.socket(waiting[0][0].side).batch(requests)
    for (op, _), answer in zip(waiting, answers, strict=False):
        if answer.error is not None:
            raise StepError(op, answer.error)
    for op, answer in zip(made, answers[len(waiting) :], strict=True):
        found = observe.indexes_in(answer)
        if found is None:
            raise StepError(op, OSError(errno.ENODEV, os.strerror(errno.ENODEV)))
        world.remember(op.side, op.link, found[0])
        if isinstance(op, ops.MakeCable):
            world.remember("inside", op.name, found[1])
    for op, _ in waiting:
        if isinstance(op, ops.MoveIn):
            world.forget(op.side, op.link)
            world.remember("inside", op.name, op.index)


def _needed(op: Op) -> tuple[str, ...]:
    """Return the links whose index the message for ``op`` holds."""
    if isinstance(op, _MAKING):
        return ()
    return (op.link, op.bridge) if isinstance(op, ops.Enslave) else (op.link,)


def _encode(op: Op, world: World) -> Message:
    """Return the message that carries out ``op``."""
    match op:
        case ops.MakeBridge():
            # One from the kernel would follow the lowest of the ports: the neighbours would lose
            # the router whenever a container with a low one comes or goes.
            return messages.make_bridge(op.link, op.group, op.macaddr or _random_mac(0x02))
        case ops.MakeCable():
            peer = messages.peer_in(world.netns_fd, op.name, op.peer_macaddr, op.mtu)
            # For the same reason ours is a high one, as the bridge may be somebody else's.
            macaddr = op.macaddr or _random_mac(0xFE)
            return messages.make_cable(op.link, op.group, macaddr, op.mtu, peer)
    index = world.index(op, op.link)
    match op:
        case ops.Mark():
            return messages.set_link(index, ("IFLA_IFALIAS", op.alias), ("IFLA_GROUP", 0))
        case ops.MoveIn():
            return messages.move(index, world.netns_fd, op.name, op.macaddr, op.index)
        case ops.Enslave():
            return messages.set_link(index, ("IFLA_MASTER", world.index(op, op.bridge)))
        case ops.Up():
            return messages.set_up(index, True)
        case ops.SetMac():
            return messages.set_link(index, ("IFLA_ADDRESS", op.macaddr))
        case ops.SetMtu():
            return messages.set_link(index, ("IFLA_MTU", op.mtu))
        case ops.AddAddress():
            return messages.add_address(index, op.address, nodad=True)
        case ops.AddRoute():
            return messages.add_route(index, op.route)
    raise TypeError(f"{type(op).__name__} is an undo record")


def _random_mac(first: int) -> str:
    """Return a MAC address of local administration, for one device, that begins with ``first``."""
    return bytes((first, *os.urandom(5))).hex(":")
