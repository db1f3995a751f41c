"""Every option of the table reads what it should and refuses, with a reason, what it should not."""

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.config.fields import FieldError
from uxc.config.models import Mount, Respawn
from uxc.config.netfields import Host4, Host6
from uxc.config.schema import BRIDGE, CONTAINER, GLOBALS, INTERFACE, TABLES, VETH

# (heading, option): texts with what they mean, and texts that mean nothing with part of the reason.
# Options whose text has a meaning only beside others (type, proto) are tried in test_config_check.
Good = list[tuple[str, object]]
Bad = list[tuple[str, str]]

TRUTH: tuple[Good, Bad] = (
    [(word, True) for word in ("1", "on", "true", "yes", "enabled", "TRUE")]
    + [(word, False) for word in ("0", "off", "false", "no", "disabled")],
    [(word, "neither true nor false") for word in ("", "2", "y", "ja", "1 ")],
)
DURATION: tuple[Good, Bad] = (
    [("0", 0), ("10", 10), ("90s", 90), ("2m", 120), ("1 h", 3600), ("1D", 86400)],
    [(text, "is not a time") for text in ("", "-1", "1.5", "ten", "1w", "1m30", "٣")],
)
SIZE: tuple[Good, Bad] = (
    [
        ("65536", 65536),
        ("64k", 65536),
        ("64K", 65536),
        ("64KiB", 65536),
        ("64 MB", 64 << 20),
        ("1G", 1 << 30),
        ("2t", 2 << 40),
    ],
    [
        ("64X", "is not a size"),
        ("-1M", "is not a size"),
        ("1.5G", "is not a size"),
        ("", "is not a size"),
        ("64", "is only 64 bytes"),
        ("0", "is only 0 bytes"),
        ("9999999999T", "more than the kernel"),
    ],
)
LINK: tuple[Good, Bad] = (
    [(name, name) for name in ("vhost0", "br-lan", "eth0.5", "a", "fifteen-bytes-x", "wlan0-1")],
    [
        ("sixteen-bytes-xx", "longer than 15 bytes"),
        ("ünf-zehn-bytes-", "longer than 15 bytes"),
        ("a/b", "not a name"),
        ("a:1", "not a name"),
        ("veth%d", "not a name"),
        (".", "not a name"),
        ("..", "not a name"),
        ("", "not a name"),
        ("a\x1bb", "not a name"),
    ],
)
MAC: tuple[Good, Bad] = (
    [("02:00:5E:10:00:01", "02:00:5e:10:00:01"), ("2:0:5e:10:0:1", "02:00:5e:10:00:01")],
    [
        ("01:00:5e:00:00:01", "multicast"),
        ("ff:ff:ff:ff:ff:ff", "multicast"),
        ("00:00:00:00:00:00", "no address of a station"),
        ("02:00:5e:10:00", "not a MAC address"),
        ("02-00-5e-10-00-01", "not a MAC address"),
        ("02:00:5e:10:00:0g", "not a MAC address"),
    ],
)
MTU: tuple[Good, Bad] = (
    [("68", 68), ("1500", 1500), ("65535", 65535)],
    [(text, "whole number from 68 to 65535") for text in ("67", "65536", "big", "")],
)
OVERLAY_PATH: tuple[Good, Bad] = (
    [("/mnt/x", "/mnt/x"), ("/mnt/x/", "/mnt/x"), ("/mnt/with blank", "/mnt/with blank")],
    [
        ("mnt/x", "not an absolute path"),
        ("", "not an absolute path"),
        ("/", "root directory"),
        ("/mnt/../etc", "goes up"),
        ("/mnt/a\nb", "control character"),
    ],
)
CASES: dict[tuple[str, str], tuple[Good, Bad]] = {
    ("globals", "network_timeout"): DURATION,
    ("globals", "log_ring"): SIZE,
    ("container", "bundle"): OVERLAY_PATH,
    ("container", "name"): (
        [(name, name) for name in ("web", "my-app", "a.b", "c++", "_", "0", "a" * 128)],
        [
            ("../x", "not a container name"),
            (".", "not a container name"),
            ("..", "not a container name"),
            ("", "not a container name"),
            ("a b", "not a container name"),
            ("ü", "not a container name"),
            ("a\n", "not a container name"),
            ("a" * 129, "longer than 128"),
        ],
    ),
    ("container", "enabled"): TRUTH,
    ("container", "autostart"): TRUTH,
    ("container", "console"): TRUTH,
    ("container", "respawn"): (
        [
            ("1", Respawn()),
            ("0", None),
            ("3600 5 0", Respawn(threshold_s=3600, timeout_s=5, retry=0)),
        ],
        [
            ("always", "does not say when"),
            ("3600 5", "does not say when"),
            ("3600 5 x", "not a whole number"),
            ("3600 5 -1", "not a whole number"),
        ],
    ),
    ("container", "stop_signal"): (
        [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigint", 2),
            ("9", 9),
            ("64", 64),
            ("RTMIN+3", 37),
            ("SIGRTMIN", 34),
            ("RTMAX-1", 63),
        ],
        [
            (text, "is not a signal")
            for text in ("", "0", "65", "-9", "_DFL", "SIG_IGN", "FOO", "RTMAX+1", "RTMIN-1")
        ],
    ),
    ("container", "stop_timeout"): DURATION,
    ("container", "temp_overlay_size"): (
        [("64M", str(64 << 20)), ("10%", "10%"), ("100 %", "100%")],
        [("0%", "between 1% and 100%"), ("101%", "between"), ("%", "not a size"), ("64", "only")],
    ),
    ("container", "write_overlay_path"): OVERLAY_PATH,
    ("container", "volumes"): (
        [(text, text) for text in ("/mnt/sda3", "UUID=1a2b-3c", "LABEL=data", "data.1")],
        [(text, "is not a volume") for text in ("UUID=", "a b", "-x", "LABEL=a/b", "")],
    ),
    ("container", "env"): (
        [(text, text) for text in ("A=b", "A=", "A=b=c d", "A.B=1", "TZ=Europe/Berlin")],
        [("A", "has no '='"), ("=b", "not the name"), ("A B=c", "not the name"), ("", "has no")],
    ),
    ("container", "mounts"): (
        [
            ("/srv:/srv", Mount(source="/srv", destination="/srv")),
            (
                "/srv/:/data/:ro,nosuid",
                Mount(source="/srv", destination="/data", options=("rbind", "ro", "nosuid")),
            ),
            ("/a:/b:bind,ro", Mount(source="/a", destination="/b", options=("bind", "ro"))),
            ("/:/host", Mount(source="/", destination="/host")),
        ],
        [
            ("/srv", "is not a mount"),
            ("/a:/b:ro:x", "is not a mount"),
            ("srv:/srv", "not an absolute path"),
            ("/srv:srv", "not an absolute path"),
            ("/srv:/", "root directory"),
            ("/srv:/a/../..", "goes up"),
            ("/srv:/srv:rx", "not an option of a bind mount"),
            ("/srv:/srv:size=1M", "not an option of a bind mount"),
        ],
    ),
    ("container", "memory"): SIZE,
    ("container", "cpu"): (
        [("1", 1.0), ("0.5", 0.5), ("0.01", 0.01), ("64", 64.0)],
        [
            (text, "not a number of processors")
            for text in ("0", "0.001", "-1", "1e3", "nan", "half", "", "50%")
        ],
    ),
    ("container", "pids"): (
        [("1", 1), ("4194304", 1 << 22)],
        [(text, "whole number from 1 to 4194304") for text in ("0", "-1", "4194305", "many", "")],
    ),
    ("device of type veth", "name"): LINK,
    ("device of type veth", "peer_name"): LINK,
    ("device of type veth", "macaddr"): MAC,
    ("device of type veth", "peer_macaddr"): MAC,
    ("device of type veth", "mtu"): MTU,
    ("device of type veth", "enabled"): TRUTH,
    ("device of type bridge", "name"): LINK,
    ("device of type bridge", "ports"): LINK,
    ("device of type bridge", "macaddr"): MAC,
    ("device of type bridge", "mtu"): MTU,
    ("device of type bridge", "enabled"): TRUTH,
    ("interface", "device"): LINK,
    ("interface", "jail"): (
        [("web", "web"), ("my-app", "my-app")],
        [("../x", "not a container name"), ("", "not a container name")],
    ),
    ("interface", "jail_device"): (
        [("eth0", "eth0"), ("host0", "host0")],
        [("lo", "loopback"), ("sixteen-bytes-xx", "longer than 15 bytes"), ("a b", "one device")],
    ),
    ("interface", "required"): TRUTH,
    ("interface", "ipaddr"): (
        [
            ("10.0.0.2/24", Host4(IPv4Address("10.0.0.2"), 24)),
            ("10.0.0.2/255.255.255.0", Host4(IPv4Address("10.0.0.2"), 24)),
            ("10.0.0.2", Host4(IPv4Address("10.0.0.2"), None)),
        ],
        [
            ("10.0.0.256", "not an IPv4 address"),
            ("10.0.0.2/33", "not a prefix length"),
            ("10.0.0.2/", "not a netmask"),
            ("0.0.0.0/0", "no address of one station"),
            ("224.0.0.1/4", "no address of one station"),
            ("fd00::1/64", "not an IPv4 address"),
        ],
    ),
    ("interface", "netmask"): (
        [("255.255.255.0", 24), ("24", 24), ("0.0.0.0", 0), ("255.255.255.255", 32)],
        [
            ("255.0.255.0", "not a netmask"),
            ("0.0.0.255", "not a netmask"),
            ("33", "not a prefix length"),
            ("", "not a netmask"),
        ],
    ),
    ("interface", "gateway"): (
        [("10.0.0.1", IPv4Address("10.0.0.1"))],
        [
            ("10.0.0.1/24", "not an IPv4 address"),
            ("router", "not an IPv4"),
            ("0.0.0.0", "no address of one station"),
        ],
    ),
    ("interface", "ip6addr"): (
        [
            ("fd00::2/64", Host6(IPv6Address("fd00::2"), 64)),
            ("fd00::2", Host6(IPv6Address("fd00::2"), None)),
        ],
        [
            ("fd00::2/129", "not a prefix length"),
            ("fd00::2%eth0", "names a link"),
            ("::/64", "no address of one station"),
            ("ff02::1/64", "no address of one station"),
            ("10.0.0.2/24", "not an IPv6 address"),
        ],
    ),
    ("interface", "ip6gw"): (
        [("fe80::1", IPv6Address("fe80::1"))],
        [("10.0.0.1", "not an IPv6"), ("::", "no address of one station")],
    ),
    ("interface", "dns"): (
        [("10.0.0.1", "10.0.0.1"), ("FD00::0:1", "fd00::1")],
        [("dns.example", "not an IP address"), ("fe80::1%eth0", "not an IP"), ("", "not an IP")],
    ),
    ("interface", "disabled"): TRUTH,
}
BESIDE_OTHERS = {
    (VETH.heading, "type"),
    (BRIDGE.heading, "type"),
    (INTERFACE.heading, "proto"),
}
PARSERS = {(table.heading, row.name): row.parse for table in TABLES for row in table.options}
GOOD_CASES = [(key, *case) for key, (good, _) in CASES.items() for case in good]
BAD_CASES = [(key, *case) for key, (_, bad) in CASES.items() for case in bad]


def test_each_option_of_the_table_is_tried() -> None:
    """No option is without a good and a bad text."""
    assert set(CASES) | BESIDE_OTHERS == set(PARSERS)
    assert all(good and bad for good, bad in CASES.values())


@pytest.mark.parametrize(("key", "text", "meaning"), GOOD_CASES)
def test_right_text_is_read(key: tuple[str, str], text: str, meaning: object) -> None:
    """A right text gives the value that it means."""
    assert PARSERS[key](text) == meaning


@pytest.mark.parametrize(("key", "text", "reason"), BAD_CASES)
def test_wrong_text_is_refused_with_a_reason(key: tuple[str, str], text: str, reason: str) -> None:
    """A wrong text gives an error that says why."""
    with pytest.raises(FieldError) as caught:
        PARSERS[key](text)
    assert reason in caught.value.message


@pytest.mark.parametrize("table", [GLOBALS, CONTAINER, VETH, BRIDGE, INTERFACE])
def test_examples_of_the_table_are_right(table: object) -> None:
    """What the documentation shows as an example is read without an error."""
    for row in table.options:
        row.parse(row.example)


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No parser raises anything but its own error, whatever the text."""
    for parse in PARSERS.values():
        with contextlib.suppress(FieldError):
            parse(text)
