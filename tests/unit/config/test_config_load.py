"""From files to values: both spellings, pending changes, damaged files, states of files."""

import os
import signal
from ipaddress import ip_interface
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uxc.config.check import judge
from uxc.config.load import fingerprint, judge_with, load
from uxc.config.models import Container, Mount, Respawn
from uxc.config.source import Given, Package, Section
from uxc.paths import Paths
from uxc.ucicli import main as uci

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs/examples"

CONTAINER1 = "config container 'container1'\n\toption bundle '/mnt/sda3/debian'\n"

# lan as OpenWrt had it until 19.07, and as it has been since 21.02.
OLD_LAN = """\
config interface 'lan'
	option type 'bridge'
	option ifname 'eth0'
	option proto 'static'
	option ipaddr '192.168.1.1'
	option netmask '255.255.255.0'
"""
STOCK_LAN = """\
config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1'
	option netmask '255.255.255.0'
	option ip6assign '60'
"""


def batch(prefix: Path, example: str) -> None:
    """Feed a file of docs/examples to ``uci batch``; keep our signal handlers from it."""
    folders = ["-c", f"{prefix}/etc/config", "-t", f"{prefix}/tmp/.uci", "-C", f"{prefix}/none"]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPIPE)}
    try:
        assert uci.main([*folders, "-f", str(EXAMPLES / example), "batch"]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("lan", "ports"), [(OLD_LAN, ("eth0",)), (STOCK_LAN, ("lan1", "lan2"))])
def test_announcement_is_read_on_both_kinds_of_lan(
    load_texts, prefix: Path, lan: str, ports: tuple[str, ...]
) -> None:
    """The announcement's text plugs its cable into br-lan, however lan is written."""
    load_texts(CONTAINER1, lan)
    batch(prefix, "announcement.uci")
    loaded = load_texts()
    assert loaded.errors == ()
    assert loaded.config.bridges["br-lan"].ports == (*ports, "vhost0")
    assert loaded.config.veths["vhost0"].peer_name == "virt0"
    assert loaded.config.interfaces["lan"].device == "br-lan"
    assert loaded.config.interfaces["lan"].addresses == (ip_interface("192.168.1.1/24"),)
    (interface,) = loaded.config.interfaces_of("container1")
    assert (interface.device, interface.jail_device, interface.proto) == ("virt0", "host0", "none")
    assert loaded.config.veth_by_peer("virt0") == loaded.config.veths["vhost0"]
    assert loaded.config.bridge_of("vhost0") == loaded.config.bridges["br-lan"]


def test_announcement_on_a_stock_lan_is_told_how_to_write_it_today(
    load_texts, prefix: Path
) -> None:
    """The warning names the line of ifname, and the section where list ports belongs."""
    load_texts(CONTAINER1, STOCK_LAN)
    batch(prefix, "announcement.uci")
    (warning,) = load_texts().problems
    lines = (prefix / "etc/config/network").read_text().split("\n")
    line = next(number for number, text in enumerate(lines, 1) if "list ifname 'vhost0'" in text)
    bridge = next(number for number, text in enumerate(lines, 1) if text == "config device")
    assert not warning.is_error
    assert str(warning) == (
        f"{prefix}/etc/config/network:{line}: warning: interface 'lan': option 'ifname': "
        "netifd does not read 'vhost0' beside option device 'br-lan'"
    )
    assert warning.hint == (
        f"write list ports 'vhost0' in the section of 'br-lan' at "
        f"{prefix}/etc/config/network:{bridge}"
    )


def test_todays_spelling_is_read_without_a_word(load_texts, prefix: Path) -> None:
    """The second example has static addresses and needs no warning."""
    load_texts(CONTAINER1, STOCK_LAN)
    batch(prefix, "today.uci")
    loaded = load_texts()
    assert loaded.problems == ()
    assert loaded.config.bridges["br-lan"].ports == ("lan1", "lan2", "vhost0")
    (interface,) = loaded.config.interfaces_of("container1")
    assert interface.addresses == (ip_interface("192.168.1.10/24"),)
    assert (interface.gateway, interface.dns) == ("192.168.1.1", ("192.168.1.1",))


