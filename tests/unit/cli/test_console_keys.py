"""Detach keys: their spelling, and finding them in what is typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.cli.console import DETACH_KEYS, KeyFilter, parse_keys
from uxc.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-b", DETACH_KEYS),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("Ctrl-P,q", b"\x10q"),
        ("ctrl-@", b"\x00"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
        ("a,b", b"ab"),
        ("", b""),
    ],
)
def test_keys_are_spelled_as_people_know_them(text: str, keys: bytes) -> None:
    """A character, or ctrl- and a character, joined by commas."""
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ctrl-ab", "ab", "ä", ",", "ctrl-a,", "alt-x"])
def test_what_no_key_makes_is_refused(text: str) -> None:
    """A typing error in the option is named, not ignored."""
    with pytest.raises(InvalidError, match="is not a key"):
        parse_keys(text)


def feed(keys: bytes, *typed: bytes) -> tuple[bytes, bool]:
    """Type pieces; return what was passed on, and whether the keys were found."""
    key_filter = KeyFilter(keys)
    passed = b""
    for piece in typed:
        part, found = key_filter.feed(piece)
        passed += part
        if found:
            return passed, True
    return passed, False


@pytest.mark.parametrize(
    ("keys", "typed", "passed", "found"),
    [
        (b"\x02", [b"ls\r", b"\x02"], b"ls\r", True),
        (b"\x02", [b"a\x02b"], b"a", True),
        (b"\x10\x11", [b"\x10", b"\x11"], b"", True),
        (b"\x10\x11", [b"\x10x"], b"\x10x", False),
        (b"\x10\x11", [b"\x10", b"\x10", b"\x11"], b"\x10", True),
        (b"aab", [b"aaab"], b"a", True),
        (b"", [b"\x02"], b"\x02", False),
    ],
)
def test_keys_are_found_across_reads(
    keys: bytes, typed: list[bytes], passed: bytes, found: bool
) -> None:
    """A sequence may come in pieces; what only begins like it is passed on after all."""
    assert feed(keys, *typed) == (passed, found)


@given(st.binary(min_size=1, max_size=4), st.lists(st.binary(max_size=6), max_size=6))
def test_nothing_typed_is_lost(keys: bytes, typed: list[bytes]) -> None:
    """Passed on is everything before the keys, or all but a possible beginning of them."""
    everything = b"".join(typed)
    passed, found = feed(keys, *typed)

    if found:
        assert everything.startswith(passed + keys)
        assert everything.index(keys) == len(passed)
    else:
        assert keys not in everything
        assert everything.startswith(passed)
        assert keys.startswith(everything[len(passed) :])
