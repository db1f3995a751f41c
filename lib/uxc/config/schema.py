"""The option table: every section and option that is read, with default, unit and help. Pure.

The reader, ``docs/config.md`` and the nearest-name hints all come from here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from uxc.config import fields, netfields


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a section.

    ``many`` makes it a list; ``blanks`` splits a plain option at blanks, as netifd does where it
    expects a list. ``old`` is an earlier spelling that means the same. ``default`` and ``unit``
    are for readers; the value of an absent option is the model's own default.
    """

    name: str
    parse: Callable[[str], object]
    help: str
    default: str = ""
    unit: str = ""
    example: str
    many: bool = False
    blanks: bool = False
    old: str = ""
    required: bool = False
    since: str = "0.1"

    @property
    def kind(self) -> str:
        """The UCI keyword: ``option`` or ``list``."""
        return "list" if self.many else "option"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The options of one kind of section; ``complete`` when a name beyond them is a mistake."""

    file: str
    heading: str
    declaration: str
    help: str
    options: tuple[Option, ...]
    complete: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Every spelling of every option."""
        return frozenset(row.name for row in self.options) | frozenset(
            row.old for row in self.options if row.old
        )


def _text(text: str) -> str:
    """Take the text as it is: its meaning depends on other options."""
    return text


CONTAINER = Table(
    file="uxc",
    heading="container",
    declaration="config container 'NAME'",
    help="One container. `option jail` of an interface names it.",
    complete=True,
    options=(
        Option(
            name="bundle",
            parse=fields.below_root,
            required=True,
            example="/mnt/sda3/debian",
            help="Directory of the OCI bundle, which holds `config.json`.",
        ),
        Option(
            name="name",
            parse=fields.container_name,
            default="the section's name",
            example="my-app",
            help="Name of the container, where it has letters that a UCI section name cannot "
            "have (`-`, `.`, `+`).",
        ),
        Option(
            name="enabled",
            parse=fields.boolean,
            default="1",
            example="0",
            help="With `0` the whole section is ignored.",
        ),
        Option(
            name="autostart",
            parse=fields.boolean,
            default="0",
            example="1",
            help="Whether `uxc boot` starts the container.",
        ),
        Option(
            name="console",
            parse=fields.boolean,
            default="as the bundle says",
            example="1",
            help="Whether the program gets a terminal (`process.terminal` of `config.json`).",
        ),
        Option(
            name="respawn",
            parse=fields.respawn,
            default="0",
            example="3600 5 5",
            help="Start the container again when it ends by itself: `1`, or procd's three numbers. "
            "The first: a run of at least so many seconds counts as good. The second: seconds to "
            "wait before the next start. The third: how many bad runs in a row end it.",
        ),
        Option(
            name="stop_signal",
            parse=fields.stop_signal,
            default="TERM",
            example="RTMIN+3",
            help="Signal that asks the program to end: a name or a number.",
        ),
        Option(
            name="stop_timeout",
            parse=fields.duration,
            default="10",
            unit="seconds",
            example="30",
            help="How long the program may take to end before it is killed.",
        ),
        Option(
            name="temp_overlay_size",
            parse=fields.tmpfs_size,
            default="no overlay",
            unit="bytes",
            example="64M",
            help="The root file system becomes an overlay whose changes stay in memory, up to this "
            "size (or `N%` of memory), and are gone when the container is deleted.",
        ),
        Option(
            name="write_overlay_path",
            parse=fields.below_root,
            default="no overlay",
            example="/mnt/sda3/debian-changes",
            help="The root file system becomes an overlay whose changes are kept in this "
            "directory. Not together with `temp_overlay_size`.",
        ),
        Option(
            name="volumes",
            parse=fields.volume,
            many=True,
            blanks=True,
            example="/mnt/sda3",
            help="What must be mounted before the container is created: a mount point, "
            "`UUID=…`, `LABEL=…` or the name of a volume.",
        ),
        Option(
            name="env",
            parse=fields.environment,
            many=True,
            example="TZ=Europe/Berlin",
            help="A variable, `NAME=VALUE`, set beside those of the bundle; the same name here "
            "wins.",
        ),
        Option(
            name="mounts",
            parse=fields.mount,
            many=True,
            example="/srv/www:/var/www:ro,nosuid",
            help="A host directory or file shown in the container: "
            "`SOURCE:DESTINATION[:OPTION,…]`, with the options of a bind mount.",
        ),
        Option(
            name="memory",
            parse=fields.size,
            default="as the bundle says",
            unit="bytes",
            example="64M",
            help="Most memory that the container may use.",
        ),
        Option(
            name="cpu",
            parse=fields.cpus,
            default="as the bundle says",
            unit="processors",
            example="0.5",
            help="Most processor time: `1` is one processor, `0.5` half of one.",
        ),
        Option(
            name="pids",
            parse=fields.pids,
            default="as the bundle says",
            example="100",
            help="Most processes and threads.",
        ),
    ),
)

GLOBALS = Table(
    file="uxc",
    heading="globals",
    declaration="config uxc 'globals'",
    help="Settings of the manager, for all containers.",
    complete=True,
    options=(
        Option(
            name="network_timeout",
            parse=fields.duration,
            default="10",
            unit="seconds",
            example="30",
            help="How long `uxc create` waits for devices that others bring (netifd, a plug).",
        ),
        Option(
            name="log_ring",
            parse=fields.size,
            default="64K",
            unit="bytes",
            example="256K",
            help="How much of each container's output is kept in memory for whoever attaches.",
        ),
    ),
)

