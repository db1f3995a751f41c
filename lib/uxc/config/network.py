"""Sections of ``/etc/config/network`` → cables, bridges and interfaces, each for itself. Pure.

Most of that file is netifd's business. Read here is what wires containers: cables and bridges,
interfaces with ``jail``, and of the other interfaces what is plugged where.
"""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from uxc.config.fields import FieldError, boolean
from uxc.config.models import Bridge, Interface, Veth
from uxc.config.netfields import host4, host6, link_name, netmask
from uxc.config.problem import WARNING, Problem, place_of
from uxc.config.reading import Reading, read
from uxc.config.schema import BRIDGE, VETH
from uxc.config.source import Package, Section


@dataclass(slots=True)
class Device:
    """One device that a section declares (or that an interface of type bridge implies).

    ``kind`` is netifd's type, empty for settings of a device that exists anyway. A wrong device
    has neither ``veth`` nor ``bridge``; ``peer`` and ``ports`` are known all the same.
    """

    name: str
    kind: str
    reading: Reading
    peer: str = ""
    ports: tuple[str, ...] = ()
    enabled: bool = True
    veth: Veth | None = None
    bridge: Bridge | None = None


@dataclass(slots=True)
class HostInterface:
    """An interface of the host: what it stands on, and its static addresses."""

    section: Section
    interface: Interface


