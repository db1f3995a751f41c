"""Links and addresses over raw netlink (rtnetlink(7)): the little that moving a device needs.

Attributes that nobody here looks into are kept as bytes, so that they can be given back as they
came. Each failure is an OSError about the named thing, with the kernel's own explanation as its
text where there is one.
"""

import _socket
import _struct
import errno
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Attributes = list[tuple[int, bytes]]

# linux/netlink.h.
_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_REQUEST = 0x01
_SEVERAL = 0x02
_ACK = 0x04
_DUMP_INTERRUPTED = 0x10
_ACK_HAS_ATTRIBUTES = 0x200
_EXCLUSIVE = 0x200
_DUMP = 0x300
_CREATE = 0x400
_ERROR = 2
_DONE = 3
_ERROR_MESSAGE = 1
_TYPE_BITS = 0x3FFF

# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
IFLA_IFNAME = 3
IFLA_MASTER = 10
IFLA_NET_NS_FD = 28
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4
IFA_FLAGS = 8
IFA_RT_PRIORITY = 9
IFA_F_NODAD = 0x02
IFA_F_PERMANENT = 0x80
IFA_F_NOPREFIXROUTE = 0x200
RT_SCOPE_UNIVERSE = 0

# nlmsghdr, ifinfomsg, ifaddrmsg, rtattr: every member is aligned by itself.
_HEADER = "=IHHII"
_HEADER_BYTES = 16
_LINK = "=BxHiII"
_LINK_BYTES = 16
_ADDRESS = "=4BI"
_ADDRESS_BYTES = 8
_ATTRIBUTE = "=HH"
_ATTRIBUTE_BYTES = 4
# What the kernel fills at most at once (NLMSG_GOODSIZE and the size of the reader's buffer).
_READ_BYTES = 1 << 16
# A dump during which something changed is not to be believed: ask again, but not for ever.
_DUMP_TRIES = 16


class Link:
    """A network device: ``master`` is the index of the bridge or bond that it is in, or 0."""

    __slots__ = ("flags", "index", "master", "name")

    def __init__(self, body: bytes) -> None:
        """Read an ifinfomsg and its attributes."""
        _, _, self.index, self.flags, _ = _struct.unpack_from(_LINK, body)
        found = dict(_attributes(body[_LINK_BYTES:]))
        self.name = found[IFLA_IFNAME].rstrip(b"\0").decode("utf-8", "surrogateescape")
        self.master = _number(found.get(IFLA_MASTER))


class Address:
    """An address of a device, IPv4 or IPv6; ``attributes`` as the kernel tells them."""

    __slots__ = ("attributes", "family", "flags", "index", "prefix", "scope")

    def __init__(self, body: bytes) -> None:
        """Read an ifaddrmsg and its attributes."""
        self.family, self.prefix, flags, self.scope, self.index = _struct.unpack_from(
            _ADDRESS, body
        )
        self.attributes = list(_attributes(body[_ADDRESS_BYTES:]))
        # The member has 8 bits, the attribute all of them.
        self.flags = _number(dict(self.attributes).get(IFA_FLAGS)) or flags


