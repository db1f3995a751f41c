"""The wiring of one container as values: what the kernel shall have. No effects here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address with its prefix length, as ``ip address add`` would take it."""

    address: str
    prefix: int
    family: int
    broadcast: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route through the interface that it belongs to; ``target`` is CIDR."""

    target: str
    family: int
    gateway: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """A link on the host side that we make when nobody else has made it (a bridge)."""

    name: str
    ports: tuple[str, ...] = ()
    macaddr: str | None = None
    mtu: int | None = None
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One interface of a container.

    A cable has ``host`` (the end that stays) and ``device`` (the peer's name on the host, also its
    name again after a stop); a lent device has ``host`` None.
    """

    interface: str
    device: str
    name: str
    host: str | None = None
    host_macaddr: str | None = None
    macaddr: str | None = None
    mtu: int | None = None
    bridge: str | None = None
    host_addresses: tuple[Address, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Everything that one container needs on both sides, and its resolver."""

    container: str
    bridges: tuple[HostLink, ...] = ()
    ports: tuple[Port, ...] = ()
    dns: tuple[str, ...] = ()
