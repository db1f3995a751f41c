"""The announcement's example from end to end: its text into ``uci batch``, a Debian on the lan."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rootfs import busybox
from uxc.demo import host
from uxc.demo.router import (
    ANNOUNCEMENT,
    DISK,
    LAN_ADDRESS,
    LAN_BRIDGE,
    LAN_STOCK,
    TOP,
    Router,
)

pytestmark = [
    pytest.mark.vm,
    pytest.mark.needs("veth", "bridge", "overlayfs", "dnsmasq", "debian", "ip"),
]

NAME = "container1"
EXAMPLES = TOP / "docs/examples"
REPORT = DISK / "rootfs/root/report"
# The guest's side of each test is one shell script; what it finds goes to a file of its own.
BEGIN = "exec >/root/report.part 2>&1; "
END = "; mv /root/report.part /root/report; exec sleep 1000"
TIMEOUT_S = 30

# "use 'static' otherwise and also set ipaddr, gateway and dns"
STATIC = f"""\
set network.virt0.proto='static'
set network.virt0.ipaddr='192.168.1.50'
set network.virt0.netmask='255.255.255.0'
set network.virt0.gateway='{LAN_ADDRESS}'
set network.virt0.dns='{LAN_ADDRESS}'
set network.virt0.ip6addr='fd00:1234::50/64'
commit network
"""


def _wait_for(what: str, is_there: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_there():
        assert time.monotonic() < deadline, f"no {what} in {TIMEOUT_S} s"
        time.sleep(0.05)


@pytest.fixture(params=[LAN_BRIDGE, LAN_STOCK], ids=["bridge", "stock"])
def router(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Router]:
    """A router that was started, with a disk in it; on the stock one netifd made br-lan before."""
    router = Router(tmp_path, request.param)
    if request.param is LAN_STOCK:
        assert not router.sh(
            "ip link add eth0 type veth peer name wire && ip link set wire up && "
            "ip link add br-lan type bridge && ip link set eth0 master br-lan up && "
            f"ip addr add {LAN_ADDRESS}/24 dev br-lan && ip link set br-lan up"
        )
    try:
        router.insert_disk()
        router.start()
        yield router
    finally:
        router.close()
        if request.param is LAN_STOCK:
            router.sh("ip link del br-lan; ip link del eth0")


def _ok(router: Router, *command: str, text: str = "") -> str:
    """Run a command that must succeed and complain of nothing; return what it printed."""
    done = router.run(*command, text=text)
    assert done.returncode == 0, f"{command}: {done.stderr}\n{router.log('manager')}"
    return done.stdout


def _inside(router: Router, *command: str) -> str:
    pid = str(router.state(NAME)["pid"])
    return _ok(router, "nsenter", "--target", pid, "--all", *command)


def _listed(router: Router) -> dict[str, object]:
    """Return the only container of ``uxc list --json``."""
    (container,) = json.loads(_ok(router, "uxc", "list", "--json"))
    assert isinstance(container, dict)
    return container


def _create(router: Router, script: str, batch: str = ANNOUNCEMENT) -> None:
    router.set_program("/bin/sh", "-c", BEGIN + script + END)
    assert _ok(router, "uci", "batch", text=batch) == ""
    _ok(router, "uxc", "create", NAME, str(DISK), "true")


def _assert_gone(router: Router, before: set[str], files: set[Path]) -> None:
    """Kill and delete; then host and prefix are as they were."""
    _ok(router, "uxc", "kill", NAME, "KILL")
    _wait_for("end", lambda: router.state(NAME)["status"] == "stopped")
    _ok(router, "uxc", "delete", NAME)

    assert host.left_since(before) == []
    assert before - host.look() == set()
    assert _files(router) - files == set()
    assert json.loads(_ok(router, "uxc", "list", "--json")) == []
    assert NAME not in (router.prefix / "etc/config/uxc").read_text()


def _files(router: Router) -> set[Path]:
    """Return the files of the prefix; logs, leases and UCI's emptied delta files are expected."""
    expected = {router.prefix / "dhcp.leases", router.prefix / "tmp"}
    return {
        path
        for path in router.prefix.rglob("*")
        if path not in expected and not expected & set(path.parents)
    }


