"""Look at the kernel: what it has of the links that one wiring is about, as a Snapshot."""

import errno
import functools
from collections.abc import Iterator
from dataclasses import replace
from struct import Struct

from uxc.net import ops, rtnl
from uxc.net.ledger import Ledger
from uxc.net.model import Address, Link, Route, Side, Snapshot, Wiring
from uxc.net.rtnl import Answer, Message, Socket

IFF_UP = 1
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1

_IFINFOMSG = Struct("=BxHiII")
_IFADDRMSG = Struct("=BBBBI")
_RTMSG_BYTES = 12
_RTGENMSG_BYTES = 4
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK = 1, 3, 4, 5
_IFLA_MASTER, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_GROUP = 10, 18, 20, 27
_IFLA_LINK_NETNSID, _IFLA_PERM_ADDRESS, _IFLA_INFO_KIND = 37, 54, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_NETNSA_NSID = 1
_NO_STATISTICS = ("IFLA_EXT_MASK", rtnl.RTEXT_FILTER_SKIP_STATS)


def observe(want: Wiring, ledger: Ledger, host: Socket, inside: Socket, netns_fd: int) -> Snapshot:
    """Return what the kernel has of everything that ``want`` and ``ledger`` name.

    On the host only links that are named are asked for: it may have hundreds. Raises OSError when
    the kernel refuses to tell.
    """
    names = list(dict.fromkeys(_host_names(want, ledger)))
    requests = [get_link(name) for name in names]
    requests.append(_get_nsid(netns_fd))
    *answers, numbered = host.batch(requests)
    links = {link.name: link for link in _links(answers, host) if link is not None}
    addressed = [name for name in dict.fromkeys(_addressed_names(want)) if name in links]
    return Snapshot(
        host=Side(
            links=links, addresses={name: addresses(host, links[name]) for name in addressed}
        ),
        inside=_inside(inside, want, ledger),
        nsid=_nsid(numbered),
    )


def find_links(sock: Socket, selectors: list[str | int]) -> list[Link | None]:
    """Return the link of each name or index, None for those that do not exist."""
    return _links(sock.batch([get_link(selector) for selector in selectors]), sock)


def all_links(sock: Socket) -> dict[str, Link]:
    """Return every link of the namespace by its name; OSError."""
    found = [_parse_link(body) for body in sock.dump(get_link(None))]
    names = {link.index: link.name for link, _ in found}
    return {link.name: replace(link, master=names.get(master)) for link, master in found}


def addresses(sock: Socket, link: Link) -> tuple[Address, ...]:
    """Return the addresses of one link; OSError."""
    return tuple(address for _, address in _addresses(sock, link.index))


@functools.lru_cache(maxsize=256)
def get_link(selector: str | int | None) -> Message:
    """Return the request for one link, by name or by index, or for all, when it is dumped."""
    if isinstance(selector, int):
        return Message(rtnl.RTM_GETLINK, 0, {"index": selector, "attrs": [_NO_STATISTICS]})
    name = [("IFLA_IFNAME", selector)] if selector else []
    return Message(rtnl.RTM_GETLINK, 0, {"attrs": [*name, _NO_STATISTICS]})


@functools.lru_cache(maxsize=64)
def _get_nsid(netns_fd: int) -> Message:
    return Message(rtnl.RTM_GETNSID, 0, {"attrs": [("NETNSA_FD", netns_fd)]})


@functools.lru_cache(maxsize=64)
def _get_addresses(index: int) -> Message:
    return Message(rtnl.RTM_GETADDR, 0, {"index": index})


@functools.lru_cache(maxsize=2)
def _get_routes(version: int) -> Message:
    """Return the request for the static routes of the main table."""
    fields = {"table": RT_TABLE_MAIN, "proto": RTPROT_STATIC, "type": RTN_UNICAST}
    return Message(rtnl.RTM_GETROUTE, 0, {"family": int(rtnl.FAMILY[version]), **fields})


def indexes_in(answer: Answer) -> tuple[int, int] | None:
    """Return the index of the link that ``get_link`` asked for, and that of its peer.

    None when there is no such link; 0 for the peer that it does not have.
    """
    body = _body(answer)
    if body is None:
        return None
    link, _ = _parse_link(body)
    return link.index, link.peer


def _body(answer: Answer) -> bytes | None:
    """Return the link message in ``answer``; None when there is no such link; OSError."""
    if answer.error is None:
        return answer.payloads[0]
    if answer.error.errno == errno.ENODEV:
        return None
    raise answer.error


def _host_names(want: Wiring, ledger: Ledger) -> Iterator[str]:
    for bridge in want.bridges:
        yield bridge.name
        yield from bridge.ports
    for port in want.ports:
        yield port.device
        yield from filter(None, (port.host, port.bridge))
    for record in ledger:
        if record.side == "host":
            yield record.link
        elif isinstance(record, ops.MoveOut):
            yield record.device


def _addressed_names(want: Wiring) -> Iterator[str]:
    """Yield the host's links whose addresses count: we set them, or shall give them back."""
    for bridge in want.bridges:
        if bridge.addresses:
            yield bridge.name
    for port in want.ports:
        yield port.device
        if port.host and port.host_addresses:
            yield port.host


