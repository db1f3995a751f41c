"""Rules across the sections of ``/etc/config/network``: what is plugged where, and only once. Pure.

Each function adds to the readings of the sections that it finds wrong. A problem that makes two
sections unusable stands in both readings and is shown once.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from uxc.config.jailed import JailedInterface
from uxc.config.netfields import mac
from uxc.config.network import Device, Network, says
from uxc.config.problem import title_of
from uxc.config.reading import Reading, nearest
from uxc.config.schema import BRIDGE, VETH
from uxc.config.source import Section


def check_devices(network: Network) -> None:
    """Find names that two devices have, and host ends of cables that are used twice."""
    _check_names(network)
    _check_macs(network)
    for cable in network.devices:
        if cable.kind == "veth" and cable.enabled:
            _check_host_end(network, cable)


def _check_names(network: Network) -> None:
    taken: dict[str, Device] = {}
    for device in network.devices:
        if not device.enabled or not device.kind:
            continue
        for option, name in (("name", device.name), ("peer_name", device.peer)):
            if not name:
                continue
            other = taken.setdefault(name, device)
            if other is not device:
                device.reading.fail(
                    option if option in device.reading.section.options else "type",
                    f"the name '{name}' is taken by the device at {other.reading.section.where}",
                    "give one of them another name",
                )
                other.reading.problems.append(device.reading.problems[-1])


def _check_macs(network: Network) -> None:
    taken: dict[str, Section] = {}
    for device in network.devices:
        if device.veth is None or not device.enabled:
            continue
        section = device.reading.section
        for option in ("macaddr", "peer_macaddr"):
            text = section.text(option)
            if not text:
                continue
            address = mac(text)
            if address in taken:
                device.reading.warn(
                    option,
                    f"'{address}' is also the address of an end at {taken[address].where}",
                    "two stations with one MAC address lose each other's packets",
                )
            taken.setdefault(address, section)


def _check_host_end(network: Network, cable: Device) -> None:
    """The host's end is in at most one bridge, or an interface of the host stands on it."""
    bridges = network.bridges_of(cable.name)
    users = [bridge.reading.section for bridge in bridges]
    standing = network.stands_on(cable.name)
    users += [standing] if standing else []
    for user in users[1:]:
        reading = Reading(user)
        option = next((name for name in ("ports", "ifname", "device") if name in user.options), "")
        first = users[0]
        reading.fail(
            option,
            f"'{cable.name}' is already plugged into {first.type} '{title_of(first)}' "
            f"at {first.where}",
            "one end of a cable goes into one bridge or one interface",
        )
        # It makes this cable unusable, not the bridge with all its other ports.
        cable.reading.problems += reading.problems


def chain_of(network: Network, entry: JailedInterface) -> list[Device]:
    """Return the devices that ``entry`` needs on the host: its cable and the cable's bridge."""
    cable = network.cable(entry.device)
    return [cable, *network.bridges_of(cable.name)] if cable else []


def check_device_of(network: Network, entry: JailedInterface) -> None:
    """Find out whether the device that ``entry`` names can go into a container."""
    option = _spelling(entry.section, "device", "ifname")
    cable = network.cable(entry.device)
    device = network.device(entry.device)
    if cable is not None and not cable.enabled:
        entry.reading.fail(
            option,
            f"'{entry.device}' is an end of the cable at {cable.reading.section.where}, "
            "which is switched off",
            "remove option enabled there",
        )
    elif cable is not None:
        _check_other_end(network, entry, cable)
    elif device is not None:
        _refuse_device(entry, option, device)
    for settings in network.settings_of(entry.device):
        _note_extra(settings.reading, frozenset(("name", "enabled")), settings.name)


def _check_other_end(network: Network, entry: JailedInterface, cable: Device) -> None:
    bridges = network.bridges_of(cable.name)
    if not bridges and network.stands_on(cable.name) is None:
        entry.reading.warn(
            "",
            f"the other end of '{entry.device}', '{cable.name}', is in no bridge",
            f"write list ports '{cable.name}' in the section of a bridge",
        )
    for device in (cable, *bridges):
        section = device.reading.section
        if section.type != "device":
            continue
        if says(section, "vlan_filtering", True):
            _share(
                device,
                entry,
                "vlan_filtering",
                "is not available yet for a container's bridge",
                "remove it, or make a bridge of its own for the container",
            )
        table = VETH if device.kind == "veth" else BRIDGE
        _note_extra(device.reading, table.names | {"vlan_filtering"}, "")
    names = {bridge.name for bridge in bridges}
    for section, target in network.beside:
        if section.type == "bridge-vlan" and target in names:
            reading = Reading(section)
            reading.fail(
                "device",
                f"VLANs of '{target}', a container's bridge, are not available yet",
                "remove the section, or make a bridge of its own for the container",
            )
            entry.reading.problems += reading.problems


def _share(device: Device, entry: JailedInterface, option: str, message: str, hint: str) -> None:
    reading = Reading(device.reading.section)
    reading.fail(option, message, hint)
    entry.reading.problems += reading.problems