def test_a_debian_gets_its_lease_from_the_lan(router: Router) -> None:
    """Created is wired and waiting; started, its DHCP client gets a lease; pings go both ways."""
    files = _files(router)
    before = host.look()
    _create(router, "dhclient -v host0; cat /etc/os-release")

    # Created: the cable is plugged in on both sides, the program has not run.
    assert router.state(NAME)["status"] == "created"
    assert not list(DISK.glob("rootfs/root/report*"))
    assert "host0" in _inside(router, "ip", "-oneline", "link")
    assert "master br-lan" in router.sh("ip -oneline link show vhost0")
    assert not os.path.exists("/sys/class/net/virt0")

    assert _ok(router, "uxc", "start", NAME) == ""
    _wait_for("report", REPORT.exists)

    report = REPORT.read_text()
    assert "DHCPACK of 192.168.1.1" in report
    assert 'NAME="Debian GNU/Linux"' in report
    listed = _listed(router)
    assert listed["name"] == NAME
    assert listed["status"] == "running"
    assert listed["autostart"] is True
    assert listed["bundle"] == str(DISK)
    (interface,) = listed["interfaces"]
    assert interface["name"] == "host0"
    (address,) = [text for text in interface["addresses"] if text.startswith("192.168.1.")]
    lines = _ok(router, "uxc", "list").splitlines()
    assert any(line.startswith(NAME) and "running" in line for line in lines)
    state = router.state(NAME)
    assert state["id"] == NAME
    assert state["bundle"] == str(DISK)
    assert state["status"] == "running"
    assert state["ociVersion"].startswith("1.")
    _inside(router, "ping", "-c", "1", "-W", "5", LAN_ADDRESS)
    _ok(router, "ping", "-c", "1", "-W", "5", address.partition("/")[0])

    _assert_gone(router, before, files)


def test_static_addresses_are_there_before_the_first_instruction(router: Router) -> None:
    """With proto static the program finds address, route and resolver in its very first look."""
    files = _files(router)
    before = host.look()
    _create(
        router,
        "ip -oneline address show dev host0; ip route; cat /etc/resolv.conf;"
        " getent hosts router.lan",
        ANNOUNCEMENT + STATIC,
    )

    _ok(router, "uxc", "start", NAME)
    _wait_for("report", REPORT.exists)

    report = REPORT.read_text()
    assert "inet 192.168.1.50/24" in report
    (ours,) = [line for line in report.splitlines() if "inet6 fd00:1234::50/64" in line]
    assert "tentative" not in ours
    assert f"default via {LAN_ADDRESS} dev host0" in report
    assert f"nameserver {LAN_ADDRESS}\n" in report
    assert f"{LAN_ADDRESS}     router.lan" in report
    _inside(router, "ping", "-c", "1", "-W", "5", LAN_ADDRESS)
    _ok(router, "ping", "-c", "1", "-W", "5", "192.168.1.50")

    _assert_gone(router, before, files)


@pytest.mark.parametrize("router", [LAN_STOCK], ids=["stock"], indirect=True)
def test_todays_spelling_does_the_same(router: Router) -> None:
    """What the README and docs/examples show works as it is written there."""
    files = _files(router)
    before = host.look()
    _create(
        router,
        "ip -oneline address show dev host0; ip route",
        (EXAMPLES / "today.uci").read_text(),
    )

    _ok(router, "uxc", "start", NAME)
    _wait_for("report", REPORT.exists)

    assert "inet 192.168.1.10/24" in REPORT.read_text()
    assert f"default via {LAN_ADDRESS} dev host0" in REPORT.read_text()
    _ok(router, "ping", "-c", "1", "-W", "5", "192.168.1.10")
    _assert_gone(router, before, files)


def _check(directory: Path, network: str) -> list[str]:
    """Return what ``uxc check`` says of the announcement beside ``network``: it warns, no more."""
    router = Router(directory, network)
    _ok(router, "uci", "batch", text=ANNOUNCEMENT)
    bundle = busybox.make_bundle(directory / "bundle", "true")
    config = directory / "root/etc/config"
    (config / "uxc").write_text(f"config container '{NAME}'\n\toption bundle '{bundle}'\n")

    done = router.run("uxc", "check")

    assert done.returncode == 0
    return (done.stdout + done.stderr).splitlines()


def test_check_names_what_a_stock_configuration_ignores(tmp_path: Path) -> None:
    """On today's lan the announcement's ``ifname`` is read by nobody else: check says what is."""
    warning, hint = _check(tmp_path, LAN_STOCK)

    network = tmp_path / "root/etc/config/network"
    lines = network.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line == "\tlist ifname 'vhost0'")
    assert warning.startswith(f"{network}:{number}: warning: interface 'lan': option 'ifname': ")
    assert "list ports 'vhost0'" in hint
    assert "'br-lan'" in hint


def test_check_is_content_with_a_bridge_lan(tmp_path: Path) -> None:
    """Where lan is ``type bridge`` the announcement is right as it is."""
    assert _check(tmp_path, LAN_BRIDGE) == []
