"""Wrong configurations: the exact lines that are shown, and which containers stay right."""

from pathlib import Path

import pytest

from uxc.config.load import Loaded

# Containers web (line 1) and db (line 4), both right.
TWO = """\
config container 'web'
	option bundle '/b/web'

config container 'db'
	option bundle '/b/db'
"""

# A bridge (1), a host interface on it (6), one cable (11) and its interface in web (16).
WIRED = """\
config device 'lan_dev'
	option name 'br-lan'
	option type 'bridge'
	list ports 'vhost0'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1/24'

config device 'cable'
	option type 'veth'
	option name 'vhost0'
	option peer_name 'virt0'

config interface 'virt0'
	option device 'virt0'
	option proto 'static'
	option ipaddr '192.168.1.10/24'
	option gateway '192.168.1.1'
	option jail 'web'
	option jail_device 'host0'
"""
SECOND_CABLE = """
config device 'cable2'
	option type 'veth'
	option name 'vhost1'
	option peer_name 'virt1'

config device 'br2'
	option type 'bridge'
	option name 'br-two'
	option ports 'vhost1'
"""


def shown(loaded: Loaded, prefix: Path) -> list[str]:
    """Return every problem as it is shown, without the prefix."""
    return [str(problem).replace(str(prefix), "") for problem in loaded.problems]


UXC_CASES = {
    "an option that is missing": (
        "config container 'web'\n\toption autostart '1'\n",
        ["/etc/config/uxc:1: container 'web': option 'bundle' is missing"],
        set(),
    ),
    "all wrong options of all sections at once": (
        """\
config container 'web'
	option bundle 'web'
	option memory '64X'

config container 'db'
	option bundle '/b'
	option pids '0'

config container 'ok'
	option bundle '/b'
""",
        [
            "/etc/config/uxc:2: container 'web': option 'bundle': 'web' is not an absolute path",
            "/etc/config/uxc:3: container 'web': option 'memory': '64X' is not a size",
            "/etc/config/uxc:7: container 'db': option 'pids': "
            "'0' is not a whole number from 1 to 4194304",
        ],
        {"ok"},
    ),
    "a section without any name": (
        "config container\n\toption bundle '/b'\n",
        ["/etc/config/uxc:1: container '@container[0]': the container has no name"],
        set(),
    ),
    "an anonymous section with option name": (
        "config container\n\toption name 'my-app'\n\toption bundle '/b'\n",
        [],
        {"my-app"},
    ),
    "a name that climbs": (
        "config container 'x'\n\toption name '../x'\n\toption bundle '/b'\n",
        ["/etc/config/uxc:2: container '../x': option 'name': '../x' is not a container name"],
        set(),
    ),
    "a section name and an option name that are equal": (
        """\
config container 'web'
	option bundle '/b'

config container 'other'
	option name 'web'
	option bundle '/b'
""",
        [
            "/etc/config/uxc:5: container 'web': option 'name': "
            "the name 'web' is taken by the section at /etc/config/uxc:1"
        ],
        set(),
    ),
    "a disabled section with the same name": (
        """\
config container 'web'
	option bundle '/b'

config container 'other'
	option name 'web'
	option enabled 'off'
	option bundle 'not even a path'
""",
        [],
        {"web"},
    ),
    "both overlays": (
        """\
config container 'web'
	option bundle '/b'
	option write_overlay_path '/c'
	option temp_overlay_size '10%'
""",
        [
            "/etc/config/uxc:4: container 'web': option 'temp_overlay_size': "
            "cannot be used together with option 'write_overlay_path'"
        ],
        set(),
    ),
    "a list where one value belongs": (
        "config container 'web'\n\tlist bundle '/a'\n\tlist bundle '/b'\n",
        ["/etc/config/uxc:3: container 'web': option 'bundle': takes one value, not a list"],
        set(),
    ),
    "the wrong entry of a list": (
        """\
config container 'web'
	option bundle '/b'
	list env 'A=1'
	list env 'B'
	list mounts '/a:/b:rx'
""",
        [
            "/etc/config/uxc:4: container 'web': option 'env': 'B' has no '='",
            "/etc/config/uxc:5: container 'web': option 'mounts': "
            "'rx' is not an option of a bind mount",
        ],
        set(),
    ),
    "an option that is not known": (
        "config container 'web'\n\toption bundle '/b'\n\toption autostrat '1'\n",
        [
            "/etc/config/uxc:3: warning: container 'web': option 'autostrat': "
            "is not known for container and has no effect"
        ],
        {"web"},
    ),
    "a type of section that is not known": (
        "config contaner 'web'\n\toption bundle '/b'\n",
        [
            "/etc/config/uxc:1: warning: contaner 'web': "
            "sections of this type are not known and have no effect"
        ],
        set(),
    ),
    "settings that are wrong, or not the globals": (
        "config uxc 'globals'\n\toption log_ring '1'\n\toption foo '1'\nconfig uxc 'more'\n",
        [
            "/etc/config/uxc:2: uxc 'globals': option 'log_ring': '1' is only 1 bytes",
            "/etc/config/uxc:3: warning: uxc 'globals': option 'foo': "
            "is not known for globals and has no effect",
            "/etc/config/uxc:4: warning: uxc 'more': only the section 'globals' of this type "
            "is read",
        ],
        set(),
    ),
    "control characters in a value": (
        "config container 'web'\n\toption bundle 'a\tb\r\nc'\n",
        [
            "/etc/config/uxc:2: container 'web': option 'bundle': "
            "'a\\tb\\r\\nc' is not an absolute path"
        ],
        set(),
    ),
}