def _note_extra(reading: Reading, known: frozenset[str], settings_of: str) -> None:
    """Say of options that only netifd applies that nobody does where it does not run."""
    noted = {problem.option for problem in reading.problems}
    for option in reading.section.options:
        if option in known or option in noted:
            continue
        if settings_of:
            reading.warn(option, f"is not applied to '{settings_of}' inside a container")
        else:
            reading.warn(option, "has no effect where netifd does not run", nearest(option, known))


def _refuse_device(entry: JailedInterface, option: str, device: Device) -> None:
    where = device.reading.section.where
    if device.kind == "veth":
        entry.reading.fail(
            option,
            f"'{device.name}' is the host's end of the cable at {where}",
            f"write '{device.peer}', the other end" if device.peer else "",
        )
    elif device.kind == "bridge":
        entry.reading.fail(
            option,
            f"'{device.name}' is a bridge, and the kernel moves none into a container",
            "put a veth's host end into it and write its peer_name here",
        )
    else:
        entry.reading.fail(
            option,
            f"'{device.name}' has type '{device.kind}' (at {where}), "
            "which is not available yet for containers",
            "use a device of type 'veth'",
        )


def check_routes(network: Network, entry: JailedInterface) -> None:
    """Refuse sections that would change ``entry`` from outside it."""
    for section, target in network.beside:
        if section.type != "bridge-vlan" and target == entry.section.name:
            reading = Reading(section)
            reading.fail(
                "",
                f"'{target}' belongs to container '{entry.jail}', and sections of this type "
                "are not available yet for containers",
                "a default route is option gateway of the interface",
            )
            entry.reading.problems += reading.problems


def check_claims(
    network: Network, ours: Sequence[JailedInterface], foreign: Sequence[JailedInterface]
) -> None:
    """Find devices that one of our interfaces shares with any other user."""
    users: dict[str, list[tuple[Section, JailedInterface | None]]] = {}
    for entry in ours:
        # A device that cannot be used at all has been refused with a better reason.
        if not any(problem.option in {"device", "ifname"} for problem in entry.reading.problems):
            users.setdefault(entry.device, []).append((entry.section, entry))
    for section, device in _other_users(network, foreign):
        if device in users:
            users[device].append((section, None))
    for device, claims in users.items():
        entries = [entry for _, entry in claims if entry is not None]
        if not device or len(claims) < 2:
            continue
        last = entries[-1]
        other = next(section for section, entry in claims if entry is not last)
        last.reading.fail(
            _spelling(last.section, "device", "ifname"),
            f"'{device}' is claimed by {other.type} '{title_of(other)}' at {other.where} too",
            "a device belongs to one section",
        )
        for entry in entries[:-1]:
            entry.reading.problems.append(last.reading.problems[-1])


def _other_users(
    network: Network, foreign: Sequence[JailedInterface]
) -> Iterator[tuple[Section, str]]:
    for entry in foreign:
        yield entry.section, entry.device
    for host in network.hosts:
        yield host.section, host.interface.device
    for device in network.devices:
        if device.enabled:
            for port in device.ports:
                yield device.reading.section, port


def check_inner_names(entries: Sequence[JailedInterface]) -> None:
    """Find two interfaces of one container that want one name inside it."""
    taken: dict[tuple[str, str], Section] = {}
    for entry in entries:
        section = entry.section
        option = _spelling(section, "jail_device", "jail_ifname")
        name = section.text(option) or entry.device
        other = taken.setdefault((entry.jail, name), section)
        if other is not section and name:
            entry.reading.fail(
                option if option in section.options else "",
                f"'{name}' is also the name of interface '{title_of(other)}' at {other.where} "
                "in the container",
                "write another jail_device",
            )


def check_addresses(network: Network, entries: Sequence[JailedInterface]) -> None:
    """Find one address at two stations of a container, or of a bridge."""
    taken: dict[tuple[str, str, IPv4Address | IPv6Address], Section] = {}
    for host in network.hosts:
        for address in host.interface.addresses:
            taken.setdefault(("bridge", host.interface.device, address.ip), host.section)
    for entry in entries:
        if entry.interface is None:
            continue
        cable = network.cable(entry.device)
        bridges = network.bridges_of(cable.name) if cable else []
        for address in entry.interface.addresses:
            option = "ipaddr" if address.version == 4 else "ip6addr"
            keys = [("bridge", bridge.name, address.ip) for bridge in bridges]
            others = [taken.setdefault(key, entry.section) for key in keys]
            others.append(taken.setdefault(("container", entry.jail, address.ip), entry.section))
            other = next((section for section in others if section is not entry.section), None)
            if other is not None:
                entry.reading.fail(
                    option,
                    f"'{address.ip}' is also the address of interface '{title_of(other)}' "
                    f"at {other.where}",
                )


def _spelling(section: Section, new: str, old: str) -> str:
    return old if new not in section.options and old in section.options else new
