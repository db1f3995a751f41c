"""The netlink messages that change something, in pyroute2's terms; links are named by index."""

from typing import Any

from uxc.net import rtnl
from uxc.net.model import Address, Route
from uxc.net.observe import IFF_UP, RT_TABLE_MAIN, RTN_UNICAST, RTPROT_STATIC
from uxc.net.rtnl import Message

IFA_F_NODAD = 0x02
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
_MAKE = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL

Attributes = list[tuple[str, Any]]  # Any: texts, numbers and nested lists, as pyroute2 takes them


def make_bridge(name: str, group: int, macaddr: str) -> Message:
    """Make a bridge."""
    attrs = _identity(name, macaddr, None)
    attrs += [("IFLA_GROUP", group), ("IFLA_LINKINFO", _nested(("IFLA_INFO_KIND", "bridge")))]
    return Message(rtnl.RTM_NEWLINK, _MAKE, {"attrs": attrs})


def make_cable(
    name: str, group: int, macaddr: str | None, mtu: int | None, peer: Attributes
) -> Message:
    """Make a veth pair: ``name`` here, and the end that ``peer`` describes (see ``peer_in``)."""
    data = _nested(("VETH_INFO_PEER", {"attrs": peer}))
    kind = _nested(("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data))
    attrs = _identity(name, macaddr, mtu)
    attrs += [("IFLA_GROUP", group), ("IFLA_LINKINFO", kind)]
    return Message(rtnl.RTM_NEWLINK, _MAKE, {"attrs": attrs})


def peer_in(netns_fd: int, name: str, macaddr: str | None, mtu: int | None) -> Attributes:
    """Describe a peer that is born in the namespace behind ``netns_fd``, never seen elsewhere."""
    return [*_identity(name, macaddr, mtu), ("IFLA_NET_NS_FD", netns_fd)]


def move(
    index: int, netns_fd: int, name: str, macaddr: str | None, new_index: int | None
) -> Message:
    """Move a link into another namespace, with its name, MAC address and index there, at once."""
    attrs: Attributes = [("IFLA_NET_NS_FD", netns_fd), ("IFLA_IFNAME", name)]
    if new_index is not None:
        attrs.append(("IFLA_NEW_IFINDEX", new_index))
    if macaddr:
        attrs.append(("IFLA_ADDRESS", macaddr))
    return set_link(index, *attrs)


def set_link(index: int, *attrs: tuple[str, Any]) -> Message:
    """Change attributes of a link."""
    return Message(rtnl.RTM_NEWLINK, 0, {"index": index, "attrs": list(attrs)})


def set_up(index: int, up: bool) -> Message:
    """Bring a link up or down."""
    fields = {"index": index, "flags": IFF_UP if up else 0, "change": IFF_UP}
    return Message(rtnl.RTM_NEWLINK, 0, fields)


def delete_link(index: int) -> Message:
    """Delete a link."""
    return Message(rtnl.RTM_DELLINK, 0, {"index": index})


def add_address(index: int, address: Address, nodad: bool) -> Message:
    """Give a link an address; with ``nodad`` an IPv6 one is usable at once, unasked.

    Duplicate address detection takes a second or more, in which the address cannot be bound to.
    """
    fields = _address(index, address)
    if nodad and address.version == 6:
        fields["flags"] = IFA_F_NODAD
    if address.broadcast:
        fields["attrs"].append(("IFA_BROADCAST", address.broadcast))
    return Message(rtnl.RTM_NEWADDR, _MAKE, fields)


def delete_address(index: int, address: Address) -> Message:
    """Take an address from a link."""
    return Message(rtnl.RTM_DELADDR, 0, _address(index, address))


def add_route(index: int, route: Route) -> Message:
    """Add a route through a link."""
    return Message(rtnl.RTM_NEWROUTE, _MAKE, _route(index, route))


def delete_route(index: int, route: Route) -> Message:
    """Remove a route through a link."""
    return Message(rtnl.RTM_DELROUTE, 0, _route(index, route))


def _identity(name: str, macaddr: str | None, mtu: int | None) -> Attributes:
    attrs: Attributes = [("IFLA_IFNAME", name)]
    if macaddr:
        attrs.append(("IFLA_ADDRESS", macaddr))
    if mtu:
        attrs.append(("IFLA_MTU", mtu))
    return attrs


def _nested(*attrs: tuple[str, Any]) -> dict[str, Any]:
    return {"attrs": list(attrs)}


def _address(index: int, address: Address) -> dict[str, Any]:
    attrs = [("IFA_LOCAL", address.address), ("IFA_ADDRESS", address.address)]
    family = int(rtnl.FAMILY[address.version])
    return {"family": family, "prefixlen": address.prefix, "index": index, "attrs": attrs}


def _route(index: int, route: Route) -> dict[str, Any]:
    target, _, bits = route.target.partition("/")
    attrs: Attributes = [("RTA_OIF", index)]
    if int(bits):
        attrs.append(("RTA_DST", target))
    if route.gateway:
        attrs.append(("RTA_GATEWAY", route.gateway))
    return {
        "family": int(rtnl.FAMILY[route.version]),
        "dst_len": int(bits),
        "table": RT_TABLE_MAIN,
        "proto": RTPROT_STATIC,
        # IPv4 wants to be told that the target itself is on the link; IPv6 does not look.
        "scope": RT_SCOPE_UNIVERSE if route.gateway or route.version == 6 else RT_SCOPE_LINK,
        "type": RTN_UNICAST,
        "attrs": attrs,
    }