def test_container_has_every_value_that_was_written(load_texts) -> None:
    """A full section becomes a value with units."""
    loaded = load_texts(
        """\
config uxc 'globals'
	option network_timeout '1m'
	option log_ring '128K'

config container 'web_1'
	option name 'web-1'
	option bundle '/b/'
	option autostart 'on'
	option console 'no'
	option respawn '60 1 3'
	option stop_signal 'INT'
	option stop_timeout '1m'
	option write_overlay_path '/changes'
	list volumes '/mnt/a'
	list volumes 'UUID=1'
	list env 'A=b c'
	list mounts '/srv:/srv:ro'
	option memory '64M'
	option cpu '1.5'
	option pids '50'
"""
    )
    assert loaded.problems == ()
    assert loaded.config.globals.network_timeout_s == 60
    assert loaded.config.globals.log_ring_bytes == 128 << 10
    container = loaded.config.containers["web-1"]
    assert (container.place.line, container.place.section) == (5, "web_1")
    assert container == Container(
        name="web-1",
        place=container.place,
        bundle="/b",
        autostart=True,
        console=False,
        respawn=Respawn(threshold_s=60, timeout_s=1, retry=3),
        stop_signal=2,
        stop_timeout_s=60,
        write_overlay_path="/changes",
        volumes=("/mnt/a", "UUID=1"),
        env=("A=b c",),
        mounts=(Mount(source="/srv", destination="/srv", options=("rbind", "ro")),),
        memory_bytes=64 << 20,
        cpus=1.5,
        pids=50,
    )


def test_lists_may_be_written_with_blanks(load_texts) -> None:
    """Where netifd splits a plain option at blanks, so is it done here; env keeps its blanks."""
    loaded = load_texts(
        CONTAINER1 + "\toption volumes '/a /b'\n\toption env 'A=b c'\n",
        "config interface 'x'\n\toption device 'eth9'\n\toption jail 'container1'\n"
        "\toption proto 'static'\n\toption ipaddr '10.0.0.2 10.0.0.3'\n"
        "\toption netmask '255.0.0.0'\n\toption dns '10.0.0.1 fd00::1'\n",
    )
    assert loaded.problems == ()
    container = loaded.config.containers["container1"]
    assert (container.volumes, container.env) == (("/a", "/b"), ("A=b c",))
    interface = loaded.config.interfaces["x"]
    assert interface.addresses == (ip_interface("10.0.0.2/8"), ip_interface("10.0.0.3/8"))
    assert interface.dns == ("10.0.0.1", "fd00::1")


def test_missing_files_are_empty_ones(load_texts) -> None:
    """A machine where nothing was configured yet has no containers and no problems."""
    loaded = load_texts()
    assert (loaded.problems, loaded.config.containers) == ((), {})


def test_damaged_uxc_file_is_told_with_line_and_reason(load_texts, prefix: Path) -> None:
    """A name with a hyphen makes the file unreadable; the problem says what to do instead."""
    loaded = load_texts("\nconfig container 'my-app'\n\toption bundle '/b'\n", STOCK_LAN)
    (problem,) = loaded.problems
    assert str(problem).startswith(f"{prefix}/etc/config/uxc:2: not UCI: invalid character in name")
    assert "option name" in problem.hint
    assert loaded.config.containers == {}
    assert "br-lan" in loaded.config.bridges
    assert judge_with(loaded, "web", {"bundle": "/b"}) is loaded


def test_damaged_network_file_leaves_no_container_right(load_texts) -> None:
    """Without the network file nobody can tell a container's wiring: none is started without."""
    loaded = load_texts(CONTAINER1, STOCK_LAN + "nonsense\n")
    (problem,) = loaded.problems
    assert (problem.line, problem.message) == (13, "not UCI: invalid command (byte 0)")
    assert loaded.config.containers == {}
    assert loaded.broken == {"container1": (problem,)}
    assert judge_with(loaded, "web", {"bundle": "/b"}).broken["web"] == (problem,)


