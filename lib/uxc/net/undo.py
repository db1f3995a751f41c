"""Carry out undo records, each as if it were the first time: done, half done or never done.

Every record looks before it acts, since the process that wrote it may have died before the step,
and the world has gone on since. What vanished by itself is fine; what is not ours is left alone.
"""

import errno
import os

from uxc.net import messages, observe, ops
from uxc.net.model import Link
from uxc.net.ops import Op
from uxc.net.plan import is_ours
from uxc.net.rtnl import Message
from uxc.net.world import StepError, World

# What the kernel says when the thing to be removed is not there.
_GONE = {errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT}


def take_back(record: Op, world: World) -> None:
    """Carry out ``record``; StepError when the kernel refuses."""
    if isinstance(record, ops.MoveOut):
        _bring_home(record, world)
        world.forget("inside", record.link)
        world.forget("host", record.device)
        return
    if record.side == "inside" and not world.alive:
        return
    try:
        (link,) = observe.find_links(world.socket(record.side), [record.link])
    except OSError as error:
        raise StepError(record, error) from None
    if link is None:
        return
    message = _message(record, link)
    if message is not None:
        _send(record, message, world)
    if isinstance(record, ops.RemoveLink):
        world.forget("host", record.link)
        if record.peer:
            world.forget("inside", record.peer)


def _message(record: Op, link: Link) -> Message | None:
    """Return what takes the step on ``link`` back; None when there is nothing to take back."""
    match record:
        case ops.RemoveLink():
            ours = link.kind == record.kind and is_ours(link, record.alias)
            return messages.delete_link(link.index) if ours else None
        case ops.Release():
            if link.master != record.bridge:
                return None
            return messages.set_link(link.index, ("IFLA_MASTER", 0))
        case ops.Down():
            return messages.set_up(link.index, False) if link.up else None
        case ops.SetMac():
            if link.macaddr == record.macaddr:
                return None
            return messages.set_link(link.index, ("IFLA_ADDRESS", record.macaddr))
        case ops.SetMtu():
            if link.mtu == record.mtu:
                return None
            return messages.set_link(link.index, ("IFLA_MTU", record.mtu))
        case ops.RemoveAddress():
            return messages.delete_address(link.index, record.address)
        case ops.RemoveRoute():
            return messages.delete_route(link.index, record.route)
    raise TypeError(f"{type(record).__name__} undoes nothing")


def _send(record: Op, message: Message, world: World) -> None:
    (answer,) = world.socket(record.side).batch([message])
    if answer.error is not None and answer.error.errno not in _GONE:
        raise StepError(record, answer.error)


def _bring_home(record: ops.MoveOut, world: World) -> None:
    """Move a device back and give it what it had; also from where a crash or the kernel left it."""
    try:
        moved = _move_back(record, world) if world.alive else False
        if not moved:
            moved = _find_again(record, world)
        (home,) = observe.find_links(world.host, [record.device])
        if home is None or not _is_it(home, record):
            return
        # Another index: another device, which somebody made in the meantime.
        if not moved and home.index != record.home_index:
            return
        have = {entry.address for entry in observe.addresses(world.host, home)}
    except OSError as error:
        raise StepError(record, error) from None
    wanted: list[Message] = []
    if home.macaddr != record.macaddr:
        wanted.append(messages.set_link(home.index, ("IFLA_ADDRESS", record.macaddr)))
    if home.mtu != record.mtu:
        wanted.append(messages.set_link(home.index, ("IFLA_MTU", record.mtu)))
    if record.master and home.master != record.master:
        (master,) = observe.find_links(world.host, [record.master])
        if master is not None:
            wanted.append(messages.set_link(home.index, ("IFLA_MASTER", master.index)))
    wanted += (
        messages.add_address(home.index, entry, nodad=False)
        for entry in record.addresses
        if entry.address not in have
    )
    if home.up != record.up:
        wanted.append(messages.set_up(home.index, record.up))
    for answer in world.host.batch(wanted):
        if answer.error is not None:
            raise StepError(record, answer.error)


def _is_it(link: Link, record: ops.MoveOut) -> bool:
    """Tell whether ``link`` is the device of ``record``; its MAC address and name may differ."""
    wanted = (record.kind, record.peer, record.permanent)
    return (link.kind, link.peer, link.permanent) == wanted


def _move_back(record: ops.MoveOut, world: World) -> bool:
    """Move the device out of the living namespace, under its old name and index at once.

    Tell whether it was there. OSError, StepError.
    """
    (there,) = observe.find_links(world.inside, [record.index])
    if there is None or not _is_it(there, record):
        return False
    (other,) = observe.find_links(world.host, [record.device])
    if other is not None:
        # The kernel would move it first and find the name taken then.
        raise StepError(record, OSError(errno.EEXIST, os.strerror(errno.EEXIST)))
    error = None
    for index in (record.home_index, None):
        message = messages.move(record.index, world.home_fd, record.device, None, index)
        (answer,) = world.inside.batch([message])
        error = answer.error
        # EBUSY: the index was given to another link; then any will do.
        if error is None or error.errno != errno.EBUSY:
            break
    if error is not None:
        raise StepError(record, error)
    return True


def _find_again(record: ops.MoveOut, world: World) -> bool:
    """Give a device that is at home under another name its own one back.

    The kernel brings hardware home by itself when the namespace dies, under any name. A move whose
    name was taken in the same moment ends under the name that the device had inside. Tell whether
    a device was found so. OSError, StepError.
    """
    if record.permanent and not world.alive:
        everything = observe.all_links(world.host).values()
        found = next((link for link in everything if link.permanent == record.permanent), None)
    else:
        (found,) = observe.find_links(world.host, [record.home_index])
        if found is not None and not (found.name == record.link and _is_it(found, record)):
            return False
    if found is None:
        return False
    if found.name != record.device:
        down = messages.set_up(found.index, False)
        rename = messages.set_link(found.index, ("IFLA_IFNAME", record.device))
        for answer in world.host.batch([down, rename]):
            if answer.error is not None:
                raise StepError(record, answer.error)
    return True
