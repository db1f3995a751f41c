"""Journals on disk: written and read back as they were, and who still uses a bridge."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.errors import InvalidError
from uxc.net import journal, ops
from uxc.net.journal import BridgeJournal, Journal
from uxc.net.model import Address, Route
from uxc.paths import Paths

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15)
ADDRESSES = st.builds(
    Address,
    address=st.ip_addresses().map(str),
    prefix=st.integers(0, 128),
    version=st.sampled_from([4, 6]),
    broadcast=st.none() | st.ip_addresses(v=4).map(str),
)
ROUTES = st.builds(Route, target=NAMES, version=st.sampled_from([4, 6]), gateway=st.none() | NAMES)
RECORDS = st.one_of(
    st.builds(ops.RemoveLink, link=NAMES, kind=NAMES, alias=NAMES, group=st.integers(0)),
    st.builds(ops.Release, link=NAMES, bridge=NAMES),
    st.builds(ops.Down, link=NAMES, side=st.sampled_from(["host", "inside"])),
    st.builds(ops.SetMac, link=NAMES, macaddr=NAMES, old=NAMES),
    st.builds(ops.SetMtu, link=NAMES, mtu=st.integers(68), old=st.integers(68)),
    st.builds(ops.RemoveAddress, link=NAMES, address=ADDRESSES),
    st.builds(ops.RemoveRoute, link=NAMES, route=ROUTES),
    st.builds(
        ops.MoveOut,
        link=NAMES,
        index=st.integers(1),
        home_index=st.integers(1),
        device=NAMES,
        kind=NAMES,
        peer=st.integers(0),
        macaddr=NAMES,
        mtu=st.integers(68),
        up=st.booleans(),
        master=st.none() | NAMES,
        permanent=NAMES,
        addresses=st.lists(ADDRESSES, max_size=3).map(tuple),
    ),
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Run-time state in a folder of its own."""
    paths = Paths(str(tmp_path_factory.mktemp("prefix")))
    journal.make_dirs(paths)
    return paths


@given(records=st.lists(RECORDS).map(tuple), names=st.lists(NAMES).map(tuple))
def test_round_trip(paths: Paths, records: tuple[ops.Op, ...], names: tuple[str, ...]) -> None:
    """What was written is read."""
    journal.write_container(paths, "web", Journal(records, names))
    journal.write_bridge(paths, "br-lan", BridgeJournal(records, names))

    assert journal.read_container(paths, "web") == Journal(records, names)
    assert journal.read_bridge(paths, "br-lan") == BridgeJournal(records, names)


def test_absent(paths: Paths) -> None:
    """Without a file the journal is empty."""
    assert journal.read_container(paths, "nobody") == Journal()
    assert journal.read_bridge(paths, "br-none") == BridgeJournal()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_damaged(paths: Paths, text: str) -> None:
    """A file that holds something else is an error that names it."""
    path = Path(journal.container_path(paths, "damaged"))
    path.write_text(text)

    with pytest.raises(InvalidError, match=r"damaged\.json"):
        journal.read_container(paths, "damaged")

    path.unlink()


def test_users(paths: Paths) -> None:
    """A bridge is used as long as one of its users, other than the one that goes, has a journal."""
    entry = BridgeJournal((), ("web", "dead", "mail"))
    for user in ("web", "mail"):
        journal.write_container(paths, user, Journal())

    assert journal.living_users(paths, entry, "web").users == ("dead", "mail")
    journal.remove(journal.container_path(paths, "mail"))
    assert journal.living_users(paths, entry, "web").users == ()
    journal.remove(journal.container_path(paths, "mail"))


def test_sweep(paths: Paths) -> None:
    """Temporary files of writers that died are removed, journals are not."""
    journal.write_container(paths, "kept", Journal())
    Path(f"{paths.net_dir}/web.json.123.new").write_text("{")

    journal.sweep(paths)

    assert "kept" in journal.containers(paths)
    assert not list(Path(paths.net_dir).glob("*.new"))
