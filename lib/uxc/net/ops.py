"""The small operations that a wiring consists of, as values: what each does and what undoes it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from uxc.net.model import Address, Route

SideName = Literal["host", "inside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Op(ABC):
    """One change of the kernel's state; ``link`` is the name of the link on ``side``."""

    # Fields that, beside side and link, tell one undo from another.
    identity: ClassVar[tuple[str, ...]] = ()

    side: SideName = "host"
    link: str

    @abstractmethod
    def describe(self) -> str:
        """Say what is done, as it follows "cannot"."""

    def undo(self) -> "Op | None":
        """Return what takes this back; None when something else's undo does so."""
        return None

    @property
    def key(self) -> tuple[object, ...]:
        """Tell one undo from another; what is wanted again has the key of what was done."""
        more = (getattr(self, name) for name in self.identity)
        return (type(self).__name__, self.side, self.link, *more)

    @property
    def where(self) -> str:
        """Say on which side, where the link's name alone leaves it open."""
        return " in the container" if self.side == "inside" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeBridge(Op):
    """Make a bridge on the host. It carries ``group`` until ``Mark`` has given it its alias.

    Its mtu is set afterwards: one that it was made with would follow its ports (bridge(8)).
    """

    macaddr: str | None
    alias: str
    group: int

    def describe(self) -> str:
        return f"make bridge {self.link}"

    def undo(self) -> "RemoveLink":
        return RemoveLink(link=self.link, kind="bridge", alias=self.alias, group=self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCable(Op):
    """Make a veth pair whose peer begins its life in the container, as ``name``."""

    name: str
    macaddr: str | None
    peer_macaddr: str | None
    mtu: int | None
    alias: str
    group: int

    def describe(self) -> str:
        return f"make cable {self.link} with {self.name} in the container"

    def undo(self) -> "RemoveLink":
        return RemoveLink(
            link=self.link, kind="veth", alias=self.alias, group=self.group, peer=self.name
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Op):
    """Give a link that we just made its alias, in place of the group that it was made with."""

    alias: str

    def describe(self) -> str:
        return f"mark {self.link} as '{self.alias}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveLink(Op):
    """Delete a link that we made: one with our alias, or with our group and no alias yet."""

    identity: ClassVar[tuple[str, ...]] = ("peer",)

    kind: str
    alias: str
    group: int
    peer: str | None = None

    def describe(self) -> str:
        return f"remove {self.link}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveIn(Op):
    """Move a device of the host into the container, as ``name``, with the index ``index`` there.

    The index is chosen by us, so that the journal knows it before: programs in the container can
    rename the device and change its MAC address, but not its index.
    """

    index: int
    name: str
    macaddr: str | None
    home: "MoveOut"

    def describe(self) -> str:
        return f"move {self.link} into the container as {self.name}"

    def undo(self) -> "MoveOut":
        return self.home


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOut(Op):
    """Move a device back to the host under the name, MAC address, mtu … that it had there.

    ``link`` is its name in the container, ``index`` its index there, ``home_index`` that on the
    host, before and after; ``kind``, ``peer`` and ``permanent`` tell it from a device that has got
    that index by chance.
    """

    identity: ClassVar[tuple[str, ...]] = ("device",)

    side: SideName = "inside"
    index: int
    home_index: int
    device: str
    kind: str
    peer: int
    macaddr: str
    mtu: int
    up: bool
    master: str | None
    permanent: str
    addresses: tuple[Address, ...] = ()

    def describe(self) -> str:
        return f"move {self.link} back to the host as {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enslave(Op):
    """Make a link a port of a bridge."""

    bridge: str

    def describe(self) -> str:
        return f"plug {self.link} into {self.bridge}"

    def undo(self) -> "Release":
        return Release(link=self.link, bridge=self.bridge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Op):
    """Take a port off a bridge, if it is still there."""

    identity: ClassVar[tuple[str, ...]] = ("bridge",)

    bridge: str

    def describe(self) -> str:
        return f"unplug {self.link} from {self.bridge}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Up(Op):
    """Bring a link up."""

    def describe(self) -> str:
        return f"bring {self.link}{self.where} up"

    def undo(self) -> "Down":
        return Down(side=self.side, link=self.link)


@dataclass(frozen=True, slots=True, kw_only=True)
class Down(Op):
    """Bring a link down."""

    def describe(self) -> str:
        return f"bring {self.link}{self.where} down"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMac(Op):
    """Give a link another MAC address."""

    macaddr: str
    old: str

    def describe(self) -> str:
        return f"set the MAC address of {self.link}{self.where} to {self.macaddr}"

    def undo(self) -> "SetMac":
        return SetMac(side=self.side, link=self.link, macaddr=self.old, old=self.macaddr)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMtu(Op):
    """Give a link another mtu."""

    mtu: int
    old: int

    def describe(self) -> str:
        return f"set the mtu of {self.link}{self.where} to {self.mtu}"

    def undo(self) -> "SetMtu":
        return SetMtu(side=self.side, link=self.link, mtu=self.old, old=self.mtu)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress(Op):
    """Give a link an address."""

    address: Address

    def describe(self) -> str:
        return f"add address {self.address} to {self.link}{self.where}"

    def undo(self) -> "RemoveAddress":
        return RemoveAddress(side=self.side, link=self.link, address=self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAddress(Op):
    """Take an address from a link."""

    identity: ClassVar[tuple[str, ...]] = ("address",)

    address: Address

    def describe(self) -> str:
        return f"remove address {self.address} from {self.link}{self.where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute(Op):
    """Add a route through a link of the container."""

    side: SideName = "inside"
    route: Route

    def describe(self) -> str:
        return f"add route {self.route} through {self.link}{self.where}"

    def undo(self) -> "RemoveRoute":
        return RemoveRoute(link=self.link, route=self.route)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRoute(Op):
    """Remove a route through a link of the container."""

    identity: ClassVar[tuple[str, ...]] = ("route",)

    side: SideName = "inside"
    route: Route

    def describe(self) -> str:
        return f"remove route {self.route} through {self.link}{self.where}"
