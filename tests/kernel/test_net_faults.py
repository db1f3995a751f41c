"""Wiring that is hit at every point: refused by the kernel, or killed. Nothing is left, ever."""

import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlab
from netlab import Faults, Lab, both, everything, ip, link, ping, port, wiring
from uxc.errors import UxcError
from uxc.linux import ns
from uxc.net import wire
from uxc.net.model import Port, Wiring

pytestmark = pytest.mark.needs("veth", "bridge", "ip")

# Far more points than any wiring here has.
MANY = 200
KILL_ROUNDS = int(os.environ.get("UXC_KILL_ROUNDS", "20"))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A host's namespace for this test alone."""
    with netlab.laboratory(tmp_path) as lab:
        yield lab


def nothing() -> None:
    """Prepare nothing: bridge and cable are ours to make."""


def named_port() -> None:
    """Prepare a link that shall become a port of the bridge."""
    ip("link", "add", "name", "lan1", "type", "veth", "peer", "name", "far1")


def foreign_pair() -> None:
    """Prepare a bridge and a cable that others made, the peer up and with an address."""
    ip("link", "add", "name", "br-lan", "address", "02:00:00:00:00:01", "type", "bridge")
    ip("link", "add", "name", "vhost0", "type", "veth", "peer", "name", "virt0")
    ip("link", "set", "virt0", "mtu", "1400", "up")
    ip("address", "add", "10.9.9.9/24", "dev", "virt0")


SETTINGS = {"macaddr": "02:00:00:00:00:88", "mtu": 1300}
WITH_PORT = wiring(bridges=(netlab.bridge(ports=("lan1",), mtu=1400),))
SCENARIOS = [
    pytest.param(nothing, wiring(), id="all-made"),
    pytest.param(named_port, WITH_PORT, id="named-port"),
    pytest.param(foreign_pair, wiring(0, port(host_macaddr="02:00:00:00:00:66", **SETTINGS)),
                 id="moved"),
]  # fmt: skip
Prepare = Callable[[], None]


@pytest.mark.parametrize(("prepare", "wanted"), SCENARIOS)
class TestEachPoint:
    def test_refused(self, lab: Lab, prepare: Prepare, wanted: Wiring) -> None:
        """Whichever step the kernel refuses: one line says which, and nothing is left."""
        prepare()
        fd = lab.container()
        before = both(fd)
        for at in range(1, MANY):
            faults = Faults(at)
            message = _refused(faults, lambda: wire.wire(lab.paths, wanted, fd))
            if not message:
                break
            assert re.fullmatch("c0: cannot .+: no such device", message)
            assert both(fd) == before
            assert lab.files() == []

        assert faults.count == at - 1
        assert at > 8

    def test_killed_and_unwired(self, lab: Lab, prepare: Prepare, wanted: Wiring) -> None:
        """Whenever the process dies, unwiring takes everything back."""
        prepare()
        fd = lab.container()
        before = both(fd)

        def dies(at: int) -> bool:
            return _killed(at, lambda: wire.wire(lab.paths, wanted, fd))

        points = _each_point(dies, lambda: wire.unwire(lab.paths, "c0", fd), before, fd)

        assert points > 10
        wire.recover(lab.paths, ())
        assert lab.files() == []

    def test_killed_and_wired_again(self, lab: Lab, prepare: Prepare, wanted: Wiring) -> None:
        """Whenever the process dies, wiring again reaches the same as wiring once."""
        prepare()
        fd = lab.container()
        before = both(fd)

        def dies(at: int) -> bool:
            return _killed(at, lambda: wire.wire(lab.paths, wanted, fd))

        def repair() -> None:
            wire.wire(lab.paths, wanted, fd)
            assert not wire.plan(lab.paths, wanted, fd)
            wire.unwire(lab.paths, "c0", fd)

        _each_point(dies, repair, before, fd)

    def test_killed_while_unwiring(self, lab: Lab, prepare: Prepare, wanted: Wiring) -> None:
        """Whenever the process dies while it takes back, the next one takes back the rest."""
        prepare()
        fd = lab.container()
        before = both(fd)

        def dies(at: int) -> bool:
            wire.wire(lab.paths, wanted, fd)
            return _killed(at, lambda: wire.unwire(lab.paths, "c0", fd))

        _each_point(dies, lambda: wire.unwire(lab.paths, "c0", fd), before, fd)


def _refused(faults: Faults, function: Callable[[], object]) -> str:
    """Run ``function`` with a step that the kernel refuses; return what it says to that."""
    try:
        with faults.refusing():
            function()
    except UxcError as error:
        return error.message
    return ""


def _killed(at: int, function: Callable[[], object]) -> bool:
    """Run ``function`` in a process that is killed at point ``at``; tell whether it came there."""

    def child() -> None:
        with Faults(at).killing():
            function()

    return netlab.in_child(child) == signal.SIGKILL