@pytest.mark.parametrize("case", UXC_CASES.values(), ids=UXC_CASES.keys())
def test_uxc_file(case: tuple[str, list[str], set[str]], load_texts, prefix: Path) -> None:
    """A wrong section is told by its lines and left out; right ones go on."""
    text, lines, right = case
    loaded = load_texts(text)
    assert shown(loaded, prefix) == lines
    assert set(loaded.config.containers) == right


def other(old: str, new: str, text: str = WIRED) -> str:
    """Return ``text`` with ``old`` replaced, which must be there."""
    assert old in text
    return text.replace(old, new)


# Text of the network file, lines shown, containers broken.
NETWORK_CASES = {
    "everything right": (WIRED, [], set()),
    "no device": (
        other("\toption device 'virt0'\n", ""),
        ["/etc/config/network:16: interface 'virt0': option 'device' is missing"],
        {"web"},
    ),
    "two devices": (
        other("device 'virt0'", "device 'virt0 virt1'"),
        [
            "/etc/config/network:17: interface 'virt0': option 'device': "
            "'virt0 virt1' is not one device name"
        ],
        {"web"},
    ),
    "the device of another interface": (
        other("device 'virt0'", "device '@lan'"),
        [
            "/etc/config/network:17: interface 'virt0': option 'device': "
            "'@lan' is another interface's device"
        ],
        {"web"},
    ),
    "a device name that is too long": (
        other("device 'host0'", "device 'a-name-too-long0'"),
        [
            "/etc/config/network:22: interface 'virt0': option 'jail_device': "
            "'a-name-too-long0' is longer than 15 bytes"
        ],
        {"web"},
    ),
    "a wrong cable breaks the container at its end": (
        other("peer_name 'virt0'", "peer_name 'virt0'\n\toption macaddr '01:00:5e:00:00:01'"),
        [
            "/etc/config/network:15: device 'vhost0': option 'macaddr': "
            "'01:00:5e:00:00:01' is a multicast address"
        ],
        {"web"},
    ),
    "a wrong bridge breaks the containers on it": (
        other("list ports 'vhost0'", "list ports 'vhost0'\n\tlist ports 'a/b'"),
        [
            "/etc/config/network:5: device 'br-lan': option 'ports': "
            "'a/b' is not a name for a network device"
        ],
        {"web"},
    ),
    "both ends of a cable under one name": (
        other("name 'virt0'", "name 'vhost0'") + SECOND_CABLE,
        [
            "/etc/config/network:14: device 'vhost0': option 'peer_name': "
            "is the name of the other end too",
        ],
        set(),
    ),
    "an end named as another device": (
        WIRED + other("name 'virt1'", "name 'br-lan'", SECOND_CABLE),
        [
            "/etc/config/network:27: device 'vhost1': option 'peer_name': "
            "the name 'br-lan' is taken by the device at /etc/config/network:1"
        ],
        {"web"},
    ),
    "two cables with one name": (
        WIRED + other("name 'vhost1'", "name 'vhost0'", SECOND_CABLE),
        [
            "/etc/config/network:26: device 'vhost0': option 'name': "
            "the name 'vhost0' is taken by the device at /etc/config/network:11"
        ],
        {"web"},
    ),
    "a host end in two bridges": (
        WIRED + other("ports 'vhost1'", "ports 'vhost1 vhost0'", SECOND_CABLE),
        [
            "/etc/config/network:32: device 'br-two': option 'ports': 'vhost0' is already plugged "
            "into device 'br-lan' at /etc/config/network:1"
        ],
        {"web"},
    ),
    "a host end in a bridge and in an interface": (
        WIRED + "config interface 'guest'\n\toption device 'vhost0'\n\toption proto 'none'\n",
        [
            "/etc/config/network:24: interface 'guest': option 'device': 'vhost0' is already "
            "plugged into device 'br-lan' at /etc/config/network:1"
        ],
        {"web"},
    ),
    "the host end as the container's device": (
        other("device 'virt0'", "device 'vhost0'"),
        [
            "/etc/config/network:17: interface 'virt0': option 'device': "
            "'vhost0' is the host's end of the cable at /etc/config/network:11"
        ],
        {"web"},
    ),
    "a bridge as the container's device": (
        other("device 'virt0'", "device 'br-lan'"),
        [
            "/etc/config/network:17: interface 'virt0': option 'device': 'br-lan' is a bridge, "
            "and the kernel moves none into a container"
        ],
        {"web"},
    ),
    "an interface that would be a bridge in the container": (
        other("option jail 'web'", "option jail 'web'\n\toption type 'bridge'"),
        [
            "/etc/config/network:22: interface 'virt0': option 'type': "
            "the kernel moves no bridge into a container"
        ],
        {"web"},
    ),
    "a device type of a later time": (
        other("device 'virt0'", "device 'mv0'")
        + "config device\n\toption name 'mv0'\n\toption type 'macvlan'\n",
        [
            "/etc/config/network:17: interface 'virt0': option 'device': 'mv0' has type 'macvlan' "
            "(at /etc/config/network:23), which is not available yet for containers"
        ],
        {"web"},
    ),
    "a cable that is switched off": (
        other("option type 'veth'", "option type 'veth'\n\toption enabled '0'"),
        [
            "/etc/config/network:18: interface 'virt0': option 'device': 'virt0' is an end of the "
            "cable at /etc/config/network:11, which is switched off"
        ],
        {"web"},
    ),
    "two containers that claim one device": (
        WIRED + "config interface 'again'\n\toption device 'virt0'\n\toption jail 'db'\n",
        [
            "/etc/config/network:24: interface 'again': option 'device': 'virt0' is claimed by "
            "interface 'virt0' at /etc/config/network:16 too"
        ],
        {"web", "db"},
    ),
    "a container and the host that claim one device": (
        "config interface 'wan'\n\toption ifname 'virt0'\n\toption proto 'dhcp'\n\n" + WIRED,
        [
            "/etc/config/network:21: interface 'virt0': option 'device': 'virt0' is claimed by "
            "interface 'wan' at /etc/config/network:1 too"
        ],
        {"web"},
    ),
    "a container and a bridge that claim one device": (
        other("list ports 'vhost0'", "option ports 'vhost0 virt0'"),
        [
            "/etc/config/network:17: interface 'virt0': option 'device': 'virt0' is claimed by "
            "device 'br-lan' at /etc/config/network:1 too"
        ],
        {"web"},
    ),
    "one name for two devices of a container": (
        WIRED
        + SECOND_CABLE
        + "config interface 'b'\n\toption ifname 'virt1'\n\toption jail 'web'\n"
        + "\toption jail_ifname 'host0'\n",
        [
            "/etc/config/network:36: interface 'b': option 'jail_ifname': 'host0' is also the "
            "name of interface 'virt0' at /etc/config/network:16 in the container"
        ],
        {"web"},
    ),
    "an address of the bridge's own": (
        other("'192.168.1.10/24'", "'192.168.1.1/24'").replace(
            "\toption gateway '192.168.1.1'\n", ""
        ),
        [
            "/etc/config/network:19: interface 'virt0': option 'ipaddr': '192.168.1.1' is also "
            "the address of interface 'lan' at /etc/config/network:6"
        ],
        {"web"},
    ),
    "one address on two cables of a container": (
        WIRED
        + SECOND_CABLE
        + "config interface 'b'\n\toption device 'virt1'\n\toption jail 'web'\n"
        + "\toption proto 'static'\n\toption ipaddr '192.168.1.10/16'\n",
        [
            "/etc/config/network:37: interface 'b': option 'ipaddr': '192.168.1.10' is also "
            "the address of interface 'virt0' at /etc/config/network:16"
        ],
        {"web"},
    ),
    "one address on two bridges": (
        WIRED
        + SECOND_CABLE
        + "config interface 'b'\n\toption device 'virt1'\n\toption jail 'db'\n"
        + "\toption proto 'static'\n\toption ipaddr '192.168.1.10/24'\n",
        [],
        set(),
    ),
    "an address without its prefix": (
        other("'192.168.1.10/24'", "'192.168.1.10'"),
        [
            "/etc/config/network:19: interface 'virt0': option 'ipaddr': "
            "'192.168.1.10' has no prefix length"
        ],
        {"web"},
    ),
    "an IPv6 address without its prefix": (
        other("option gateway '192.168.1.1'", "list ip6addr 'fd00::2'"),
        [
            "/etc/config/network:20: interface 'virt0': option 'ip6addr': "
            "'fd00::2' has no prefix length"
        ],
        {"web"},
    ),
    "the address of the network itself": (
        other("'192.168.1.10/24'", "'192.168.1.0/24'"),
        [
            "/etc/config/network:19: warning: interface 'virt0': option 'ipaddr': "
            "'192.168.1.0/24' is the address of the network, not of a station in it"
        ],
        set(),
    ),
    "a gateway that no network has": (
        other("gateway '192.168.1.1'", "gateway '192.168.2.1'"),
        [
            "/etc/config/network:20: interface 'virt0': option 'gateway': "
            "'192.168.2.1' is out of reach: ipaddr has no network with it"
        ],
        {"web"},
    ),
    "a gateway that is the container itself": (
        other("gateway '192.168.1.1'", "gateway '192.168.1.10'"),
        [
            "/etc/config/network:20: interface 'virt0': option 'gateway': "
            "'192.168.1.10' is the interface's own address"
        ],
        {"web"},
    ),
    "an IPv6 gateway that no network has": (
        other("gateway '192.168.1.1'", "ip6gw 'fd00::1'\n\toption ip6addr 'fd01::2/64'"),
        [
            "/etc/config/network:20: interface 'virt0': option 'ip6gw': "
            "'fd00::1' is out of reach: ip6addr has no network with it"
        ],
        {"web"},
    ),
    "a link-local gateway": (
        other("gateway '192.168.1.1'", "ip6gw 'fe80::1'"),
        [],
        set(),
    ),
    "static without an address": (
        other("\toption ipaddr '192.168.1.10/24'\n\toption gateway '192.168.1.1'\n", ""),
        [
            "/etc/config/network:18: interface 'virt0': option 'proto': "
            "'static' needs option 'ipaddr' or 'ip6addr'"
        ],
        {"web"},
    ),
    "addresses without static": (
        other(
            "proto 'static'\n\toption ipaddr '192.168.1.10",
            "proto 'none'\n\toption ipaddr '192.168.1.10",
        ),
        [
            "/etc/config/network:19: warning: interface 'virt0': option 'ipaddr': "
            "has no effect without option proto 'static'",
            "/etc/config/network:20: warning: interface 'virt0': option 'gateway': "
            "has no effect without option proto 'static'",
        ],
        set(),
    ),
    "dhcp from outside": (
        WIRED
        + SECOND_CABLE
        + "config interface 'b'\n\toption device 'virt1'\n\toption jail 'db'\n"
        + "\toption proto 'dhcpv6'\n",
        [
            "/etc/config/network:36: interface 'b': option 'proto': "
            "'dhcpv6' from the host's side is not available yet"
        ],
        {"db"},
    ),
    "a proto that configures no container": (
        WIRED
        + SECOND_CABLE
        + "config interface 'b'\n\toption device 'virt1'\n\toption jail 'db'\n"
        + "\toption proto 'pppoe'\n",
        [
            "/etc/config/network:36: interface 'b': option 'proto': "
            "'pppoe' cannot configure a container's interface"
        ],
        {"db"},
    ),
    "an option of a later time": (
        other("option jail 'web'", "option jail 'web'\n\toption metric '20'"),
        [
            "/etc/config/network:22: interface 'virt0': option 'metric': "
            "is not available yet for a container's interface"
        ],
        {"web"},
    ),
    "an option of a later time that says what is done anyway": (
        other("option jail 'web'", "option jail 'web'\n\toption metric '0'"),
        [],
        set(),
    ),
    "a route of a container's interface": (
        WIRED + "config route\n\toption interface 'virt0'\n\toption target '10.0.0.0/8'\n",
        [
            "/etc/config/network:23: route '@route[0]': 'virt0' belongs to container 'web', and "
            "sections of this type are not available yet for containers"
        ],
        {"web"},
    ),
    "VLANs of a container's bridge": (
        WIRED + "config bridge-vlan\n\toption device 'br-lan'\n\toption vlan '10'\n",
        [
            "/etc/config/network:24: bridge-vlan '@bridge-vlan[0]': option 'device': "
            "VLANs of 'br-lan', a container's bridge, are not available yet"
        ],
        {"web"},
    ),
    "VLAN filtering of a container's bridge": (
        other("list ports 'vhost0'", "list ports 'vhost0'\n\toption vlan_filtering 'true'"),
        [
            "/etc/config/network:5: device 'br-lan': option 'vlan_filtering': "
            "is not available yet for a container's bridge"
        ],
        {"web"},
    ),
    "what only netifd does for a container's bridge": (
        other("list ports 'vhost0'", "list ports 'vhost0'\n\toption stp '1'"),
        [
            "/etc/config/network:5: warning: device 'br-lan': option 'stp': "
            "has no effect where netifd does not run"
        ],
        set(),
    ),
    "settings of the container's end in a section of their own": (
        WIRED + "config device\n\toption name 'virt0'\n\toption mtu '1400'\n",
        [
            "/etc/config/network:25: warning: device 'virt0': option 'mtu': "
            "is not applied to 'virt0' inside a container"
        ],
        set(),
    ),
    "a cable that ends nowhere on the host": (
        other("list ports 'vhost0'", "list ports 'lan1'"),
        [
            "/etc/config/network:16: warning: interface 'virt0': "
            "the other end of 'virt0', 'vhost0', is in no bridge"
        ],
        set(),
    ),
    "one MAC address twice": (
        other(
            "peer_name 'virt0'",
            "peer_name 'virt0'\n\toption macaddr '02:0:0:0:0:1'"
            "\n\toption peer_macaddr '02:00:00:00:00:01'",
        ),
        [
            "/etc/config/network:16: warning: device 'vhost0': option 'peer_macaddr': "
            "'02:00:00:00:00:01' is also the address of an end at /etc/config/network:11"
        ],
        set(),
    ),
    "a jail that nobody declares": (
        other("jail 'web'", "jail 'wep'"),
        [
            "/etc/config/network:21: warning: interface 'virt0': option 'jail': "
            "no section of /etc/config/uxc declares a container 'wep'"
        ],
        set(),
    ),
    "a wrong interface of a jail that nobody declares": (
        other("jail 'web'", "jail 'procd_one'").replace(
            "'static'\n\toption ipaddr '192.168.1.10", "'dhcp'\n\toption ipaddr '192.168.1.10"
        ),
        [
            "/etc/config/network:21: warning: interface 'virt0': option 'jail': "
            "no section of /etc/config/uxc declares a container 'procd_one'"
        ],
        set(),
    ),
    "two spellings that differ": (
        other("option device 'virt0'", "option device 'virt0'\n\toption ifname 'virt9'"),
        [
            "/etc/config/network:18: warning: interface 'virt0': option 'ifname': "
            "has no effect beside option 'device'"
        ],
        set(),
    ),
    "an old port beside a bridge that no section declares": (
        "config interface 'lan'\n\toption device 'br0'\n\tlist ifname 'vhost9'\n",
        [
            "/etc/config/network:3: warning: interface 'lan': option 'ifname': netifd does not "
            "read 'vhost9' beside option device 'br0', and no section makes 'br0' a bridge"
        ],
        set(),
    ),
    "ports of a bridge in option device": (
        "config interface 'lan'\n\toption type 'bridge'\n\toption device 'eth0 br-lan'\n",
        [
            "/etc/config/network:3: warning: interface 'lan': option 'device': "
            "netifd does not plug 'eth0' into 'br-lan' for this"
        ],
        set(),
    ),
    "an interface whose bridge would have too long a name": (
        "config interface 'a_name_of_fifteen'\n\toption type 'bridge'\n",
        [
            "/etc/config/network:2: interface 'a_name_of_fifteen': option 'type': "
            "the bridge's name 'br-a_name_of_fifteen' is longer than 15 bytes"
        ],
        set(),
    ),
    "a wrong address of the host": (
        "config interface 'lan'\n\toption proto 'static'\n\toption ipaddr '192.168.1.300'\n",
        [
            "/etc/config/network:3: warning: interface 'lan': option 'ipaddr': "
            "'192.168.1.300' is not an IPv4 address"
        ],
        set(),
    ),
    "what is netifd's business alone": (
        "config interface 'wan'\n\toption device 'eth1'\n\toption proto 'dhcp'\n"
        "config interface 'wan6'\n\toption device '@wan'\n\toption proto 'dhcpv6'\n"
        "config globals 'globals'\n\toption ula_prefix 'auto'\n"
        "config device\n\toption name 'eth1'\n\toption macaddr 'what'\n"
        "config interface 'off'\n\toption disabled '1'\n\toption jail 'web'\n",
        [],
        set(),
    ),
}


