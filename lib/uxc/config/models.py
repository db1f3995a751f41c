"""What the user wrote in ``/etc/config/uxc`` and ``/etc/config/network``, as checked, frozen values.

Sizes are bytes, times seconds. ``None`` means that the option is absent and the bundle (or the
kernel) decides.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a section stands, for messages about it."""

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
    """One ``config container`` section."""

    name: str
    place: Place
    bundle: str
    enabled: bool = True
    autostart: bool = False
    console: bool | None = None
    respawn: Respawn | None = None
    stop_signal: int = 15
    stop_timeout_s: int = 10
    temp_overlay_size_bytes: int | None = None
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
    """A ``config interface`` section; ``jail`` names the container that it belongs to, if any."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that is right in both files."""

    globals: Globals = field(default_factory=Globals)
    containers: dict[str, Container] = field(default_factory=dict)
    veths: dict[str, Veth] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
