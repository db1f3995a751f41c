"""What the user wrote in ``/etc/config/uxc`` and ``network``, as checked, frozen values.

Sizes are bytes, times seconds. ``None`` means that the option is absent and the bundle (or the
kernel) decides.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a section stands, for messages about it; ``section`` is its UCI name (``cfg…`` too)."""

    file: str
    line: int
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Respawn:
    """When to start a container again after it ended (procd's threshold, timeout, retry)."""

    threshold_s: int = 3600
    timeout_s: int = 5
    retry: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One ``list mounts`` entry: ``SOURCE:DESTINATION[:OPTION,…]``."""

    source: str
    destination: str
    options: tuple[str, ...] = ("rbind",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One ``config container`` section.

    ``temp_overlay_size`` is what tmpfs takes as ``size=`` (bytes, or a percentage of memory);
    ``volumes`` are mounts that must be there: a path, ``UUID=…``, ``LABEL=…`` or a volume's name.
    """

    name: str
    place: Place
    bundle: str
    autostart: bool = False
    console: bool | None = None
    respawn: Respawn | None = None
    stop_signal: int = 15
    stop_timeout_s: int = 10
    temp_overlay_size: str | None = None
    write_overlay_path: str | None = None
    volumes: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """The ``config uxc 'globals'`` section."""

    network_timeout_s: int = 10
    log_ring_bytes: int = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """A ``config device`` with ``type 'veth'``: a virtual cable."""

    name: str
    place: Place
    peer_name: str
    macaddr: str | None = None
    peer_macaddr: str | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge: a ``config device`` with ``type 'bridge'``, or an interface with that type.

    ``ports`` also holds the names that an interface lists in ``ifname`` beside ``device`` (the old
    spelling on a stock configuration; a warning says how to write it today).
    """

    name: str
    place: Place
    ports: tuple[str, ...] = ()
    macaddr: str | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A ``config interface`` section; ``jail`` names the container that it belongs to, if any.

    ``device`` is empty when the section names none. With ``jail``, ``jail_device`` is the name
    inside the container, always set, and ``required`` false lets the container start without it.
    """

    name: str
    place: Place
    device: str
    proto: str = "none"
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    gateway: str | None = None
    ip6gw: str | None = None
    dns: tuple[str, ...] = ()
    jail: str | None = None
    jail_device: str | None = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that is right in both files; devices by their name, interfaces by section name."""

    globals: Globals = field(default_factory=Globals)
    containers: dict[str, Container] = field(default_factory=dict)
    veths: dict[str, Veth] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)

    def interfaces_of(self, container: str) -> tuple[Interface, ...]:
        """Return the interfaces that name ``container`` as their jail, in the order of the file."""
        return tuple(entry for entry in self.interfaces.values() if entry.jail == container)

    def veth_by_peer(self, peer_name: str) -> Veth | None:
        """Return the cable whose end for the container is ``peer_name``; None for a lent device."""
        return next((cable for cable in self.veths.values() if cable.peer_name == peer_name), None)

    def bridge_of(self, port: str) -> Bridge | None:
        """Return the bridge that has ``port``, None when no bridge has it."""
        return next((bridge for bridge in self.bridges.values() if port in bridge.ports), None)
