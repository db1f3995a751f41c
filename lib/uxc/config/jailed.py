"""One interface section with ``jail`` → what the container gets. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from uxc.config.models import Interface
from uxc.config.netfields import Host4, Host6
from uxc.config.problem import place_of
from uxc.config.reading import Reading, read
from uxc.config.schema import INTERFACE
from uxc.config.source import Section

_STATIC_ONLY = ("ipaddr", "netmask", "gateway", "ip6addr", "ip6gw")

# netifd's options that change what the container would get, and that are not done here yet:
# passing over them would wire something else than what is written.
_NOT_YET = {
    "metric": "remove it: the default route gets the kernel's own metric",
    "defaultroute": "remove it, and option gateway too when no default route is wanted",
    "broadcast": "remove it: the kernel's broadcast address follows from the prefix length",
    "ptpaddr": "remove it",
    "ip6prefix": "remove it",
    "ip6assign": "write a static ip6addr",
    "ip6hint": "write a static ip6addr",
    "ip6ifaceid": "write a static ip6addr",
    "ip4table": "remove it",
    "ip6table": "remove it",
    "dns_search": "remove it, or write the search list into the bundle's resolv.conf",
    "mtu": "write option mtu in the section of the device",
    "macaddr": "write option peer_macaddr in the section of the device",
}
_SAME_AS_ABSENT = {("metric", "0"), ("defaultroute", "1")}

_DHCP = frozenset(("dhcp", "dhcpv6"))

_Own = tuple[IPv4Interface, ...] | tuple[IPv6Interface, ...]


@dataclass(slots=True)
class JailedInterface:
    """A jailed interface: whose it is, what was read, and the value unless something is wrong.

    ``device`` is what the section names even when the rest of it is wrong.
    """

    jail: str
    device: str
    reading: Reading
    interface: Interface | None = None

    @property
    def section(self) -> Section:
        """The section itself."""
        return self.reading.section


def read_jailed(section: Section) -> JailedInterface:
    """Read one section that names a container as its jail."""
    reading = read(section, INTERFACE)
    device = (section.words("device") or section.words("ifname") or ("",))[0]
    entry = JailedInterface(section.text("jail"), device, reading)
    if section.text("type") == "bridge":
        reading.fail(
            "type",
            "the kernel moves no bridge into a container",
            "put a veth's host end into the bridge and its peer_name here as the device",
        )
    if device.startswith("@"):
        reading.fail(
            "device" if "device" in section.options else "ifname",
            f"'{device}' is another interface's device",
            "a container's interface needs a device of its own",
        )
    _check_proto(reading)
    for option, hint in _NOT_YET.items():
        text = section.text(option)
        if text and (option, text) not in _SAME_AS_ABSENT:
            reading.fail(option, "is not available yet for a container's interface", hint)
    values = reading.values
    static = values.get("proto") == "static"
    addresses = _addresses(reading) if static else ()
    if reading.is_right:
        entry.interface = Interface(
            name=section.name,
            place=place_of(section),
            device=values["device"],
            proto=values.get("proto", "none"),
            addresses=addresses,
            gateway=str(values["gateway"]) if static and "gateway" in values else None,
            ip6gw=str(values["ip6gw"]) if static and "ip6gw" in values else None,
            dns=values.get("dns", ()),
            jail=values["jail"],
            jail_device=values.get("jail_device", values["device"]),
            required=values.get("required", True),
        )
    return entry


def _check_proto(reading: Reading) -> None:
    section = reading.section
    proto = reading.values.get("proto", "none")
    if proto in _DHCP:
        reading.fail(
            "proto",
            f"'{proto}' from the host's side is not available yet",
            "write option proto 'none' and run a DHCP client in the container, "
            "or proto 'static' with ipaddr, gateway and dns",
        )
    elif proto not in {"none", "static"}:
        reading.fail(
            "proto",
            f"'{proto}' cannot configure a container's interface",
            "write 'none' or 'static'",
        )
    elif proto == "none":
        for option in _STATIC_ONLY:
            if section.text(option):
                reading.warn(option, "has no effect without option proto 'static'")


def _addresses(reading: Reading) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Return the static addresses, and note what is wrong between them and their routers."""
    section = reading.section
    own4 = _with_prefix(reading)
    own6 = tuple(host.joined(128) for host in _complete6(reading))
    _check_router(reading, "gateway", own4, "ipaddr")
    router6 = reading.values.get("ip6gw")
    if router6 is None or not router6.is_link_local:
        _check_router(reading, "ip6gw", own6, "ip6addr")
    if not section.text("ipaddr") and not section.text("ip6addr"):
        reading.fail("proto", "'static' needs option 'ipaddr' or 'ip6addr'")
    return (*own4, *own6)


def _with_prefix(reading: Reading) -> tuple[IPv4Interface, ...]:
    mask: int | None = reading.values.get("netmask")
    own = []
    hosts: tuple[Host4, ...] = reading.values.get("ipaddr", ())
    for host, index in zip(hosts, reading.indexes.get("ipaddr", ()), strict=True):
        if host.prefix is None and mask is None:
            if "netmask" not in reading.section.options:
                reading.fail(
                    "ipaddr",
                    f"'{host.address}' has no prefix length",
                    f"write '{host.address}/24', or add option netmask '255.255.255.0'",
                    index=index,
                )
            continue
        address = host.joined(32 if mask is None else mask)
        network = address.network
        if network.prefixlen < 31 and address.ip in {
            network.network_address,
            network.broadcast_address,
        }:
            reading.warn(
                "ipaddr",
                f"'{address}' is the address of the network, not of a station in it",
                index=index,
            )
        own.append(address)
    return tuple(own)


def _complete6(reading: Reading) -> list[Host6]:
    complete = []
    hosts: tuple[Host6, ...] = reading.values.get("ip6addr", ())
    for host, index in zip(hosts, reading.indexes.get("ip6addr", ()), strict=True):
        if host.prefix is None:
            reading.fail(
                "ip6addr",
                f"'{host.address}' has no prefix length",
                f"write '{host.address}/64'",
                index=index,
            )
        else:
            complete.append(host)
    return complete


def _check_router(reading: Reading, option: str, own: _Own, source: str) -> None:
    """Refuse a router that the kernel would: no network of the interface has it (ENETUNREACH)."""
    router: IPv4Address | IPv6Address | None = reading.values.get(option)
    # A wrong address has been reported; that the router is out of reach would only follow from it.
    if router is None or any(problem.option == source for problem in reading.problems):
        return
    if any(router == address.ip for address in own):
        reading.fail(option, f"'{router}' is the interface's own address")
    elif not any(router in address.network for address in own):
        networks = ", ".join(str(address.network) for address in own)
        reading.fail(
            option,
            f"'{router}' is out of reach: {source} has no network with it",
            f"choose an address in {networks}" if networks else f"write option {source} too",
        )