def _each_point(
    dies: Callable[[int], bool], repair: Callable[[], None], before: tuple[object, object], fd: int
) -> int:
    """Kill at each point in turn, repair, and compare; return how many points there were."""
    for at in range(1, MANY):
        killed = dies(at)
        repair()
        assert both(fd) == before
        if not killed:
            return at - 1
    raise AssertionError("more points than thought possible")


def _soon(condition: Callable[[], bool]) -> None:
    """Wait until the kernel, which takes namespaces apart in its own time, has done so."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# A pair of others dies with the namespace, which is the kernel's doing: so not for "moved".
@pytest.mark.parametrize(("prepare", "wanted"), SCENARIOS[:2])
def test_killed_and_the_namespace_died(lab: Lab, prepare: Prepare, wanted: Wiring) -> None:
    """Whenever the process dies, and the namespace with it, the host is left clean."""
    prepare()
    before = everything()
    for at in range(1, MANY):
        fd = lab.container()
        killed = _killed(at, lambda fd=fd: wire.wire(lab.paths, wanted, fd))
        lab.kill(fd)
        wire.unwire(lab.paths, "c0")
        _soon(lambda: everything() == before)
        if not killed:
            break
    assert at > 10


def test_killed_at_any_time(lab: Lab) -> None:
    """Killed from outside at random moments: recovery finds and undoes everything."""
    before = everything()
    seed = random.randrange(1 << 32)
    source = random.Random(seed)
    for _ in range(KILL_ROUNDS):
        fds = [lab.container() for _ in range(3)]

        def work(fds: list[int] = fds) -> None:
            for number, fd in enumerate(fds):
                wire.wire(lab.paths, wiring(number), fd)
            for number, fd in enumerate(fds):
                wire.unwire(lab.paths, f"c{number}", fd)

        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        time.sleep(source.random() * 0.12)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

        assert wire.recover(lab.paths, ()) == {}, f"seed {seed}"
        assert everything() == before, f"seed {seed}"
        assert lab.files() == [], f"seed {seed}"
        for fd in fds:
            lab.kill(fd)


def test_recover_spares_the_wanted(lab: Lab) -> None:
    """Recovery unwires those containers that are not wanted, and leaves the others their bridge."""
    first, second = lab.container(), lab.container()
    wire.wire(lab.paths, wiring(0), first)
    wire.wire(lab.paths, wiring(1), second)

    assert wire.recover(lab.paths, {"c1"}) == {}

    assert not link("vhost0")
    assert ping(netlab.ROUTER4, second)


def test_recover_finds_pinned_namespaces(lab: Lab) -> None:
    """A moved device comes home from a namespace that is pinned, though nobody hands it over."""
    foreign_pair()
    before = everything()
    fd = lab.container()
    os.makedirs(lab.paths.netns_dir)
    ns.pin(fd, f"{lab.paths.netns_dir}/c0")
    try:
        wire.wire(lab.paths, wiring(), fd)

        assert wire.recover(lab.paths, ()) == {}
    finally:
        ns.unpin(f"{lab.paths.netns_dir}/c0")

    assert everything() == before


def test_another_program_interferes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel shows afterwards counts: a difference is an error, and nothing is left."""
    fd = lab.container()
    before = both(fd)
    real = wire.carry_out

    def carry_out(steps: object, world: object) -> None:
        real(steps, world)
        if link("eth0", fd):
            ip("address", "flush", "dev", "eth0", fd=fd)

    monkeypatch.setattr(wire, "carry_out", carry_out)

    with pytest.raises(UxcError, match=r"still to do: add address 192\.168\.1\.10/24"):
        wire.wire(lab.paths, wiring(), fd)

    assert both(fd) == before
    assert lab.files() == []


class TestDrift:
    @pytest.mark.parametrize(
        "words",
        [
            ("address", "delete", "192.168.1.10/24", "dev", "eth0"),
            ("link", "set", "eth0", "down"),
            ("link", "set", "eth0", "mtu", "1300"),
            ("route", "delete", "default"),
            ("-6", "route", "delete", "default"),
        ],
        ids=" ".join,
    )
    def test_inside_is_repaired(self, lab: Lab, words: tuple[str, ...]) -> None:
        """What was changed by hand in the container is seen, and put right by wiring again."""
        fd = lab.container()
        wire.wire(lab.paths, wiring(), fd)
        index = link("eth0", fd)["ifindex"]
        before = everything(fd)
        ip(*words, fd=fd)

        assert wire.plan(lab.paths, wiring(), fd)
        wire.wire(lab.paths, wiring(), fd)

        assert everything(fd) == before
        assert link("eth0", fd)["ifindex"] == index

    @pytest.mark.parametrize(
        "words",
        [
            ("link", "set", "vhost0", "nomaster"),
            ("link", "set", "vhost0", "down"),
            ("link", "delete", "vhost0"),
            ("link", "delete", "br-lan"),
        ],
        ids=" ".join,
    )
    def test_host_is_repaired(self, lab: Lab, words: tuple[str, ...]) -> None:
        """What was changed by hand on the host is seen, and put right by wiring again."""
        before = everything()
        fd = lab.container()
        wire.wire(lab.paths, wiring(), fd)
        ip(*words)

        assert wire.plan(lab.paths, wiring(), fd)
        wire.wire(lab.paths, wiring(), fd)

        assert ping(netlab.ROUTER4, fd)
        assert not wire.plan(lab.paths, wiring(), fd)
        wire.unwire(lab.paths, "c0", fd)
        assert everything() == before


