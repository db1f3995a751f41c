"""The door to rtnetlink: messages made by pyroute2, sent in batches, answers read as attributes.

pyroute2's own sockets cost more than a whole wiring (a namespace object 10 ms, decoding one link
0.2 ms: docs/decisions/0031), and those of 0.9 refuse to run inside an asyncio loop. Its message
classes are the same in 0.7 and 0.9; so it writes what we say, over a plain socket, and of what the
kernel says only the attributes that are looked at are decoded.

pyroute2 is imported when the first socket is opened: 130 ms and 20 MB that a manager without
networked containers never pays.
"""

import errno
import functools
import os
import socket
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct
from types import SimpleNamespace
from typing import Any

from uxc.errors import MissingError
from uxc.linux import ns

# linux/netlink.h and linux/rtnetlink.h, alike on every architecture.
NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_DUMP_INTR, NLM_F_ACK_TLVS = 0x10, 0x200
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_GETNSID = 90
NLMSGERR_ATTR_MSG = 1
RTEXT_FILTER_SKIP_STATS = 1 << 3

_HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_NUMBER_BYTES = 4
_TYPE_MASK = 0x3FFF
_RECEIVE_BYTES = 1 << 17
# A dump that a change in the kernel made inconsistent is taken again, this many times.
_DUMP_TRIES = 5

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
VERSION = {int(family): version for version, family in FAMILY.items()}

Attributes = dict[int, bytes]


@dataclass(slots=True)
class Message:
    """A request: its kind, its flags, and pyroute2's dictionary of fields and attributes."""

    kind: int
    flags: int
    fields: dict[str, Any]  # what pyroute2 takes: numbers, texts, nested lists
    _encoded: bytes | None = None

    def encode(self, sequence: int, flags: int) -> bytes:
        """Return the message as the kernel reads it; ``flags`` are added to its own.

        All but flags and sequence number is written once: pyroute2 takes 70 us for it, and the
        questions about the kernel are the same for every container.
        """
        if self._encoded is None:
            encoder = _class_of(self.kind)()
            for name, value in self.fields.items():
                encoder[name] = value
            encoder.encode()
            self._encoded = bytes(encoder.data[_HEADER.size :])
        flags |= self.flags | NLM_F_REQUEST
        size = _HEADER.size + len(self._encoded)
        return _HEADER.pack(size, self.kind, flags, sequence, 0) + self._encoded


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel said to one request: the payloads that it sent, or why it refused."""

    payloads: tuple[bytes, ...] = ()
    error: OSError | None = None


@functools.cache
def _classes() -> SimpleNamespace:
    """Import pyroute2's message classes; MissingError when it is not installed."""
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
        from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
    except ImportError as error:
        raise MissingError(
            f"pyroute2 cannot be imported: {error}",
            "install it: 'apk add python3-pyroute2' on OpenWrt, 'pip install pyroute2' elsewhere",
        ) from None
    return SimpleNamespace(link=ifinfmsg, address=ifaddrmsg, route=rtmsg, nsid=nsidmsg)


def _class_of(kind: int) -> Any:  # pyroute2 has no types
    if kind == RTM_GETNSID:
        return _classes().nsid
    # The kinds come in groups of four per class (rtnetlink.h: RTM_FAM).
    return (_classes().link, _classes().address, _classes().route)[(kind - RTM_NEWLINK) >> 2]