@dataclass(slots=True)
class Network:
    """What the sections say, before any is compared with another.

    ``problems`` belong to no device and to no container; ``jailed`` are sections still to be read.
    """

    devices: list[Device] = field(default_factory=list)
    hosts: list[HostInterface] = field(default_factory=list)
    jailed: list[Section] = field(default_factory=list)
    # Sections that act on a device or on an interface from outside, and which one.
    beside: list[tuple[Section, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    # Hundreds of cables may end in one bridge: every look-up goes by one of these.
    _by_name: dict[str, Device] = field(default_factory=dict)
    _by_peer: dict[str, Device] = field(default_factory=dict)
    _by_port: dict[str, list[Device]] = field(default_factory=dict)
    _settings: dict[str, list[Device]] = field(default_factory=dict)
    _standing: dict[str, Section] = field(default_factory=dict)

    def add(self, device: Device) -> None:
        """Add a device; the first one of a name is the one that is found."""
        self.devices.append(device)
        if device.kind:
            self._by_name.setdefault(device.name, device)
        elif device.enabled:
            self._settings.setdefault(device.name, []).append(device)
        if device.peer:
            self._by_peer.setdefault(device.peer, device)
        for port in device.ports:
            self._by_port.setdefault(port, []).append(device)

    def add_host(self, host: HostInterface) -> None:
        """Add an interface of the host."""
        self.hosts.append(host)
        self._standing.setdefault(host.interface.device, host.section)

    def plug(self, bridge: Device, port: str) -> None:
        """Give ``bridge`` one port more."""
        bridge.ports = (*bridge.ports, port)
        if bridge.bridge:
            bridge.bridge = replace(bridge.bridge, ports=bridge.ports)
        self._by_port.setdefault(port, []).append(bridge)

    def device(self, name: str) -> Device | None:
        """Return the device that a section with a type declares under ``name``."""
        return self._by_name.get(name)

    def cable(self, peer: str) -> Device | None:
        """Return the veth whose other end is ``peer``."""
        return self._by_peer.get(peer)

    def bridges_of(self, port: str) -> list[Device]:
        """Return the bridges that have ``port``, those that are switched off left out."""
        return [bridge for bridge in self._by_port.get(port, ()) if bridge.enabled]

    def stands_on(self, device: str) -> Section | None:
        """Return the first interface of the host that stands on ``device``."""
        return self._standing.get(device)

    def settings_of(self, name: str) -> list[Device]:
        """Return the sections without a type that have settings for the device ``name``."""
        return self._settings.get(name, [])


# Types of section that change a device or an interface, and the options that name which.
_BESIDE = {
    "bridge-vlan": ("device",),
    "route": ("interface",),
    "route6": ("interface",),
    "rule": ("in", "out"),
    "rule6": ("in", "out"),
    "neighbor": ("interface",),
    "neighbor6": ("interface",),
    "alias": ("interface",),
}

# What netifd takes from an interface with `option type 'bridge'` for the bridge itself.
_IMPLIED_BRIDGE = replace(
    BRIDGE,
    options=tuple(row for row in BRIDGE.options if row.name in {"ports", "macaddr", "mtu"}),
)


def says(section: Section, option: str, wanted: bool) -> bool:
    """Return whether ``option`` says ``wanted``; absent or no truth value, it says nothing."""
    try:
        return boolean(section.text(option)) is wanted
    except FieldError:
        return False


def is_off(section: Section) -> bool:
    """Return whether ``disabled`` or ``enabled`` switches ``section`` off."""
    return says(section, "disabled", True) or says(section, "enabled", False)


def read_network(package: Package) -> Network:
    """Read every section that matters for containers; netifd's other ones are passed over."""
    network = Network()
    for section in package.sections:
        if section.type == "device":
            _add_device(network, section)
        elif section.type == "interface" and not is_off(section):
            if section.text("jail"):
                network.jailed.append(section)
            else:
                _add_host_interface(network, section)
        elif section.type in _BESIDE and not is_off(section):
            for option in _BESIDE[section.type]:
                if section.text(option):
                    network.beside.append((section, section.text(option)))
    for host in network.hosts:
        _plug_old_ports(network, host.section)
    return network


def _add_device(network: Network, section: Section) -> None:
    kind = section.text("type")
    device = Device(section.text("name"), kind, Reading(section), enabled=not is_off(section))
    if kind == "veth":
        reading = device.reading = read(section, VETH)
        device.peer = section.text("peer_name")
        if device.peer and device.peer == device.name:
            reading.fail("peer_name", "is the name of the other end too", "give each end a name")
        if reading.is_right:
            values = _without(reading.values, "type", "enabled")
            device.veth = Veth(place=place_of(section), **values)
    elif kind == "bridge":
        reading = device.reading = read(section, BRIDGE)
        device.ports = reading.values.get("ports", ())
        if reading.is_right:
            values = _without(reading.values, "type", "enabled")
            device.bridge = Bridge(place=place_of(section), **values)
    network.add(device)


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _add_host_interface(network: Network, section: Section) -> None:
    words = section.words("device") or section.words("ifname")
    name = words[0] if words else ""
    if section.text("type") == "bridge":
        name = f"br-{section.name}"
        network.add(_implied_bridge(section, name))
    reading = Reading(section)
    interface = Interface(
        name=section.name,
        place=place_of(section),
        device="" if name.startswith("@") else name,
        proto=section.text("proto") or "none",
        addresses=_host_addresses(reading) if section.text("proto") == "static" else (),
    )
    network.problems += reading.problems
    network.add_host(HostInterface(section, interface))


def _implied_bridge(section: Section, name: str) -> Device:
    reading = read(section, _IMPLIED_BRIDGE)
    device = Device(name, "bridge", reading)
    ports = reading.values.get("ports", ())
    for port in section.words("device"):
        if port != name and port not in ports:
            reading.warn(
                "device",
                f"netifd does not plug '{port}' into '{name}' for this",
                f"write list ports '{port}'",
            )
            ports = (*ports, port)
    try:
        link_name(name)
    except FieldError as error:
        reading.fail("type", f"the bridge's name {error.message}", "rename the interface")
    device.ports = ports
    if reading.is_right:
        values = _without(reading.values, "ports")
        device.bridge = Bridge(name=name, place=place_of(section), ports=ports, **values)
    return device


def _host_addresses(reading: Reading) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Read static addresses as netifd does: without a prefix length they stand alone (/32, /128).

    What is wrong in them is netifd's to refuse; here it only gets a warning.
    """
    section = reading.section
    given = Reading(section)
    mask = section.text("netmask")
    prefix = given.parse("netmask", netmask, mask, 0) if mask else None
    own: list[IPv4Interface | IPv6Interface] = []
    for word in section.words("ipaddr"):
        host = given.parse("ipaddr", host4, word, 0)
        if host is not None:
            own.append(host.joined(32 if prefix is None else prefix))
    for word in section.words("ip6addr"):
        host = given.parse("ip6addr", host6, word, 0)
        if host is not None:
            own.append(host.joined(128))
    reading.problems += [replace(problem, severity=WARNING) for problem in given.problems]
    return tuple(own)


def _plug_old_ports(network: Network, section: Section) -> None:
    """Obey ``ifname`` beside ``device 'br-lan'``: the announcement's text on a stock configuration.

    netifd takes the device and passes over the ports.
    """
    given = section.options.get("ifname")
    words = section.words("device")
    if given is None or not words or section.text("type") == "bridge":
        return
    target = network.device(words[0])
    reading = Reading(section)
    for index, value in enumerate(given.values):
        for port in value.split():
            if port not in words:
                _plug(network, reading, target, words[0], port, index)
    network.problems += reading.problems


def _plug(
    network: Network, reading: Reading, target: Device | None, name: str, port: str, index: int
) -> None:
    reason = f"netifd does not read '{port}' beside option device '{name}'"
    if target is None or target.kind != "bridge":
        reading.warn(
            "ifname",
            f"{reason}, and no section makes '{name}' a bridge",
            f"write a section: config device, option name '{name}', option type 'bridge', "
            f"list ports '{port}'",
            index=index,
        )
        return
    reading.warn(
        "ifname",
        reason,
        f"write list ports '{port}' in the section of '{name}' at {target.reading.section.where}",
        index=index,
    )
    try:
        link_name(port)
    except FieldError as error:
        reading.warn("ifname", error.message, error.hint, index=index)
        return
    if port not in target.ports:
        network.plug(target, port)