def _ports(number: int) -> st.SearchStrategy[Port]:
    """Return variants of one interface: other address, bridge, MAC address, mtu, name inside."""
    return st.builds(
        lambda octet, bridge, mac, mtu, name, route: port(
            number,
            name=name,
            bridge=bridge,
            macaddr=mac and f"02:00:00:00:0{number}:{mac:02x}",
            mtu=mtu,
            addresses=(netlab.address(f"192.168.{number + 1}.{octet}/24"),),
            routes=port().routes[:1] if route and number == 0 else (),
        ),
        octet=st.integers(2, 4),
        bridge=st.sampled_from([None, "br-lan", "br-two"]),
        mac=st.sampled_from([None, 1, 2]),
        mtu=st.sampled_from([None, 1400]),
        name=st.sampled_from([f"eth{number}", f"lan{number}"]),
        route=st.booleans(),
    )


@st.composite
def _wirings(draw: st.DrawFn) -> Wiring:
    numbers = draw(st.lists(st.integers(0, 2), unique=True, max_size=3))
    ports = tuple(draw(_ports(number)) for number in numbers)
    names = dict.fromkeys(entry.bridge for entry in ports if entry.bridge)
    bridges = tuple(
        netlab.bridge(name=name, addresses=netlab.bridge().addresses if name == "br-lan" else ())
        for name in names
    )
    return Wiring(container="c0", bridges=bridges, ports=ports)


# What is not said by a wiring: the numbers of links, and addresses that are random or follow these.
CHANGING = {"ifindex", "link_index", "link_netnsid", "address", "id", "root", "group_address"}
CHANGING |= {
    "local",
    "port_id",
    "no",
    "designated_port",
    "designated_bridge",
    "designated_root",
    "root_id",
}
CHANGING |= {"bridge_id"}


def _shape(fd: int) -> dict[str, object]:
    """Return what is equal when the same is wired twice."""
    shape = {
        path: value
        for path, value in both(fd).items()
        if not CHANGING & set(path.split("/")[4:]) and "/route" not in path and "/fe80:" not in path
    }
    for side in (None, fd):
        for entry in ip("link", fd=side):
            shape[f"{side} {entry['ifname']}"] = netlab.addresses(entry["ifname"], side)
        shape[f"{side} routes"] = netlab.routes(side)
    return shape


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "moved"])
@settings(max_examples=int(os.environ.get("UXC_WIRING_EXAMPLES", "25")))
@given(first=_wirings(), second=_wirings())
def test_there_and_back(foreign: bool, first: Wiring, second: Wiring) -> None:
    """A, then B, then A again is the same as A; each plan is empty once carried out."""
    with tempfile.TemporaryDirectory() as folder, netlab.laboratory(Path(folder)) as lab:
        if foreign:
            ip("link", "add", "name", "vhost0", "type", "veth", "peer", "name", "virt0")
        fd = lab.container()
        before = both(fd)
        wire.wire(lab.paths, first, fd)
        alone = _shape(fd)
        for wanted in (second, first):
            wire.wire(lab.paths, wanted, fd)
            assert wire.plan(lab.paths, wanted, fd).describe() == []

        assert _shape(fd) == alone
        wire.unwire(lab.paths, "c0", fd)
        assert both(fd) == before
        assert lab.files() == []


def test_a_resolver_that_outlived_its_journal_is_found(lab: Lab) -> None:
    """Killed between its last two files, an unwire is finished by the next recovery."""
    fd = lab.container()
    wire.wire(lab.paths, wiring(), fd)
    text = Path(wire.resolver_path(lab.paths, "c0")).read_text()
    wire.unwire(lab.paths, "c0", fd)
    Path(wire.resolver_path(lab.paths, "c0")).write_text(text)

    assert wire.recover(lab.paths, {"c0"}) == {}
    assert lab.files() == ["c0.resolv.conf"]
    assert wire.recover(lab.paths, ()) == {}
    assert lab.files() == []
