"""What was done for each container and each bridge of ours, in run-time state: the way back.

A record is written before its step is taken, so a process that dies between any two steps leaves
enough to undo everything. Run-time state lies in RAM: after a reboot neither links nor records are.
"""

import posix
from dataclasses import asdict, dataclass, replace
from typing import Any

from uxc import files, jsontext
from uxc.errors import InvalidError
from uxc.net import ops
from uxc.net.ledger import Ledger
from uxc.net.model import Address, Route
from uxc.net.ops import Op
from uxc.paths import Paths

FORMAT = 1
_SUFFIX = ".json"
RESOLVER_SUFFIX = ".resolv.conf"
_HINT = "remove it, and by hand the links in it ('ip link delete'), or reboot"
_RECORDS: dict[str, type[Op]] = {
    kind.__name__: kind
    for kind in (
        ops.RemoveLink,
        ops.MoveOut,
        ops.Release,
        ops.Down,
        ops.SetMac,
        ops.SetMtu,
        ops.RemoveAddress,
        ops.RemoveRoute,
    )
}


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a container: its undo records, and the bridges of ours that it uses."""

    records: Ledger = ()
    bridges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BridgeJournal:
    """The journal of a bridge that we made: its undo records, and the containers that use it."""

    records: Ledger = ()
    users: tuple[str, ...] = ()


def container_path(paths: Paths, container: str) -> str:
    """Return where the journal of ``container`` is."""
    return f"{paths.net_dir}/{container}{_SUFFIX}"


def bridge_path(paths: Paths, bridge: str) -> str:
    """Return where the journal of ``bridge`` is."""
    return f"{paths.net_dir}/bridges/{bridge}{_SUFFIX}"


def read_container(paths: Paths, container: str) -> Journal:
    """Return the journal of ``container``, an empty one when nothing was done for it.

    Raises OSError, InvalidError for a damaged file.
    """
    return Journal(*_read(container_path(paths, container), "bridges"))


def write_container(paths: Paths, container: str, journal: Journal) -> None:
    """Write the journal of ``container``; OSError."""
    document = {"records": _document(journal.records), "bridges": list(journal.bridges)}
    files.write_json(container_path(paths, container), {"format": FORMAT, **document})


def read_bridge(paths: Paths, bridge: str) -> BridgeJournal:
    """Return the journal of ``bridge``, an empty one when we did not make it.

    Raises OSError, InvalidError for a damaged file.
    """
    return BridgeJournal(*_read(bridge_path(paths, bridge), "users"))


def write_bridge(paths: Paths, bridge: str, journal: BridgeJournal) -> None:
    """Write the journal of ``bridge``; OSError."""
    document = {"records": _document(journal.records), "users": list(journal.users)}
    files.write_json(bridge_path(paths, bridge), {"format": FORMAT, **document})


def make_dirs(paths: Paths) -> None:
    """Make the folders of the journals; OSError."""
    files.make_dirs(f"{paths.net_dir}/bridges", 0o700)


def remove(path: str) -> None:
    """Remove a journal; a missing one is fine."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return


def containers(paths: Paths) -> list[str]:
    """Return the containers that have a journal, or a resolv.conf that outlived it."""
    found = {*_names(paths.net_dir, _SUFFIX), *_names(paths.net_dir, RESOLVER_SUFFIX)}
    return sorted(found)


def bridges(paths: Paths) -> list[str]:
    """Return the bridges that have a journal."""
    return _names(f"{paths.net_dir}/bridges", _SUFFIX)


def has_container(paths: Paths, container: str) -> bool:
    """Tell whether ``container`` has a journal."""
    try:
        posix.stat(container_path(paths, container))
    except FileNotFoundError:
        return False
    return True


def living_users(paths: Paths, journal: BridgeJournal, gone: str = "") -> BridgeJournal:
    """Return ``journal`` without user ``gone``, and empty when no other user has a journal.

    One user with a journal is enough to know, so 400 containers on a bridge cost no more than two.
    """
    users = tuple(user for user in journal.users if user != gone)
    alive = any(has_container(paths, user) for user in users)
    return replace(journal, users=users if alive else ())


def sweep(paths: Paths) -> None:
    """Remove the temporary files of writers that died; only while nobody else writes."""
    for folder in (paths.net_dir, f"{paths.net_dir}/bridges"):
        for entry in posix.listdir(folder):
            if entry.endswith(".new"):
                posix.unlink(f"{folder}/{entry}")


def _names(folder: str, suffix: str) -> list[str]:
    try:
        entries = posix.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(entry.removesuffix(suffix) for entry in entries if entry.endswith(suffix))


def _read(path: str, names: str) -> tuple[Ledger, tuple[str, ...]]:
    """Return the records in a journal, and the list that it has under ``names``; empty ones."""
    try:
        document = jsontext.loads(files.read_text(path), path)
    except FileNotFoundError:
        return (), ()
    try:
        if document["format"] == FORMAT:
            return _ledger(document["records"]), tuple(document[names])
    except (KeyError, TypeError, AttributeError):
        raise InvalidError(f"{path}: not a journal of the wiring", _HINT) from None
    raise InvalidError(f"{path}: written by another version of uxc", _HINT)


def _document(ledger: Ledger) -> list[dict[str, object]]:
    return [{"op": type(record).__name__, **asdict(record)} for record in ledger]


def _ledger(entries: list[dict[str, Any]]) -> Ledger:
    return tuple(_record(dict(entry)) for entry in entries)


def _record(fields: dict[str, Any]) -> Op:
    kind = _RECORDS[str(fields.pop("op"))]
    if "address" in fields:
        fields["address"] = Address(**fields["address"])
    if "addresses" in fields:
        fields["addresses"] = tuple(Address(**entry) for entry in fields["addresses"])
    if "route" in fields:
        fields["route"] = Route(**fields["route"])
    return kind(**fields)
