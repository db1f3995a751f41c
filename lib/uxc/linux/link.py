"""Network links by ioctl: the little that needs no netlink."""

import _socket
import _struct
import fcntl

from uxc.linux import const

_IFREQ_BYTES = 40


def set_up(name: str) -> None:
    """Bring the link ``name`` of the current network namespace up; OSError about it."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        request = _struct.pack("=16sh", name.encode(), 0).ljust(_IFREQ_BYTES, b"\0")
        answer = fcntl.ioctl(sock.fileno(), const.SIOCGIFFLAGS, request)
        flags = _struct.unpack_from("=h", answer, 16)[0] | const.IFF_UP
        request = _struct.pack("=16sh", name.encode(), flags).ljust(_IFREQ_BYTES, b"\0")
        fcntl.ioctl(sock.fileno(), const.SIOCSIFFLAGS, request)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    finally:
        sock.close()