class Netlink:
    """A connection to one network namespace: the caller's at this moment, for as long as it is
    open, wherever the caller goes."""

    __slots__ = ("_sequence", "_sock")

    def __init__(self) -> None:
        """Connect; OSError."""
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._sequence = 0
        self._sock = _socket.socket(_socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        try:
            self._sock.bind((0, 0))
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
                self._sock.setsockopt(_SOL_NETLINK, option, 1)
        except BaseException:
            self._sock.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def links(self) -> "list[Link]":
        """Return every device of the namespace; OSError."""
        return [Link(body) for body in self._dump(_RTM_GETLINK, bytes(_LINK_BYTES), "links")]

    def link(self, name: str) -> Link:
        """Return the device called ``name``; OSError ENODEV."""
        body = bytes(_LINK_BYTES) + _attribute(IFLA_IFNAME, _name(name))
        self._send(_RTM_GETLINK, _REQUEST, body)
        for kind, _, answer in self._receive(name):
            if kind == _RTM_NEWLINK:
                return Link(answer)
        raise OSError(errno.ENODEV, posix.strerror(errno.ENODEV), name)

    def addresses(self, index: int) -> "list[Address]":
        """Return the addresses of the device ``index``; OSError."""
        bodies = self._dump(_RTM_GETADDR, bytes(_ADDRESS_BYTES), "addresses")
        return [found for body in bodies if (found := Address(body)).index == index]

    def set_link(self, index: int, what: str, attributes: "Attributes") -> None:
        """Change attributes of the device ``index``, called ``what``; OSError."""
        self._change_link(index, 0, 0, what, attributes)

    def set_flag(self, index: int, what: str, flag: int, on: bool) -> None:
        """Set or clear the IFF_* ``flag`` of the device ``index``, called ``what``; OSError."""
        self._change_link(index, flag if on else 0, flag, what, [])

    def _change_link(
        self, index: int, flags: int, change: int, what: str, attributes: "Attributes"
    ) -> None:
        body = _struct.pack(_LINK, 0, 0, index, flags, change)
        self._request(_RTM_NEWLINK, 0, body, attributes, what)

    def add_address(
        self, index: int, address: Address, what: str, attributes: "Attributes"
    ) -> None:
        """Give the device ``index``, called ``what``, an address like ``address``; OSError.

        ``attributes`` are given in place of its own.
        """
        body = _struct.pack(_ADDRESS, address.family, address.prefix, 0, address.scope, index)
        self._request(_RTM_NEWADDR, _CREATE | _EXCLUSIVE, body, attributes, what)

    def _request(
        self, kind: int, flags: int, body: bytes, attributes: "Attributes", what: str
    ) -> None:
        body += b"".join(_attribute(name, value) for name, value in attributes)
        self._send(kind, _REQUEST | _ACK | flags, body)
        for _ in self._receive(what):
            pass

    def _dump(self, kind: int, body: bytes, what: str) -> "list[bytes]":
        for _ in range(_DUMP_TRIES):
            self._send(kind, _REQUEST | _DUMP, body)
            answers = list(self._receive(what))
            if not any(flags & _DUMP_INTERRUPTED for _, flags, _ in answers):
                return [answer for _, _, answer in answers]
        raise OSError(errno.EINTR, posix.strerror(errno.EINTR), what)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        length = _HEADER_BYTES + len(body)
        self._sock.send(_struct.pack(_HEADER, length, kind, flags, self._sequence, 0) + body)

    def _receive(self, what: str) -> "Iterator[tuple[int, int, bytes]]":
        """Yield (kind, flags, body) of the answers to what was sent last; OSError about it."""
        while True:
            data = self._sock.recv(_READ_BYTES)
            more = False
            while data:
                length, kind, flags, sequence, _ = _struct.unpack_from(_HEADER, data)
                body, data = data[_HEADER_BYTES:length], data[_aligned(length) :]
                if sequence != self._sequence:
                    continue
                if kind in (_ERROR, _DONE):
                    _raise_if_error(flags, body, what)
                    return
                more = bool(flags & _SEVERAL)
                yield kind, flags, body
            if not more:
                return


def _raise_if_error(flags: int, body: bytes, what: str) -> None:
    number = -_struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if number <= 0:
        return
    reason = posix.strerror(number)
    if flags & _ACK_HAS_ATTRIBUTES:
        # The number, and the header of what was sent.
        told = dict(_attributes(body[4 + _HEADER_BYTES :])).get(_ERROR_MESSAGE, b"")
        text = told.rstrip(b"\0").decode(errors="replace")
        if text:
            reason = f"{reason} ({text})"
    raise OSError(number, reason, what)


def _attributes(data: bytes) -> "Iterator[tuple[int, bytes]]":
    while len(data) >= _ATTRIBUTE_BYTES:
        length, kind = _struct.unpack_from(_ATTRIBUTE, data)
        if length < _ATTRIBUTE_BYTES:
            return
        yield kind & _TYPE_BITS, data[_ATTRIBUTE_BYTES:length]
        data = data[_aligned(length) :]


def _attribute(kind: int, value: bytes) -> bytes:
    text = _struct.pack(_ATTRIBUTE, _ATTRIBUTE_BYTES + len(value), kind) + value
    return text + bytes(_aligned(len(text)) - len(text))


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _number(value: "bytes | None") -> int:
    return 0 if value is None else int(_struct.unpack("=I", value)[0])


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def name_attribute(name: str) -> "tuple[int, bytes]":
    """Return the attribute that calls a device ``name``; ``%d`` in it is for the kernel to fill."""
    return IFLA_IFNAME, _name(name)


def number_attribute(kind: int, value: int) -> "tuple[int, bytes]":
    """Return an attribute of 32 bits: a descriptor, an index, flags."""
    return kind, _struct.pack("=I", value)