@pytest.mark.parametrize("case", NETWORK_CASES.values(), ids=NETWORK_CASES.keys())
def test_network_file(case: tuple[str, list[str], set[str]], load_texts, prefix: Path) -> None:
    """A wrong wiring is told by its lines and breaks the containers that need it, no others."""
    text, lines, broken = case
    loaded = load_texts(TWO, text)
    assert shown(loaded, prefix) == lines
    assert set(loaded.broken) == broken
    assert set(loaded.config.containers) == {"web", "db"} - broken
    assert {entry.jail for entry in loaded.config.interfaces.values() if entry.jail} <= set(
        loaded.config.containers
    )


def test_hint_says_what_to_write(load_texts, prefix: Path) -> None:
    """Problems with a usual cause carry the words that cure them."""
    loaded = load_texts(
        "config container 'web'\n\toption bundle '/b'\n\toption memroy '1M'\n",
        "config interface 'x'\n\toption device 'eth5'\n\toption jail 'web'\n\toption proto 'dhcp'\n"
        "config interface 'y'\n\toption device 'eth6'\n\toption jail 'wbe'\n",
    )
    assert [problem.hint for problem in loaded.problems] == [
        "did you mean 'memory'?",
        "write option proto 'none' and run a DHCP client in the container, "
        "or proto 'static' with ipaddr, gateway and dns",
        "did you mean 'web'?",
    ]


def test_disabled_container_is_ignored_with_its_interfaces(load_texts, prefix: Path) -> None:
    """Nothing is said of a disabled container, nor of what was wrong in its wiring."""
    loaded = load_texts(
        "config container 'web'\n\toption enabled '0'\n", other("'192.168.1.10/24'", "'nonsense'")
    )
    assert shown(loaded, prefix) == []
    assert set(loaded.disabled) == {"web"}
    assert "virt0" not in loaded.config.interfaces


def test_shared_mistake_is_shown_once_and_breaks_both(load_texts) -> None:
    """A device that two containers claim is one problem, known for both."""
    loaded = load_texts(
        TWO, WIRED + "config interface 'again'\n\toption device 'virt0'\n\toption jail 'db'\n"
    )
    assert len(loaded.problems) == 1
    assert loaded.broken == {"web": loaded.problems, "db": loaded.problems}