VETH = Table(
    file="network",
    heading="device of type veth",
    declaration="config device",
    help="A virtual cable. One end stays on the host, the other goes into a container.",
    options=(
        Option(
            name="name",
            parse=netfields.link_name,
            required=True,
            example="vhost0",
            help="Name of the end that stays on the host.",
        ),
        Option(
            name="type",
            parse=_text,
            required=True,
            example="veth",
            help="`veth` for a cable.",
        ),
        Option(
            name="peer_name",
            parse=netfields.link_name,
            required=True,
            example="virt0",
            help="Name of the other end; an interface with `jail` names it as its device.",
        ),
        Option(
            name="macaddr",
            parse=netfields.mac,
            default="chosen by the kernel",
            example="02:00:5e:10:00:01",
            help="MAC address of the host's end.",
        ),
        Option(
            name="peer_macaddr",
            parse=netfields.mac,
            default="chosen by the kernel",
            example="02:00:5e:10:00:02",
            help="MAC address of the container's end; one that stays keeps a DHCP lease.",
        ),
        Option(
            name="mtu",
            parse=fields.mtu,
            default="1500",
            unit="bytes",
            example="1492",
            help="MTU of both ends.",
        ),
        Option(
            name="enabled",
            parse=fields.boolean,
            default="1",
            example="0",
            help="With `0` the section is ignored.",
        ),
    ),
)

BRIDGE = Table(
    file="network",
    heading="device of type bridge",
    declaration="config device",
    help="A bridge. An interface with `option type 'bridge'` is the older way to say the same: "
    "it makes `br-INTERFACE`.",
    options=(
        Option(
            name="name",
            parse=netfields.link_name,
            required=True,
            example="br-lan",
            help="Name of the bridge.",
        ),
        Option(
            name="type",
            parse=_text,
            required=True,
            example="bridge",
            help="`bridge` for a bridge.",
        ),
        Option(
            name="ports",
            parse=netfields.link_name,
            many=True,
            blanks=True,
            old="ifname",
            example="vhost0",
            help="Devices that are plugged into the bridge.",
        ),
        Option(
            name="macaddr",
            parse=netfields.mac,
            default="chosen by the kernel",
            example="02:00:5e:10:00:10",
            help="MAC address of the bridge.",
        ),
        Option(
            name="mtu",
            parse=fields.mtu,
            default="1500",
            unit="bytes",
            example="1492",
            help="MTU of the bridge.",
        ),
        Option(
            name="enabled",
            parse=fields.boolean,
            default="1",
            example="0",
            help="With `0` the section is ignored.",
        ),
    ),
)

INTERFACE = Table(
    file="network",
    heading="interface",
    declaration="config interface 'NAME'",
    help="With `option jail` a container's interface. Of the others only device, type, ports "
    "and static addresses are read, to see what is plugged where.",
    options=(
        Option(
            name="device",
            parse=netfields.link_name,
            required=True,
            old="ifname",
            example="virt0",
            help="The device: the `peer_name` of a cable, or a device that is lent to the "
            "container while it exists.",
        ),
        Option(
            name="jail",
            parse=fields.container_name,
            example="container1",
            help="Name of the container that gets the device.",
        ),
        Option(
            name="jail_device",
            parse=netfields.inner_link_name,
            default="the device's name",
            old="jail_ifname",
            example="host0",
            help="Name of the device inside the container.",
        ),
        Option(
            name="required",
            parse=fields.boolean,
            default="1",
            example="0",
            help="With `0` the container starts without this interface when its device is absent.",
        ),
        Option(
            name="proto",
            parse=_text,
            default="none",
            example="static",
            help="`none`: a program in the container sets addresses, such as a DHCP client. "
            "`static`: they are set from here before the program starts.",
        ),
        Option(
            name="ipaddr",
            parse=netfields.host4,
            many=True,
            blanks=True,
            example="192.168.1.10/24",
            help="IPv4 address with its prefix length, or without one beside `netmask`.",
        ),
        Option(
            name="netmask",
            parse=netfields.netmask,
            example="255.255.255.0",
            help="Netmask of every `ipaddr` that has no prefix length.",
        ),
        Option(
            name="gateway",
            parse=netfields.gateway4,
            example="192.168.1.1",
            help="Router of the IPv4 default route, in a network of one `ipaddr`.",
        ),
        Option(
            name="ip6addr",
            parse=netfields.host6,
            many=True,
            blanks=True,
            example="fd00::10/64",
            help="IPv6 address with its prefix length.",
        ),
        Option(
            name="ip6gw",
            parse=netfields.gateway6,
            example="fe80::1",
            help="Router of the IPv6 default route: link-local, or in a network of one `ip6addr`.",
        ),
        Option(
            name="dns",
            parse=netfields.resolver,
            many=True,
            blanks=True,
            example="192.168.1.1",
            help="Name server for the container's `resolv.conf`.",
        ),
        Option(
            name="disabled",
            parse=fields.boolean,
            default="0",
            example="1",
            help="With `1` the section is ignored.",
        ),
    ),
)

TABLES = (GLOBALS, CONTAINER, VETH, BRIDGE, INTERFACE)