def test_file_that_cannot_be_read_is_a_problem(prefix: Path) -> None:
    """A directory in place of the file is told, not raised."""
    (prefix / "etc/config/uxc").mkdir()
    (problem,) = load(Paths(str(prefix))).problems
    assert str(problem) == f"{prefix}/etc/config/uxc: cannot be read: is a directory"


def test_pending_changes_count_only_when_asked_for(load_texts, prefix: Path) -> None:
    """What is not committed is passed over, or judged under the name of the file it is in."""
    (prefix / "tmp/.uci/uxc").write_text("\nuxc.container1.memory='64X'\n")
    assert load_texts(CONTAINER1).problems == ()
    (problem,) = load_texts(CONTAINER1, pending=True).problems
    assert str(problem) == (
        f"{prefix}/tmp/.uci/uxc:2: container 'container1': option 'memory': '64X' is not a size"
    )


def test_override_directory_wins(load_texts, prefix: Path) -> None:
    """A file in /var/run/uci is read in place of the one in /etc/config, as libuci does."""
    (prefix / "var/run/uci").mkdir(parents=True)
    (prefix / "var/run/uci/uxc").write_text("config container 'other'\n\toption bundle '/o'\n")
    assert set(load_texts(CONTAINER1).config.containers) == {"other"}


def test_fingerprint_tells_states_of_the_files_apart(load_texts, prefix: Path) -> None:
    """It stays while nothing changes, and differs after an edit, a replacement, a new file."""
    paths = Paths(str(prefix))
    loaded = load_texts(CONTAINER1)
    seen = [loaded.fingerprint]
    assert fingerprint(paths) == loaded.fingerprint
    (prefix / "etc/config/network").write_text("")
    seen.append(fingerprint(paths))
    replacement = prefix / "new"
    replacement.write_text(CONTAINER1)
    os.utime(replacement, ns=(0, (prefix / "etc/config/uxc").stat().st_mtime_ns))
    replacement.rename(prefix / "etc/config/uxc")
    seen.append(fingerprint(paths))
    assert len(set(seen)) == 3


def test_section_can_be_judged_before_it_is_written(load_texts, prefix: Path) -> None:
    """A new container is right, or its errors say why not, those of its interfaces included."""
    network = "config interface 'x'\n\toption device 'eth9'\n\toption jail 'web'\n"
    loaded = load_texts(CONTAINER1, network)
    after = judge_with(loaded, "web", {"bundle": "/b", "mounts": ["/a:/a"]})
    assert (after.problems, after.broken) == ((), {})
    assert set(after.config.containers) == {"container1", "web"}
    assert [entry.name for entry in after.config.interfaces_of("web")] == ["x"]
    after = judge_with(loaded, "", {"name": "my-app", "bundle": "/b"})
    assert after.config.containers["my-app"].bundle == "/b"
    after = judge_with(loaded, "web", {"bundle": "b", "memory": "1X"})
    assert [str(problem) for problem in after.broken["web"]] == [
        "container 'web': option 'bundle': 'b' is not an absolute path",
        "container 'web': option 'memory': '1X' is not a size",
    ]
    after = judge_with(loaded, "", {"name": "container1", "bundle": "/b"})
    assert set(after.broken) == {"container1"}
    loaded = load_texts(CONTAINER1, network + "\toption proto 'dhcp'\n")
    assert set(judge_with(loaded, "web", {"bundle": "/b"}).broken) == {"web"}
    assert set(loaded.config.containers) == {"container1"}


def test_section_judged_under_a_name_that_exists_replaces_it(load_texts) -> None:
    """The section of that name is what would be overwritten, not a second one."""
    after = judge_with(load_texts(CONTAINER1), "container1", {"bundle": "/other"})
    assert after.config.containers["container1"].bundle == "/other"


