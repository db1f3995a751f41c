"""What undoes a wiring: the records of all steps that a container's journal holds, as values."""

from collections.abc import Iterator

from uxc.net import ops
from uxc.net.model import Wiring
from uxc.net.ops import Op, SideName

LOOPBACK = "lo"

# Undo records, in the order in which their steps were done.
Ledger = tuple[Op, ...]


def divide(want: Wiring, ledger: Ledger) -> tuple[Ledger, Ledger]:
    """Return those undo records whose steps are still wanted, and those whose steps are not."""
    wanted = set(_wanted_keys(want))
    kept = tuple(record for record in ledger if record.key in wanted)
    return kept, tuple(record for record in ledger if record.key not in wanted)


def teardown(ledger: Ledger) -> tuple[Op, ...]:
    """Return the records of ``ledger``, last first, without those that another takes care of.

    A link that goes takes its addresses, routes and membership along.
    """
    gone = _gone(ledger)
    return tuple(
        record
        for record in reversed(ledger)
        if isinstance(record, ops.RemoveLink | ops.MoveOut)
        or (record.side, record.link) not in gone
    )


def recorded(ledger: Ledger, done: tuple[Op, ...]) -> Ledger:
    """Return ``ledger`` with what undoes ``done``, each thing once."""
    entries = {record.key: record for record in ledger}
    for op in done:
        record = op.undo()
        if record is None:
            entries.pop(op.key, None)
        elif isinstance(record, ops.SetMac | ops.SetMtu):
            # The oldest value is the one to go back to.
            entries.setdefault(record.key, record)
        else:
            entries.pop(record.key, None)
            entries[record.key] = record
    gone = _gone(tuple(entries.values()))
    return tuple(
        record
        for record in entries.values()
        if not isinstance(record, ops.SetMac | ops.SetMtu | ops.Down)
        or (record.side, record.link) not in gone
    )


def _gone(ledger: Ledger) -> set[tuple[SideName, str]]:
    """Return the links that exist, or are where they are, only through records of ``ledger``."""
    gone: set[tuple[SideName, str]] = set()
    for record in ledger:
        if isinstance(record, ops.RemoveLink):
            gone.add(("host", record.link))
            if record.peer:
                gone.add(("inside", record.peer))
        elif isinstance(record, ops.MoveOut):
            gone.add(("inside", record.link))
    return gone


def _wanted_keys(want: Wiring) -> Iterator[tuple[object, ...]]:
    """Yield the keys of all undo records that steps towards ``want`` may have left."""
    yield ("Down", "inside", LOOPBACK)
    for port in want.ports:
        yield ("MoveOut", "inside", port.name, port.device)
        yield from (("RemoveAddress", "inside", port.name, entry) for entry in port.addresses)
        yield from (("RemoveRoute", "inside", port.name, entry) for entry in port.routes)
        if port.host is None:
            continue
        yield ("RemoveLink", "host", port.host, port.name)
        yield ("Down", "host", port.host)
        yield from (("RemoveAddress", "host", port.host, entry) for entry in port.host_addresses)
        if port.bridge:
            yield ("Release", "host", port.host, port.bridge)
        if port.host_macaddr:
            yield ("SetMac", "host", port.host)
        if port.mtu:
            yield ("SetMtu", "host", port.host)
