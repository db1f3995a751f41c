"""Configuration → wiring: what the network sections of a container mean for the kernel. Pure."""

from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from uxc.config import models
from uxc.config.models import Config, Interface
from uxc.net.model import Address, Bridge, Port, Route, Wiring

DEFAULT_IPV4, DEFAULT_IPV6 = "0.0.0.0/0", "::/0"
# Networks smaller than this have no address to spare for broadcasts (RFC 3021).
_LONGEST_PREFIX_WITH_BROADCAST = 30


def of(config: Config, container: str) -> Wiring:
    """Return what ``container`` shall have: the interfaces that name it as their jail."""
    interfaces = config.interfaces_of(container)
    ports = tuple(_port(config, interface) for interface in interfaces)
    names = dict.fromkeys(port.bridge for port in ports if port.bridge)
    servers = (server for interface in interfaces for server in interface.dns)
    return Wiring(
        container=container,
        bridges=tuple(_bridge(config, config.bridges[name]) for name in names),
        ports=ports,
        dns=tuple(dict.fromkeys(servers)),
    )


def shown(wiring: Wiring) -> list[dict[str, Any]]:  # JSON
    """Return what ``list --json`` shows of the interfaces, from the configuration alone."""
    return [
        {
            "name": port.name,
            "peer": port.host,
            "bridge": port.bridge,
            "addresses": [str(address) for address in port.addresses],
        }
        for port in wiring.ports
    ]


def _port(config: Config, interface: Interface) -> Port:
    static = interface.proto == "static"
    cable = config.veth_by_peer(interface.device)
    bridge = config.bridge_of(cable.name) if cable is not None else None
    return Port(
        interface=interface.name,
        device=interface.device,
        name=interface.jail_device or interface.device,
        host=cable.name if cable is not None else None,
        host_macaddr=_mac(cable.macaddr) if cable is not None else None,
        macaddr=_mac(cable.peer_macaddr) if cable is not None else None,
        mtu=cable.mtu if cable is not None else None,
        bridge=bridge.name if bridge is not None else None,
        host_addresses=_host_addresses(config, cable.name) if cable is not None else (),
        addresses=_addresses(interface) if static else (),
        routes=_routes(interface) if static else (),
        required=interface.required,
    )


def _bridge(config: Config, bridge: models.Bridge) -> Bridge:
    """Return a bridge; the host ends of cables are no ports of it that exist without us."""
    return Bridge(
        name=bridge.name,
        ports=tuple(port for port in bridge.ports if port not in config.veths),
        macaddr=_mac(bridge.macaddr),
        mtu=bridge.mtu,
        addresses=_host_addresses(config, bridge.name),
    )


def _host_addresses(config: Config, device: str) -> tuple[Address, ...]:
    """Return the static addresses that the host itself has on ``device``."""
    return tuple(
        address
        for interface in config.interfaces.values()
        if interface.device == device and interface.jail is None and interface.proto == "static"
        for address in _addresses(interface)
    )


def _addresses(interface: Interface) -> tuple[Address, ...]:
    return tuple(_address(entry) for entry in interface.addresses)


def _address(entry: IPv4Interface | IPv6Interface) -> Address:
    prefix = entry.network.prefixlen
    broadcast = entry.version == 4 and prefix <= _LONGEST_PREFIX_WITH_BROADCAST
    return Address(
        address=str(entry.ip),
        prefix=prefix,
        version=entry.version,
        # As netifd does; the kernel by itself sets none.
        broadcast=str(entry.network.broadcast_address) if broadcast else None,
    )


def _routes(interface: Interface) -> tuple[Route, ...]:
    routes = []
    if interface.gateway:
        routes.append(Route(target=DEFAULT_IPV4, version=4, gateway=interface.gateway))
    if interface.ip6gw:
        routes.append(Route(target=DEFAULT_IPV6, version=6, gateway=interface.ip6gw))
    return tuple(routes)


def _mac(text: str | None) -> str | None:
    """Return a MAC address as the kernel writes it."""
    return text.lower() if text is not None else None