def test_conffile_is_right_and_configures_nothing(load_texts) -> None:
    """The file that is installed has no container and no problem, its examples none either."""
    text = (ROOT / "files/etc/config/uxc").read_text()
    loaded = load_texts(text)
    assert (loaded.problems, loaded.config.containers) == ((), {})
    examples = "\n".join(
        line[1:] for line in text.split("\n") if line.startswith(("#config", "#\t"))
    )
    loaded = load_texts(examples)
    assert loaded.problems == ()
    assert set(loaded.config.containers) == {"web", "my-app"}


WORDS = st.sampled_from(
    """config option list container device interface uxc globals veth bridge type name bundle jail
    ifname ports device proto static ipaddr gateway jail_device peer_name enabled 0 1 web virt0
    vhost0 br-lan 10.0.0.1/24 10.0.0.1 fe80::1 ; # ' " \\""".split()
) | st.sampled_from(["\n", "\n\toption ", "\nconfig ", "\t", "\0", "ü", "\x1b"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    uxc=st.lists(WORDS).map(" ".join).map(str.encode) | st.binary(),
    network=st.lists(WORDS).map(" ".join).map(str.encode) | st.binary(),
)
def test_any_text_is_judged(prefix: Path, uxc: bytes, network: bytes) -> None:
    """Whatever stands in the files, loading gives problems of one printable line each."""
    (prefix / "etc/config/uxc").write_bytes(uxc)
    (prefix / "etc/config/network").write_bytes(network)
    loaded = load(Paths(str(prefix)))
    for problem in loaded.problems:
        assert (str(problem) + problem.hint).isprintable()
    assert not set(loaded.config.containers) & set(loaded.broken)


WORTHS = """veth bridge /b a b br-x web db static none 1 0 10.0.0.1/8 10.0.0.2 fd00::1/64
    255.0.0.0 02:00:00:00:00:01""".split()
VALUES = st.lists(st.sampled_from(WORTHS) | st.text(), min_size=1, max_size=3)
OPTIONS = """name type peer_name ports ifname device jail jail_device jail_ifname proto ipaddr
    netmask gateway ip6addr ip6gw dns disabled enabled bundle macaddr mtu required in interface
    vlan_filtering metric respawn mounts env""".split()
SECTIONS = st.lists(
    st.tuples(
        st.sampled_from(["container", "device", "interface", "bridge-vlan", "route", "uxc"]),
        st.sampled_from(["web", "db", "x", "globals"]),
        st.dictionaries(st.sampled_from(OPTIONS), VALUES),
    )
)


def package(file: str, sections: list[tuple[str, str, dict[str, list[str]]]]) -> Package:
    """Make a package out of types, names and options."""
    made = []
    for number, (kind, name, options) in enumerate(sections, 1):
        places = {option: ((file, number),) * len(values) for option, values in options.items()}
        read = {
            option: Given(values=tuple(values), places=places[option])
            for option, values in options.items()
        }
        made.append(Section(type=kind, name=name, file=file, line=number, options=read))
    return Package(file=file, sections=tuple(made))


@given(uxc=SECTIONS, network=SECTIONS)
def test_any_sections_are_judged(
    uxc: list[tuple[str, str, dict[str, list[str]]]],
    network: list[tuple[str, str, dict[str, list[str]]]],
) -> None:
    """Every combination of options gives a judgement whose parts fit together."""
    judgement = judge(package("u", uxc), package("n", network))
    config = judgement.config
    assert not set(config.containers) & set(judgement.broken)
    assert all(errors for errors in judgement.broken.values())
    claimed = [entry.device for entry in config.interfaces.values() if entry.jail]
    assert len(claimed) == len(set(claimed))
    for entry in config.interfaces.values():
        assert entry.jail is None or (entry.jail in config.containers and entry.jail_device)
