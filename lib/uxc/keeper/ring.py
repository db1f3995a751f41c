"""What containers printed last: a bounded ring per container, and a bound for all of them.

A ring is a list of pieces. A reader keeps a cursor, not a copy: a viewer that reads slowly costs
no memory and misses what the ring has dropped meanwhile.
"""

from __future__ import annotations

DEFAULT_BYTES = 64 << 10
# What every container together may hold; reached by 64 containers that fill the default ring.
TOTAL_BYTES = 4 << 20

_MIN_BYTES = 4096


class Piece:
    """Bytes of one stream, as they came; only the last piece of a ring still grows."""

    __slots__ = ("data", "stream")

    def __init__(self, stream: bytes, data: bytes) -> None:
        """Take the stream's tag and the first bytes."""
        self.stream = stream
        self.data = bytearray(data)


class Ring:
    """The last bytes of one container's output; made by ``Pool.ring``."""

    __slots__ = ("_first", "_piece_bytes", "_pieces", "_pool", "limit_bytes", "size_bytes")

    def __init__(self, pool: Pool, limit_bytes: int) -> None:
        """Keep at most ``limit_bytes``, at least 4 KiB."""
        self.limit_bytes = max(limit_bytes, _MIN_BYTES)
        self.size_bytes = 0
        # Whole pieces are dropped: small ones keep the ring close to its limit, and merging
        # single bytes into them keeps Python's cost per object away.
        self._piece_bytes = min(self.limit_bytes // 16, 4096)
        self._pieces: list[Piece] = []
        self._first = 0
        self._pool = pool

    def append(self, stream: bytes, data: bytes) -> None:
        """Add ``data`` of ``stream``, and drop the oldest pieces over a limit."""
        view = memoryview(data)
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.stream == stream:
            room = max(self._piece_bytes - len(last.data), 0)
            last.data += view[:room]
            view = view[room:]
        while view:
            self._pieces.append(Piece(stream, view[: self._piece_bytes].tobytes()))
            view = view[self._piece_bytes :]
        self.size_bytes += len(data)
        self._pool.used_bytes += len(data)
        while self.size_bytes > self.limit_bytes:
            self.drop_oldest()
        self._pool.shrink()

    def drop_oldest(self) -> None:
        """Drop the oldest piece."""
        piece = self._pieces.pop(0)
        self._first += 1
        self.size_bytes -= len(piece.data)
        self._pool.used_bytes -= len(piece.data)

    def start(self) -> Cursor:
        """Return a cursor at the oldest byte, or after the first line feed when some are gone.

        The rest of a line whose start is lost may be the end of a character or of an escape
        sequence, which would garble a terminal.
        """
        if self._first and self._pieces:
            return Cursor(self._first, self._pieces[0].data.find(b"\n") + 1)
        return Cursor(self._first, 0)

    def read(self, cursor: Cursor, limit_bytes: int) -> tuple[bytes, bytes]:
        """Return stream and bytes at ``cursor``; the bytes are empty when all was read.

        The cursor is not moved; one that points before the oldest byte counts as standing there.
        """
        index, offset = cursor.piece - self._first, cursor.offset
        if index < 0:
            index, offset = 0, 0
        parts: list[bytes] = []
        stream = b""
        left = limit_bytes
        while left and index < len(self._pieces):
            piece = self._pieces[index]
            part = bytes(memoryview(piece.data)[offset : offset + left])
            if parts and part and piece.stream != stream:
                break
            if part:
                stream = piece.stream
                parts.append(part)
                left -= len(part)
            index, offset = index + 1, 0
        return stream, b"".join(parts)

    def advance(self, cursor: Cursor, count: int) -> None:
        """Move ``cursor`` by ``count`` bytes that ``read`` has just returned."""
        if cursor.piece < self._first:
            cursor.piece, cursor.offset = self._first, 0
        while True:
            index = cursor.piece - self._first
            if index >= len(self._pieces):
                return
            here = len(self._pieces[index].data) - cursor.offset
            if count < here or index == len(self._pieces) - 1:
                cursor.offset += count
                return
            count -= here
            cursor.piece, cursor.offset = cursor.piece + 1, 0

    def close(self) -> None:
        """Give the memory back."""
        self._pool.forget(self)
        while self._pieces:
            self.drop_oldest()


class Cursor:
    """A reader's place in a ring: the number of a piece, counted from the first one ever."""

    __slots__ = ("offset", "piece")

    def __init__(self, piece: int, offset: int) -> None:
        """Stand at ``offset`` in ``piece``."""
        self.piece = piece
        self.offset = offset


class Pool:
    """All rings, and the bound on what they hold together."""

    __slots__ = ("_rings", "total_bytes", "used_bytes")

    def __init__(self, total_bytes: int = TOTAL_BYTES) -> None:
        """Let all rings hold ``total_bytes``."""
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._rings: list[Ring] = []

    def ring(self, limit_bytes: int = DEFAULT_BYTES) -> Ring:
        """Make a ring of ``limit_bytes`` that counts against the total."""
        ring = Ring(self, limit_bytes)
        self._rings.append(ring)
        return ring

    def shrink(self) -> None:
        """Take from the fullest ring what is over the total: a quiet container keeps its lines."""
        while self.used_bytes > self.total_bytes:
            max(self._rings, key=_size).drop_oldest()

    def forget(self, ring: Ring) -> None:
        """Take ``ring`` out of the count."""
        if ring in self._rings:
            self._rings.remove(ring)


def _size(ring: Ring) -> int:
    return ring.size_bytes