def _links(answers: list[Answer], sock: Socket) -> list[Link | None]:
    """Return the links in ``answers``, each with the name of its master."""
    found = [_parse_link(body) if body else None for body in map(_body, answers)]
    names = {link.index: link.name for link, _ in filter(None, found)}
    unknown = list({master for _, master in filter(None, found)} - {0, *names})
    if unknown:
        for body in map(_body, sock.batch([get_link(index) for index in unknown])):
            if body is not None:
                link, _ = _parse_link(body)
                names[link.index] = link.name
    return [replace(entry[0], master=names.get(entry[1])) if entry else None for entry in found]


def _parse_link(body: bytes) -> tuple[Link, int]:
    """Return the link in an RTM_NEWLINK message, and the index of its master."""
    _, _, index, flags, _ = _IFINFOMSG.unpack_from(body)
    found = rtnl.attributes(body, _IFINFOMSG.size)
    info = rtnl.attributes(found.get(_IFLA_LINKINFO, b""), 0)
    nsid = found.get(_IFLA_LINK_NETNSID)
    link = Link(
        name=rtnl.text(found.get(_IFLA_IFNAME)),
        index=index,
        kind=rtnl.text(info.get(_IFLA_INFO_KIND)),
        macaddr=rtnl.mac(found.get(_IFLA_ADDRESS)),
        mtu=rtnl.u32(found.get(_IFLA_MTU)),
        up=bool(flags & IFF_UP),
        alias=rtnl.text(found.get(_IFLA_IFALIAS)),
        group=rtnl.u32(found.get(_IFLA_GROUP)),
        peer=rtnl.u32(found.get(_IFLA_LINK)),
        peer_nsid=rtnl.s32(nsid) if nsid is not None else None,
        permanent=rtnl.mac(found.get(_IFLA_PERM_ADDRESS)),
    )
    return link, rtnl.u32(found.get(_IFLA_MASTER))


def _nsid(answer: Answer) -> int | None:
    """Return the host's number for the container's namespace; None: it has not given one."""
    if not answer.payloads:
        return None
    number = rtnl.s32(rtnl.attributes(answer.payloads[0], _RTGENMSG_BYTES)[_NETNSA_NSID])
    return number if number >= 0 else None


def _inside(sock: Socket, want: Wiring, ledger: Ledger) -> Side:
    """Return the container's side: all its links, and what the wiring's own links have."""
    links = all_links(sock)
    ours = {port.name for port in want.ports}
    ours |= {record.link for record in ledger if record.side == "inside"}
    names = {link.index: link.name for link in links.values() if link.name in ours}
    if not names:
        return Side(links=links)
    found: dict[str, tuple[Address, ...]] = {}
    for index, address in _addresses(sock, 0):
        if index in names:
            found[names[index]] = (*found.get(names[index], ()), address)
    wanted = {route.version for port in want.ports for route in port.routes}
    wanted |= {record.route.version for record in ledger if isinstance(record, ops.RemoveRoute)}
    routes: dict[str, tuple[Route, ...]] = {}
    for version in sorted(wanted):
        for index, route in _routes(sock, version):
            if index in names:
                routes[names[index]] = (*routes.get(names[index], ()), route)
    return Side(links=links, addresses=found, routes=routes)


def _addresses(sock: Socket, index: int) -> Iterator[tuple[int, Address]]:
    """Yield the addresses of one link, or of all for 0, each with the index of its link."""
    for body in sock.dump(_get_addresses(index)):
        family, prefix, _, _, index = _IFADDRMSG.unpack_from(body)
        if family not in rtnl.VERSION:
            continue
        found = rtnl.attributes(body, _IFADDRMSG.size)
        # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always ours, but
        # IPv6 sends it for such links only.
        own = found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]
        broadcast = found.get(_IFA_BROADCAST)
        yield (
            index,
            Address(
                address=rtnl.ip(own),
                prefix=prefix,
                version=rtnl.VERSION[family],
                broadcast=rtnl.ip(broadcast) if broadcast else None,
            ),
        )


def _routes(sock: Socket, version: int) -> Iterator[tuple[int, Route]]:
    """Yield the static routes of the main table, each with the index of its link."""
    try:
        bodies = sock.dump(_get_routes(version))
    except OSError as error:
        # IPv4 makes its main table with the first route in it.
        if error.errno != errno.ENOENT:
            raise
        return
    for body in bodies:
        bits = body[1]
        found = rtnl.attributes(body, _RTMSG_BYTES)
        anywhere = "0.0.0.0" if version == 4 else "::"
        target = rtnl.ip(found[_RTA_DST]) if _RTA_DST in found else anywhere
        gateway = found.get(_RTA_GATEWAY)
        yield (
            rtnl.u32(found.get(_RTA_OIF)),
            Route(
                target=f"{target}/{bits}",
                version=version,
                gateway=rtnl.ip(gateway) if gateway else None,
            ),
        )
