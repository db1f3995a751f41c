"""Moving network devices into a container's namespace, and back when its creation fails."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from uxc.errors import ConflictError, InvalidError, NotFoundError, SystemFailure
from uxc.linux import ns, rtnetlink
from uxc.oci.netdevices import NetDevices

pytestmark = pytest.mark.needs("ip", "veth", "bridge")


def ip(words: str) -> Any:
    done = subprocess.run(["ip", "-json", *words.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else []


def inside(netns: int, words: str) -> Any:
    with ns.entered(netns, "net"):
        return ip(words)


def addresses(link: dict[str, Any]) -> set[str]:
    """Return the addresses of a link that are no link-local ones."""
    return {
        f"{entry['local']}/{entry['prefixlen']}"
        for entry in link["addr_info"]
        if entry["scope"] == "global"
    }


@pytest.fixture
def netns() -> Iterator[int]:
    """Return an fd of a container's namespace."""
    fd = ns.new_netns()
    yield fd
    os.close(fd)


@pytest.fixture
def cable() -> Iterator[Callable[..., None]]:
    """Return a function that makes a veth pair, which goes after the test wherever it is."""
    made: list[str] = []

    def make(name: str, *commands: str) -> None:
        ip(f"link add {name} type veth peer name {name}-peer")
        made.append(name)
        for command in commands:
            ip(command)

    yield make
    for name in made:
        subprocess.run(["ip", "link", "del", f"{name}-peer"], capture_output=True)


@pytest.fixture
def devices(netns: int) -> Iterator[NetDevices]:
    """Return a mover into the container's namespace."""
    mover = NetDevices(f"/proc/self/fd/{netns}")
    yield mover
    mover.close()


def names(netns: int) -> set[str]:
    return {link["ifname"] for link in inside(netns, "link")}


def test_a_device_moves_with_what_it_is(
    netns: int, devices: NetDevices, cable: Callable[..., None]
) -> None:
    """New name, up, MTU, MAC address and the lasting addresses of global scope are there."""
    cable(
        "probe0",
        "link set probe0 address 02:00:00:00:00:07 mtu 1400",
        "addr add 192.0.2.7/24 broadcast + dev probe0 label probe0:x",
        "addr add 192.0.2.9 peer 192.0.2.10/32 dev probe0",
        "addr add 2001:db8::7/64 dev probe0",
        "addr add 198.51.100.7/24 dev probe0 valid_lft 1000 preferred_lft 1000",
        "addr add 169.254.7.7/16 scope link dev probe0",
        "link set probe0 up",
    )

    devices.move({"probe0": "eth0"})

    (link,) = inside(netns, "addr show dev eth0")
    assert addresses(link) == {"192.0.2.7/24", "192.0.2.9/32", "2001:db8::7/64"}
    assert "169.254.7.7" not in str(link)
    assert {entry.get("address") for entry in link["addr_info"]} >= {"192.0.2.10"}
    assert {entry.get("broadcast") for entry in link["addr_info"]} >= {"192.0.2.255"}
    assert "tentative" not in str(link)
    assert (link["address"], link["mtu"]) == ("02:00:00:00:00:07", 1400)
    assert "UP" in link["flags"]
    assert "probe0" not in {link["ifname"] for link in ip("link")}


def test_a_name_may_stay(netns: int, devices: NetDevices, cable: Callable[..., None]) -> None:
    """Without a name for the container the device keeps its own."""
    cable("probe0")

    devices.move({"probe0": ""})

    assert names(netns) == {"lo", "probe0"}


def test_the_kernel_completes_a_pattern(
    netns: int, devices: NetDevices, cable: Callable[..., None]
) -> None:
    """%d becomes the first number that is free there, also for a name that is taken."""
    for name in ("probe0", "probe1", "probe2"):
        cable(name)
    inside(netns, "link add eth0 type bridge")
    inside(netns, "link add probe2 type bridge")

    devices.move({"probe0": "eth%d", "probe1": "eth%d", "probe2": "probe%d"})

    found = names(netns)
    assert found > {"lo", "eth0", "eth1", "eth2", "probe2"}
    assert len(found) == 6


