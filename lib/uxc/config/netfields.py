"""Text of one network value → names of links, MAC and IP addresses. Pure; raises FieldError."""

import re
from dataclasses import dataclass
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    NetmaskValueError,
)

from uxc.config.fields import FieldError

# IFNAMSIZ of linux/if.h, without the closing zero byte.
MAX_LINK_NAME_BYTES = 15

_MAC = re.compile(r"[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5}", re.ASCII)
_PREFIX = re.compile(r"[0-9]{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Host4:
    """An IPv4 address as written; ``prefix`` is None when only ``option netmask`` can tell it."""

    address: IPv4Address
    prefix: int | None

    def joined(self, prefix: int) -> IPv4Interface:
        """Return the address with its own prefix length, else with ``prefix``."""
        return IPv4Interface((self.address, prefix if self.prefix is None else self.prefix))


@dataclass(frozen=True, slots=True)
class Host6:
    """An IPv6 address as written; ``prefix`` is None when the text has none."""

    address: IPv6Address
    prefix: int | None

    def joined(self, prefix: int) -> IPv6Interface:
        """Return the address with its own prefix length, else with ``prefix``."""
        return IPv6Interface((self.address, prefix if self.prefix is None else self.prefix))


def link_name(text: str) -> str:
    """Read the name of a network link, as the kernel takes it (dev_valid_name, and no ``%``).

    The kernel counts ``%d`` up to a free number, so that the name asked for never exists.
    """
    if len(text.encode(errors="surrogateescape")) > MAX_LINK_NAME_BYTES:
        raise FieldError(
            f"'{text}' is longer than {MAX_LINK_NAME_BYTES} bytes",
            "the kernel takes no longer name for a network device",
        )
    if not text or text in {".", ".."} or any(ch in "/:%" or not ch.isprintable() for ch in text):
        raise FieldError(f"'{text}' is not a name for a network device")
    if any(ch.isspace() for ch in text):
        raise FieldError(f"'{text}' is not one device name", "a device name has no blanks")
    return text


def inner_link_name(text: str) -> str:
    """Read the name of a link inside a container, where ``lo`` is taken."""
    if text == "lo":
        raise FieldError("'lo' is the container's own loopback", "choose a name such as 'eth0'")
    return link_name(text)


def mac(text: str) -> str:
    """Read the MAC address of one station, as lower-case pairs of digits."""
    word = text.lower()
    if not _MAC.fullmatch(word):
        raise FieldError(
            f"'{text}' is not a MAC address", "write six pairs of hex digits: '02:00:5e:10:00:01'"
        )
    octets = [int(part, 16) for part in word.split(":")]
    if octets[0] & 1:
        raise FieldError(
            f"'{text}' is a multicast address", "make its first pair even, such as '02'"
        )
    if not any(octets):
        raise FieldError(f"'{text}' is no address of a station")
    return ":".join(f"{octet:02x}" for octet in octets)


def _prefix(text: str, most: int) -> int:
    if not _PREFIX.fullmatch(text) or int(text) > most:
        raise FieldError(f"'{text}' is not a prefix length from 0 to {most}")
    return int(text)


def netmask(text: str) -> int:
    """Read an IPv4 netmask, dotted or as a prefix length, and return the prefix length."""
    if _PREFIX.fullmatch(text):
        return _prefix(text, 32)
    try:
        mask = IPv4Address(text)
        prefix = IPv4Network(f"0.0.0.0/{text}").prefixlen
    except (AddressValueError, NetmaskValueError):
        raise FieldError(f"'{text}' is not a netmask", "write '255.255.255.0' or '24'") from None
    # ipaddress also reads the inverse (0.0.0.255), which is no netmask to netifd.
    if int(mask) != (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF:
        raise FieldError(f"'{text}' is not a netmask", "write '255.255.255.0' or '24'")
    return prefix


def _ip4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise FieldError(f"'{text}' is not an IPv4 address") from None


def _ip6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise FieldError(f"'{text}' is not an IPv6 address") from None
    if address.scope_id is not None:
        raise FieldError(f"'{text}' names a link after '%'", "write the address alone")
    return address


def _refuse_unusable(address: IPv4Address | IPv6Address, text: str) -> None:
    if address.is_unspecified or address.is_multicast:
        raise FieldError(f"'{text}' is no address of one station")


def host4(text: str) -> Host4:
    """Read an IPv4 address with or without ``/PREFIX``; a dotted mask may follow the slash too."""
    word, slash, mask = text.partition("/")
    address = _ip4(word)
    _refuse_unusable(address, text)
    return Host4(address, netmask(mask) if slash else None)


def host6(text: str) -> Host6:
    """Read an IPv6 address with or without ``/PREFIX``."""
    word, slash, prefix = text.partition("/")
    address = _ip6(word)
    _refuse_unusable(address, text)
    return Host6(address, _prefix(prefix, 128) if slash else None)


def gateway4(text: str) -> IPv4Address:
    """Read the IPv4 address of a router."""
    address = _ip4(text)
    _refuse_unusable(address, text)
    return address


def gateway6(text: str) -> IPv6Address:
    """Read the IPv6 address of a router."""
    address = _ip6(text)
    _refuse_unusable(address, text)
    return address


def resolver(text: str) -> str:
    """Read the address of a name server, IPv4 or IPv6."""
    try:
        address = _ip6(text) if ":" in text else _ip4(text)
    except FieldError:
        hint = "name servers are given by number"
        raise FieldError(f"'{text}' is not an IP address", hint) from None
    _refuse_unusable(address, text)
    return str(address)