class Socket:
    """An rtnetlink socket in one network namespace, for as long as one wiring takes."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self, netns_fd: int | None = None) -> None:
        """Open it in the namespace behind ``netns_fd``, None for the caller's own.

        A socket belongs for ever to the namespace that it was made in, so nobody has to stay
        there. Raises OSError as setns(2) and socket(2).
        """
        _classes()
        if netns_fd is None:
            self._socket = self._open()
        else:
            with ns.entered(netns_fd, "net"):
                self._socket = self._open()
        self._sequence = 0

    @staticmethod
    def _open() -> socket.socket:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE
        )
        try:
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
                sock.setsockopt(SOL_NETLINK, option, 1)
            sock.bind((0, 0))
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def batch(self, messages: list[Message]) -> list[Answer]:
        """Send ``messages`` in one system call; return one answer to each, in their order.

        The kernel works through all of them before send(2) returns, also through those behind one
        that it refused: what must not happen after a failure belongs into the next batch. A signal
        that kills this process does so before the first or after the last.
        """
        if not messages:
            return []
        first = self._sequence + 1
        self._sequence += len(messages)
        # Refusals are always reported; of the rest an acknowledgement of the last one will do.
        data = b"".join(
            message.encode(first + at, NLM_F_ACK if first + at == self._sequence else 0)
            for at, message in enumerate(messages)
        )
        self._socket.send(data)
        payloads: list[list[bytes]] = [[] for _ in messages]
        errors: dict[int, OSError] = {}
        done = False
        while not done:
            for kind, flags, sequence, body in self._receive():
                at = sequence - first
                if at < 0:
                    continue
                if kind == NLMSG_ERROR:
                    error = _error(body, flags)
                    if error is not None:
                        errors[at] = error
                    done = done or sequence == self._sequence
                else:
                    payloads[at].append(body)
        return [Answer(tuple(found), errors.get(at)) for at, found in enumerate(payloads)]

    def dump(self, message: Message) -> list[bytes]:
        """Return the payloads of everything that ``message`` asks to list; OSError if refused."""
        for _ in range(_DUMP_TRIES):
            self._sequence += 1
            self._socket.send(message.encode(self._sequence, NLM_F_DUMP))
            found: list[bytes] = []
            done, consistent = False, True
            while not done:
                for kind, flags, sequence, body in self._receive():
                    if sequence != self._sequence:
                        continue
                    consistent = consistent and not flags & NLM_F_DUMP_INTR
                    if kind in (NLMSG_DONE, NLMSG_ERROR):
                        error = _error(body, flags)
                        if error is not None:
                            raise error
                        done = True
                    else:
                        found.append(body)
            if consistent:
                return found
        raise OSError(errno.EAGAIN, "the kernel's tables change too fast to be listed")

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        """Receive one datagram: (type, flags, sequence number, payload) of each message in it."""
        data = self._socket.recv(_RECEIVE_BYTES)
        found = []
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            found.append((kind, flags, sequence, data[offset + _HEADER.size : offset + length]))
            offset += (length + 3) & ~3
        return found


def _error(body: bytes, flags: int) -> OSError | None:
    """Return the error that an NLMSG_ERROR or NLMSG_DONE reports, with the kernel's own words."""
    number = -s32(body)
    if number == 0:
        return None
    reason = os.strerror(number)
    if flags & NLM_F_ACK_TLVS:
        # NETLINK_CAP_ACK: of the request only its header stands between number and attributes.
        words = attributes(body, _NUMBER_BYTES + _HEADER.size).get(NLMSGERR_ATTR_MSG)
        if words:
            reason = f"{reason} ({text(words)})"
    return OSError(number, reason)


def attributes(data: bytes, offset: int) -> Attributes:
    """Return the attributes that begin at ``offset``, by their type without its flag bits."""
    found: Attributes = {}
    end = len(data)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def u32(data: bytes | None) -> int:
    """Return the number in an attribute; 0 when it is absent."""
    return int.from_bytes(data[:_NUMBER_BYTES], sys.byteorder) if data else 0


def s32(data: bytes) -> int:
    """Return the signed number in an attribute."""
    return int.from_bytes(data[:_NUMBER_BYTES], sys.byteorder, signed=True)


def text(data: bytes | None) -> str:
    """Return the text in an attribute; empty when it is absent."""
    return data.rstrip(b"\0").decode(errors="replace") if data else ""


def mac(data: bytes | None) -> str:
    """Return the MAC address in an attribute; empty when it is absent."""
    return data.hex(":") if data else ""


def ip(data: bytes) -> str:
    """Return the IP address in an attribute, as ``ipaddress`` writes it."""
    return str(ip_address(data))
