"""The scripts for OpenWrt, run by busybox's shell with the rest of OpenWrt played by the test."""

import shutil
import subprocess
from pathlib import Path

import pytest

import needs

FILES = Path(__file__).parents[2] / "files"

# What rc.common and procd.sh offer; every call is printed.
OPENWRT = """
say() { echo "$*"; }
uxc() { say "uxc $*"; }
logger() { cat; }
procd_running() { [ -n "$PLAY_RUNNING" ]; }
procd_open_instance() { say "open $*"; }
procd_set_param() { say "param $*"; }
procd_close_instance() { say close; }
procd_add_reload_trigger() { say "reload on config $*"; }
procd_add_raw_trigger() { say "trigger $*"; }
start() { start_service; service_started; wait; }
stop() { stop_service; say "procd kills"; }
"""


def _sh(script: Path, call: str = "", **environment: str) -> list[str]:
    """Source ``script`` beside the parts of OpenWrt, make ``call``; return the lines printed."""
    needs.require("busybox")
    busybox = shutil.which("busybox")
    assert busybox
    done = subprocess.run(
        [busybox, "ash", "-c", f'{OPENWRT}\n. "$0"\n{call}', str(script)],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def _init(call: str, **environment: str) -> list[str]:
    return _sh(FILES / "etc/init.d/uxc", call, **environment)


def test_start_runs_the_manager_and_boots_the_containers() -> None:
    """At boot procd gets one instance, and what has autostart is started beside."""
    lines = _init("start")

    assert "param command /usr/sbin/uxc-manager --log syslog" in lines
    assert any(line.startswith("param data version=") for line in lines)
    assert not any(line.startswith("param stdout") for line in lines)
    assert lines[-1].startswith("uxc boot --wait")


def test_start_again_does_not_boot() -> None:
    """Starting the running service, as an upgrade does, leaves stopped containers stopped."""
    assert not any(line.startswith("uxc boot") for line in _init("start", PLAY_RUNNING="1"))


def test_stop_ends_containers_and_keeper() -> None:
    """A stop ends the containers, in bounded time, and then the keeper."""
    stop_all, shutdown, kill = _init("stop")

    assert stop_all.startswith("uxc stop --all --timeout ")
    assert shutdown == "uxc shutdown --keeper"
    assert kill == "procd kills"


def test_restart_touches_the_manager_only() -> None:
    """A restart stops no container and boots none."""
    lines = _init("restart")

    assert "procd kills" in lines
    assert not any(line.startswith(("uxc stop", "uxc shutdown", "uxc boot")) for line in lines)


def test_an_upgrade_stops_no_container() -> None:
    """The stop that a package manager calls for an upgrade leaves the containers alone."""
    assert _init("stop", PKG_UPGRADE="1") == ["procd kills"]


def test_reload_talks_to_the_manager_only() -> None:
    """A reload asks the manager and does not call procd."""
    assert _init("reload_service") == ["uxc reload"]


def test_triggers_are_the_configs_and_mounts() -> None:
    """procd reloads us when our configs change and when a disk is mounted."""
    lines = _init("service_triggers")

    assert "reload on config uxc network" in lines
    assert any(line.startswith("trigger mount.add ") for line in lines)


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the hotplug scripts that looks at files below ``tmp_path``."""
    (tmp_path / "network").write_text(
        "config device\n\toption name 'vhost0'\nconfig interface 'virt0'\n\toption jail 'web'\n"
    )
    for kind in ("net", "iface"):
        text = (FILES / f"etc/hotplug.d/{kind}/50-uxc").read_text()
        text = text.replace("/etc/config/network", str(tmp_path / "network"))
        # What tells that the manager runs: any socket; here the file is enough.
        text = text.replace("[ -S /var/run/uxc/control.sock ]", '[ -z "$PLAY_DOWN" ]')
        (tmp_path / kind).write_text(text.replace(">/dev/null 2>&1 &", ""))
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "rings"),
    [
        ({"ACTION": "add", "INTERFACE": "vhost0"}, True),
        ({"ACTION": "remove", "INTERFACE": "vhost0"}, True),
        ({"ACTION": "move", "INTERFACE": "x", "DEVPATH_OLD": "/devices/net/vhost0"}, True),
        ({"ACTION": "add", "INTERFACE": "vhost01"}, False),
        ({"ACTION": "add", "INTERFACE": "v.*"}, False),
        ({"ACTION": "add"}, False),
        ({"ACTION": "change", "INTERFACE": "vhost0"}, False),
        ({"ACTION": "add", "INTERFACE": "vhost0", "PLAY_DOWN": "1"}, False),
    ],
)
def test_a_link_rings_when_the_configuration_names_it(
    router: Path, environment: dict[str, str], rings: bool
) -> None:
    """Links that no section names start no program."""
    assert _sh(router / "net", **environment) == (["uxc reload"] if rings else [])


@pytest.mark.parametrize(
    ("environment", "rings"),
    [
        ({"ACTION": "ifup", "INTERFACE": "lan"}, True),
        ({"ACTION": "ifdown", "INTERFACE": "lan"}, True),
        ({"ACTION": "ifupdate", "INTERFACE": "lan"}, False),
        ({"ACTION": "ifup", "INTERFACE": "lan", "PLAY_DOWN": "1"}, False),
    ],
)
def test_an_interface_rings_when_containers_have_cables(
    router: Path, environment: dict[str, str], rings: bool
) -> None:
    """netifd's events start a program only when some interface belongs to a container."""
    assert _sh(router / "iface", **environment) == (["uxc reload"] if rings else [])


def test_an_interface_rings_nothing_without_jails(router: Path) -> None:
    """Without an ``option jail`` in the configuration netifd's events start nothing."""
    (router / "network").write_text("config interface 'lan'\n\toption device 'jail'\n")

    assert _sh(router / "iface", ACTION="ifup", INTERFACE="lan") == []
