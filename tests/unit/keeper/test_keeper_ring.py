"""The rings of container output: what they keep, what they drop, what a slow reader misses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.keeper.ring import Cursor, Pool, Ring

LIMIT = 4096


def read_all(ring: Ring, cursor: Cursor, step: int = 1000) -> bytes:
    """Read everything from ``cursor`` on, moving it."""
    parts = []
    while True:
        _, data = ring.read(cursor, step)
        if not data:
            return b"".join(parts)
        ring.advance(cursor, len(data))
        parts.append(data)


def test_a_reader_gets_what_was_printed_before_and_after_it_came() -> None:
    """A cursor made late starts at the first byte, and goes on with later ones."""
    ring = Pool().ring()
    ring.append(b"o", b"early ")
    cursor = ring.start()
    assert read_all(ring, cursor) == b"early "

    ring.append(b"o", b"late")

    assert read_all(ring, cursor) == b"late"


def test_streams_keep_their_order_and_their_tags() -> None:
    """Bytes of stdout and stderr come back in the order of arrival, never mixed in one piece."""
    ring = Pool().ring()
    for stream, data in ((b"o", b"1"), (b"e", b"2"), (b"e", b"3"), (b"o", b"4")):
        ring.append(stream, data)
    cursor = ring.start()

    seen = []
    while (piece := ring.read(cursor, 100))[1]:
        seen.append(piece)
        ring.advance(cursor, len(piece[1]))

    assert seen == [(b"o", b"1"), (b"e", b"23"), (b"o", b"4")]


@given(
    st.lists(st.tuples(st.sampled_from([b"o", b"e"]), st.binary(max_size=3000)), max_size=40),
    st.integers(min_value=1, max_value=5000),
)
def test_a_ring_is_the_end_of_what_was_printed(
    writes: list[tuple[bytes, bytes]], step: int
) -> None:
    """Whatever is printed: the ring holds its end, at most the limit and not much less."""
    pool = Pool()
    ring = pool.ring(LIMIT)
    everything = b""
    for stream, data in writes:
        ring.append(stream, data)
        everything += data
        assert ring.size_bytes <= LIMIT
        assert ring.size_bytes >= min(len(everything), LIMIT - LIMIT // 16)
        assert pool.used_bytes == ring.size_bytes

    kept = read_all(ring, Cursor(0, 0), step)

    assert len(kept) == ring.size_bytes
    assert everything.endswith(kept)


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=2000)), max_size=40))
def test_a_reader_in_between_misses_nothing_that_the_ring_has(
    steps: list[tuple[bool, bytes]],
) -> None:
    """A reader who comes by now and then sees each byte once, or skips what was dropped."""
    ring = Pool().ring(LIMIT)
    cursor = ring.start()
    everything, position, unread = b"", 0, 0
    for reads, data in steps:
        ring.append(b"o", data)
        everything += data
        unread += len(data)
        if reads:
            seen = read_all(ring, cursor)
            assert everything.endswith(seen)
            assert len(seen) == min(unread, len(seen) if unread > ring.size_bytes else unread)
            assert unread <= ring.size_bytes or len(seen) == ring.size_bytes
            position, unread = position + len(seen), 0


def test_a_reader_who_starts_late_begins_with_a_line() -> None:
    """Once bytes were dropped the start is after a line feed: no half escape sequence."""
    ring = Pool().ring(LIMIT)
    for number in range(1000):
        ring.append(b"o", b"%d%s\n" % (number, b"." * (number % 7)))

    first = read_all(ring, ring.start()).split(b"\n")[0]

    number = int(first.rstrip(b"."))
    assert first == b"%d%s" % (number, b"." * (number % 7))


def test_the_fullest_ring_pays_for_the_total() -> None:
    """When all rings together are full, a quiet container keeps what it said."""
    pool = Pool(total_bytes=3 * LIMIT)
    quiet, loud, louder = pool.ring(LIMIT), pool.ring(2 * LIMIT), pool.ring(4 * LIMIT)
    quiet.append(b"o", b"precious")
    for _ in range(100):
        loud.append(b"o", b"x" * 1000)
        louder.append(b"o", b"y" * 1000)

    assert pool.used_bytes <= pool.total_bytes
    assert read_all(quiet, quiet.start()) == b"precious"
    assert loud.size_bytes > LIMIT


@pytest.mark.parametrize("wanted", [0, 1, LIMIT - 1])
def test_a_ring_is_never_too_small_to_be_of_use(wanted: int) -> None:
    """A limit below 4 KiB counts as 4 KiB: the last screen is always there."""
    ring = Pool().ring(wanted)
    ring.append(b"o", b"z" * (LIMIT - LIMIT // 16))

    assert ring.size_bytes == LIMIT - LIMIT // 16


def test_a_closed_ring_gives_its_memory_back() -> None:
    """The total counts what living containers hold only."""
    pool = Pool()
    ring = pool.ring()
    ring.append(b"o", b"x" * 5000)

    ring.close()

    assert pool.used_bytes == 0
