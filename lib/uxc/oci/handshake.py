"""What the two sides of a clone tell each other, one packet each (SOCK_SEQPACKET)."""

import _socket

from uxc.errors import UxcError, from_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Parent → child: you have ids in your user namespace.
MAPPED = b"mapped"
# Child → parent: the file system is built, the namespaces are there; what is to be done now?
BUILT = b"built"
# Parent → child: the state as JSON, as hooks are told it now and at start; JSON has no NUL.
SEPARATOR = b"\0"
# Child → parent: the seccomp filter's listener is my descriptor of the number that follows.
LISTENER = b"listener "
# Parent → child: whoever listens has it; close yours.
TAKEN = b"taken"
# Child → parent: all is done but the exec.
READY = b"ready"
# Parent → child: you are on record; wait for start, and outlive me.
PARK = b"park"
# Parent → child: I trace you; become the program, and stop there.
EXECUTE = b"execute"

_ERROR = b"error\0"
_MAX_BYTES = 1 << 16


class Channel:
    """One end of the conversation."""

    __slots__ = ("_sock",)

    def __init__(self, sock: "_socket.socket") -> None:
        """Take the connected socket, which is closed by ``close``."""
        self._sock = sock

    @property
    def fd(self) -> int:
        """The descriptor, for lists of what to keep open."""
        return self._sock.fileno()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def send(self, message: bytes) -> None:
        """Send one message; BrokenPipeError when the other side is gone."""
        self._sock.send(message, _socket.MSG_NOSIGNAL)

    def receive(self) -> bytes:
        """Wait for a message and return it.

        Raises the error that the other side sent in its place, EOFError when it is gone.
        """
        try:
            data = self._sock.recv(_MAX_BYTES)
        except ConnectionResetError:
            # The other side ended with a message of ours unread, which hides what it said last
            # for one call (unix_release_sock() in the kernel).
            data = self._sock.recv(_MAX_BYTES)
        if not data:
            raise EOFError
        if data.startswith(_ERROR):
            raise_sent(data)
        return data

    def expect(self, wanted: bytes) -> None:
        """Wait for the message ``wanted``; raises what ``receive`` does."""
        data = self.receive()
        if data != wanted:
            raise AssertionError(f"{data!r} came where {wanted!r} was due")

    def wait_closed(self) -> None:
        """Wait until the other side has hung up; it says nothing more."""
        self._sock.recv(1)

    def send_error(self, error: UxcError) -> None:
        """Send ``error`` to be raised on the other side."""
        parts = (error.kind, error.message, error.hint)
        text = "\0".join(part.replace("\0", " ") for part in parts)
        self._sock.send(
            _ERROR + text.encode("utf-8", "replace")[: _MAX_BYTES - 16], _socket.MSG_NOSIGNAL
        )


def raise_sent(data: bytes) -> "NoReturn":
    """Raise the error in the message ``data``."""
    kind, message, hint = data[len(_ERROR) :].decode(errors="replace").split("\0")
    raise from_kind(kind, message, hint)


def pair() -> "tuple[Channel, Channel]":
    """Return the two connected ends."""
    kind = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    one, other = _socket.socketpair(_socket.AF_UNIX, kind, 0)
    return Channel(one), Channel(other)
