"""Messages between our processes: JSON objects over Unix sockets, with file descriptors beside.

Two framings share one shape of message (docs/control.md):

* the control socket (``uxc``, LuCI → manager) is a stream; a message is one line of JSON;
* the keeper's socket (manager → keeper) is SOCK_SEQPACKET; a message is one packet.

A request is ``{"v": 1, "id": N, "op": NAME, "args": {…}}``; its answer ``{"id": N, "ok": true,
"result": …}`` or ``{"id": N, "ok": false, "error": {"kind", "message", "hint"}}``. A message
without ``id`` is an event: ``{"event": NAME, …}``.
"""

import _socket
import posix
import sys

from uxc import jsontext
from uxc.errors import InvalidError, UxcError, from_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20
MAX_FDS = 16

_FD_BYTES = 4
_NO_SIGNAL = _socket.MSG_NOSIGNAL
_ANCILLARY_BYTES = _socket.CMSG_SPACE(MAX_FDS * _FD_BYTES)
# One for all messages: a new one of the largest size for each costs a mapping, five times the rest.
# Made with the first, since most processes that send never receive.
_buffer = bytearray()


def request(number: int, op: str, args: "dict[str, Any]") -> "dict[str, Any]":
    """Make the message that asks for ``op``; its answer carries the same ``number``."""
    return {"v": VERSION, "id": number, "op": op, "args": args}


def success(number: int, result: object = None) -> "dict[str, Any]":
    """Make the answer to request ``number`` that says it was done."""
    return {"id": number, "ok": True, "result": result}


def failure(number: int, error: UxcError) -> "dict[str, Any]":
    """Make the answer to request ``number`` that says why it was not done."""
    text = {"kind": error.kind, "message": error.message, "hint": error.hint}
    return {"id": number, "ok": False, "error": text}


def result_of(answer: "dict[str, Any]") -> "Any":
    """Return the result in ``answer``, or raise the error that it describes."""
    if answer.get("ok"):
        return answer.get("result")
    error = answer.get("error") or {}
    raise from_kind(
        error.get("kind", "failed"),
        error.get("message", "the answer holds no reason"),
        error.get("hint", ""),
    )


def encode_line(message: "dict[str, Any]") -> bytes:
    """Return ``message`` as one line for a stream."""
    return jsontext.dumps(message).encode() + b"\n"


def decode(data: bytes, source: str) -> "dict[str, Any]":
    """Return the message in ``data``; InvalidError, naming ``source``, when it is not an object."""
    try:
        value = jsontext.loads(data.decode(), source)
    except UnicodeDecodeError:
        raise InvalidError(f"{source}: the message is not UTF-8") from None
    if not isinstance(value, dict):
        raise InvalidError(f"{source}: the message is not a JSON object")
    return value


def send_packet(
    sock: "_socket.socket", message: "dict[str, Any]", fds: "tuple[int, ...]" = ()
) -> None:
    """Send ``message`` and duplicates of ``fds`` as one packet; OSError as sendmsg(2)."""
    send_with_fds(sock, jsontext.dumps(message).encode(), fds)


def receive_packet(
    sock: "_socket.socket", source: str
) -> "tuple[dict[str, Any] | None, list[int]]":
    """Receive one packet: its message, None at the end, and the fds that came with it.

    The fds belong to the caller and are close-on-exec. Raises OSError as recvmsg(2), InvalidError
    when the packet is damaged or cut off; the fds in it are closed then.
    """
    data, fds, flags = receive_with_fds(sock, MAX_MESSAGE_BYTES)
    try:
        if flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC):
            raise InvalidError(f"{source}: a message was cut off")
        return (decode(data, source) if data else None), fds
    except InvalidError:
        close_all(fds)
        raise


def send_with_fds(sock: "_socket.socket", data: bytes, fds: "tuple[int, ...]" = ()) -> int:
    """Send ``data`` with ``fds`` (SCM_RIGHTS, unix(7)); return the number of bytes taken."""
    if not fds:
        return sock.send(data, _NO_SIGNAL)
    rights = b"".join(fd.to_bytes(_FD_BYTES, sys.byteorder) for fd in fds)
    return sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)], _NO_SIGNAL)


def receive_with_fds(sock: "_socket.socket", size: int) -> "tuple[bytes, list[int], int]":
    """Receive up to ``size`` bytes, the fds that came along (close-on-exec), and the flags.

    ``size`` is at most MAX_MESSAGE_BYTES. Raises OSError as recvmsg(2).
    """
    if not _buffer:
        _buffer.extend(bytes(MAX_MESSAGE_BYTES))
    view = memoryview(_buffer)
    count, ancillary, flags, _ = sock.recvmsg_into(
        [view[:size]], _ANCILLARY_BYTES, _socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            usable = len(content) - len(content) % _FD_BYTES
            fds += (
                int.from_bytes(content[at : at + _FD_BYTES], sys.byteorder)
                for at in range(0, usable, _FD_BYTES)
            )
    return bytes(view[:count]), fds, flags


def close_all(fds: "list[int]") -> None:
    """Close every descriptor in ``fds``."""
    for fd in fds:
        posix.close(fd)