def test_a_name_that_is_taken_is_an_error(
    netns: int, devices: NetDevices, cable: Callable[..., None]
) -> None:
    """Nothing is moved over a device that is there."""
    cable("probe0")
    inside(netns, "link add eth0 type bridge")

    with pytest.raises(ConflictError, match=r"netDevices.probe0: the container has a .* eth0 alr"):
        devices.move({"probe0": "eth0"})

    assert "probe0" in {link["ifname"] for link in ip("link")}


def test_a_device_that_is_missing_is_an_error(devices: NetDevices) -> None:
    """It is named by its path."""
    with pytest.raises(NotFoundError, match=r"linux.netDevices.nothing: there is no such network"):
        devices.move({"nothing": ""})


def test_a_device_that_cannot_leave_is_an_error(devices: NetDevices) -> None:
    """The kernel keeps some devices where they are, and says so."""
    ip("link add probe0 type bridge")
    try:
        with pytest.raises(SystemFailure, match="cannot move network device probe0: invalid arg"):
            devices.move({"probe0": ""})
        assert devices.take_back() == []
    finally:
        ip("link del probe0")


def test_what_is_no_other_namespace_is_an_error() -> None:
    """A container that shares the runtime's network would get nothing and change the host."""
    before = sorted(os.listdir("/proc/self/fd"))

    with pytest.raises(InvalidError, match="shares the runtime's network"):
        NetDevices("/proc/self/ns/net")
    with pytest.raises(SystemFailure, match="look into the container's network"):
        NetDevices("/dev/null")

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_what_was_moved_comes_back(
    netns: int, devices: NetDevices, cable: Callable[..., None]
) -> None:
    """Name, state, addresses and bridge are as before, also after the second device failed."""
    ip("link add probe9 type bridge")
    try:
        cable(
            "probe0",
            "addr add 192.0.2.7/24 dev probe0",
            "addr add 2001:db8::7/64 dev probe0 nodad",
            "link set probe0 master probe9 up",
        )
        cable("probe1")
        wanted = {"probe0": "eth0", "probe1": "eth0"}
        with pytest.raises(ConflictError):
            devices.move(wanted)

        assert devices.take_back() == []

        (link,) = ip("addr show dev probe0")
        assert addresses(link) == {"192.0.2.7/24", "2001:db8::7/64"}
        assert link["master"] == "probe9"
        assert "UP" in link["flags"]
        (other,) = ip("link show dev probe1")
        assert "UP" not in other["flags"]
        assert names(netns) == {"lo"}
    finally:
        ip("link del probe9")


def test_the_way_back_does_not_need_the_container(
    netns: int, devices: NetDevices, cable: Callable[..., None]
) -> None:
    """When all that was in the namespace has died, the device can still be fetched."""
    cable("probe0")
    devices.move({"probe0": "eth0"})
    # The last descriptor but the mover's own.
    os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), netns)

    assert devices.take_back() == []

    assert "probe0" in {link["ifname"] for link in ip("link")}


def test_nothing_stays_open(netns: int, cable: Callable[..., None]) -> None:
    """The mover leaves no descriptor behind."""
    cable("probe0")
    before = sorted(os.listdir("/proc/self/fd"))

    mover = NetDevices(f"/proc/self/fd/{netns}")
    mover.move({"probe0": ""})
    assert mover.take_back() == []
    mover.close()

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_links_and_addresses_are_read(cable: Callable[..., None]) -> None:
    """The raw reader sees what ip(8) sees, also when a dump has many parts."""
    for number in range(100):
        cable(f"probe{number}")
    ip("addr add 192.0.2.7/24 dev probe7")
    netlink = rtnetlink.Netlink()
    try:
        links = netlink.links()
        index = netlink.link("probe7").index
        (address,) = netlink.addresses(index)
        with pytest.raises(OSError, match=r"No such device.*nothing"):
            netlink.link("nothing")
    finally:
        netlink.close()

    seen = {link["ifname"]: link["ifindex"] for link in ip("link")}
    assert {link.name: link.index for link in links} == seen
    assert index == seen["probe7"]
    assert (address.family, address.prefix, address.scope) == (2, 24, 0)
    assert address.flags & rtnetlink.IFA_F_PERMANENT
