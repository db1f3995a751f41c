"""Random packages and edits survive writing and reading, and equal input gives equal text."""

import string
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from uxc.uci import edits
from uxc.uci.exceptions import UciException
from uxc.uci.files import Uci
from uxc.uci.model import NOWHERE, Package
from uxc.uci.pointer import Pointer
from uxc.uci.scanner import Scanner, Stream
from uxc.uci.text import export, parse, parse_file

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
TYPES = st.text(string.ascii_letters + string.digits + "-_.:", min_size=1, max_size=8)
# Everything that a value may hold, with the characters that mean something drawn often.
VALUES = st.text(
    st.one_of(
        st.sampled_from("'\"\\#; \t\n\r="),
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")),
    ),
    max_size=20,
)
OPTIONS = st.dictionaries(
    NAMES, st.one_of(VALUES.filter(bool), st.lists(VALUES, min_size=1, max_size=3)), max_size=4
)
SECTIONS = st.lists(st.tuples(TYPES, st.one_of(st.just(""), NAMES), OPTIONS), max_size=5)
# Bytes in which quotes, comments and line ends meet in every order.
WORDS = (
    rb"""config option list package c a ' " \ # ; x-y 'v'""".split(),
    [b" ", b"\t", b"\n", b"\r\n", b"\0", b"\xff", b"\v"],
)
SCRAPS = st.lists(st.sampled_from([*WORDS[0], *WORDS[1]]), max_size=40).map(b"".join)


def _content(package: Package) -> list[Any]:
    return [
        (s.type, "" if s.anonymous else s.name, [(o.name, o.value) for o in s.entries])
        for s in package.sections
    ]


def _build(sections: list[tuple[str, str, dict[str, Any]]]) -> Package:
    package = Package("p")
    for type_name, name, options in sections:
        if name and package.section(name) is not None:
            continue
        section = package.append(type_name, name, ("", 0))
        for option, value in options.items():
            for item in [value] if isinstance(value, str) else value:
                pointer = Pointer("p", section.name, option, item)
                pointer.found_package, pointer.found_section = package, section
                pointer.found_option = section.option(option)
                (edits.set_value if isinstance(value, str) else edits.add_list)(pointer, False)
    return package


@given(SECTIONS)
def test_what_is_written_is_read_again(sections: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Any package that UCI can hold, byte for byte."""
    package = _build(sections)
    text = export(package, False)
    again = parse(text, "p")
    assert _content(again) == _content(package)
    assert export(again, False) == text


def _other_layout(package: Package) -> bytes:
    """Write a package as people might: short keywords, double quotes, comments, one-liners."""
    lines = []
    for section in package.sections:
        name = "" if section.anonymous else f'"{section.name}"'
        lines.append(f"  c {section.type} {name} # comment\n")
        statements = []
        for option in section.entries:
            keyword = "o" if isinstance(option.value, str) else "list"
            for item in [option.value] if isinstance(option.value, str) else option.value:
                quoted = item.replace("\\", "\\\\").replace('"', '\\"')
                statements.append(f'{keyword} {option.name} "{quoted}"')
        lines.append(" ;".join(statements) + "\n")
    return "".join(lines).encode()


@given(SECTIONS)
def test_another_layout_reads_the_same(sections: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Quotes, comments and several statements on a line lead past the reader's short cut."""
    package = _build(sections)
    assert _content(parse(_other_layout(package), "p")) == _content(package)


@given(SCRAPS)
def test_any_bytes_give_a_package_or_a_parse_error(data: bytes) -> None:
    """Leniently, text never fails, and what it gave is stable."""
    package = parse(data, "p", strict=False)
    text = export(package, False)
    assert export(parse(text, "p", strict=False), False) == text
    assert export(parse(data, "p", strict=False), False) == text


@given(SCRAPS)
def test_the_short_cut_gives_what_the_long_way_gives(data: bytes) -> None:
    """plain_words returns nothing, or the words that libuci's own buffer yields."""
    quick, slow = Scanner(Stream(data)), Scanner(Stream(data))
    while not quick.stream.ended:
        if quick.next_line() != slow.next_line():
            pytest.fail("the two scanners read different lines")
        words = quick.plain_words()
        if words is None or len(words) < 2:
            return
        slow.skip_blanks()
        assert slow.keyword() == words[0]
        slow.past_keyword("no blank")
        assert [slow.word() for _ in words[1:]] == words[1:]
        assert slow.word() == b""


EDITS = st.one_of(
    st.tuples(st.just("set"), NAMES, TYPES),
    st.tuples(st.just("set"), NAMES, NAMES, VALUES),
    st.tuples(st.just("set"), NAMES, NAMES, st.lists(VALUES, max_size=3)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("delete"), NAMES, NAMES),
    st.tuples(st.just("rename"), NAMES, NAMES, NAMES),
    st.tuples(st.just("reorder"), NAMES, st.integers(-2, 6)),
    st.tuples(st.just("add"), NAMES),
)


def _can_be_told_apart(package: Package) -> bool:
    """Tell whether the sections of ``package`` have a name each when its text is read again.

    libuci lets a section be renamed to the name of another one. And it numbers the anonymous ones
    by their places in the file: a name that it made up once and then gave to a section for good
    (its type was changed) may come up again for another one. Sections of one name become one, or
    an error that no program gets past, as recorded.json has it of the real uci.
    """
    read = Package(package.name)
    names = [
        read.new_section(s.type, "" if s.anonymous else s.name, NOWHERE).name
        for s in package.sections
    ]
    return len({*names}) == len(names)


TWO_ANONYMOUS: list[Any] = [("00", "", {}), ("00", "", {})]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SECTIONS, st.lists(EDITS, max_size=8), st.randoms(use_true_random=False))
# The seeds choose the first section and then the second, and the second one.
@example(TWO_ANONYMOUS, [("set", "", "0"), ("reorder", "", 0)], Random(4))
@example([("a", "x", {}), ("bb", "y", {})], [("rename", "", "x")], Random(5))
@example([("a", "x", {"o": "1"}), ("a", "y", {})], [("rename", "", "x")], Random(5))
def test_edits_in_memory_equal_edits_through_the_delta_file(
    tmp_path: Path, sections: list[tuple[str, str, dict[str, Any]]], steps: list[Any], random: Any
) -> None:
    """What a context shows before a commit is what the file holds afterwards."""
    save = tmp_path / "save"
    (tmp_path / "p").write_bytes(export(_build(sections), False))
    if (save / "p").exists():
        (save / "p").unlink()
    uci = Uci(savedir=str(save), confdir=str(tmp_path), conf2dir="")
    known = list(uci.get("p"))
    for method, *arguments in steps:
        if method != "add" and known:
            arguments[0] = random.choice(known)
        try:
            getattr(uci, method)("p", *arguments)
        except UciException:
            # A section that is not there; the refusal must leave no trace either.
            continue

    shown = uci.get("p")
    uci.save("p")
    pending = parse_file(str(tmp_path / "p"), deltas=(str(save),))
    uci.commit("p")

    assert uci.get("p") == shown
    if _can_be_told_apart(pending):
        fresh = Uci(savedir=str(save), confdir=str(tmp_path), conf2dir="").get("p")
        assert list(fresh.values()) == list(shown.values())
