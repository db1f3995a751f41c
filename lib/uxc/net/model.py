"""The wiring of one container as values: what the kernel shall have. No effects here."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address with its prefix length, as ``ip address add`` would take it.

    Texts are as ``ipaddress`` writes them, so that equal addresses are equal values; ``version``
    is 4 or 6.
    """

    address: str
    prefix: int
    version: int
    broadcast: str | None = None

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route through the interface that it belongs to; ``target`` is CIDR."""

    target: str
    version: int
    gateway: str | None = None

    def __str__(self) -> str:
        target = "default" if self.target in ("0.0.0.0/0", "::/0") else self.target
        return f"{target} via {self.gateway}" if self.gateway else target


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge on the host that we make when nobody else has made it.

    ``ports`` are links that exist without us; the host ends of our cables name the bridge
    themselves. ``addresses`` are those of the host's own interface on the bridge. A bridge that
    somebody else made is joined, and nothing about it is changed.
    """

    name: str
    ports: tuple[str, ...] = ()
    macaddr: str | None = None
    mtu: int | None = None
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One interface of a container.

    A cable has ``host`` (the end that stays) and ``device`` (the peer's name on the host, also its
    name again after a stop, when somebody else made the pair). A lent device has ``host`` None.
    ``interface`` is the UCI section, for messages. ``macaddr`` is that of the end inside, ``mtu``
    that of both ends. Without ``required`` the container starts even when a lent device is missing.
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
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Everything that one container needs on both sides, and its resolver."""

    container: str
    bridges: tuple[Bridge, ...] = ()
    ports: tuple[Port, ...] = ()
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that the kernel has.

    ``peer`` is the index of the link at the other end, ``peer_nsid`` the kernel's local number for
    that end's namespace, None when it is this one. ``permanent`` is the MAC address that the
    hardware was born with; virtual links have none.
    """

    name: str
    index: int
    kind: str = ""
    macaddr: str = ""
    mtu: int = 1500
    up: bool = False
    master: str | None = None
    alias: str = ""
    group: int = 0
    peer: int = 0
    peer_nsid: int | None = None
    permanent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What was seen in one namespace, of the links that were asked about, by link name."""

    links: dict[str, Link] = field(default_factory=dict)
    addresses: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    routes: dict[str, tuple[Route, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the kernel has: the host's side, the container's, and how the host numbers the latter.

    ``nsid`` is None as long as no link of the host has its other end in the container.
    """

    host: Side = field(default_factory=Side)
    inside: Side = field(default_factory=Side)
    nsid: int | None = None
