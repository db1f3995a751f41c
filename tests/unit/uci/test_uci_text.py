"""Reading UCI text: lines for messages, pending deltas, lenient reading, names, the writer."""

from pathlib import Path

import pytest

from uxc.uci.exceptions import UciParseError
from uxc.uci.text import export, parse, parse_file

TEXT = b"""# first line
config container 'web'
\toption bundle '/mnt/web'
\tlist env 'A=1'

\tlist env 'B=two
lines'
\toption after 'x'; option same 'y'
config container
\toption bundle "/mnt/\\
other"
config container 'web'
\toption bundle '/late'
"""


def test_lines_of_sections_options_and_items() -> None:
    """Each is the line where its statement begins; a section keeps the line of its first one."""
    package = parse(TEXT, "uxc", "/etc/config/uxc")
    web, other = package.sections
    assert (web.name, web.type, web.anonymous, web.line) == ("web", "container", False, 2)
    assert (other.anonymous, other.line) == (True, 9)
    env = web.options["env"]
    assert (env.value, env.line, env.item_lines) == (["A=1", "B=two\nlines"], 4, [4, 6])
    assert [(name, web.options[name].line) for name in web.options] == [
        ("bundle", 13),
        ("env", 4),
        ("after", 8),
        ("same", 8),
    ]
    assert other.options["bundle"].value == "/mnt/other"
    assert other.options["bundle"].line == 10
    assert {option.file for option in web.entries} == {"/etc/config/uxc"}


def test_a_string_that_becomes_a_list_keeps_its_line() -> None:
    """The first item is where the option was."""
    package = parse(b"config a\noption x 1\n\nlist x 2\n", "p")
    option = package.sections[0].options["x"]
    assert (option.value, option.item_lines) == (["1", "2"], [2, 4])


def test_strict_reading_stops_with_the_place() -> None:
    """The error has file, line and byte, and libuci's words."""
    with pytest.raises(UciParseError) as caught:
        parse(b"config a\n\toption b-c d\n", "p", "/etc/config/p")
    error = caught.value
    assert (error.file, error.line, error.byte) == ("/etc/config/p", 2, 12)
    assert str(error) == "Parse error (invalid character in name field) at line 2, byte 12"


def test_lenient_reading_lists_every_problem_and_goes_on() -> None:
    """What is right is there, what is wrong is listed."""
    package = parse(b"config a\nfoo\n\toption x 1\n\tlist \n\toption y 2\n", "p", strict=False)
    assert {name: o.value for name, o in package.sections[0].options.items()} == {
        "x": "1",
        "y": "2",
    }
    assert [(problem.line, problem.reason) for problem in package.problems] == [
        (2, "invalid command"),
        (4, "insufficient arguments"),
    ]


def test_pending_deltas_say_where_they_come_from(tmp_path: Path) -> None:
    """An option that a delta set names the delta file and its line."""
    config, save = tmp_path / "uxc", tmp_path / "save"
    save.mkdir()
    config.write_bytes(b"config container 'web'\n\toption a '1'\n\tlist l 'x'\n")
    (save / "uxc").write_bytes(
        b"uxc.web.b='two\nlines'\nuxc.web.a='2'\n|uxc.web.l='y'\nuxc.new='container'\n"
    )
    delta = str(save / "uxc")

    package = parse_file(str(config), deltas=(str(tmp_path / "missing"), str(save)))

    web, new = package.sections
    options = web.options
    assert (options["b"].file, options["b"].line) == (delta, 1)
    assert (options["a"].value, options["a"].file, options["a"].line) == ("2", delta, 3)
    assert options["l"].item_places == [(str(config), 3), (delta, 4)]
    assert (web.file, new.file, new.line) == (str(config), delta, 5)
    assert len(package.saved) == 4


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """With the path in it, for the room above to explain."""
    with pytest.raises(FileNotFoundError) as caught:
        parse_file(str(tmp_path / "none"))
    assert caught.value.filename == str(tmp_path / "none")


@pytest.mark.parametrize(
    ("type_name", "name"),
    [
        ("system", "cfg01e48a"),
        ("interface", "cfg016d96"),
        ("bridge-vlan", "cfg01a1b0"),
        ("host", "cfg01fe63"),
        ("container", "cfg01cd88"),
        ("mount", "cfg014d78"),
        ("uxc", "cfg01b475"),
    ],
)
def test_anonymous_names_are_those_of_libuci(type_name: str, name: str) -> None:
    """Number of the section and hash of its type."""
    assert parse(f"config {type_name}\n".encode(), "p").sections[0].name == name


def test_the_number_in_a_made_up_name_counts_all_sections() -> None:
    """Named ones too, and with more digits from 256 on."""
    package = parse(b"config a 'n'\n" + b"config a\n" * 256, "p")
    assert package.sections[1].name == "cfg02b606"
    assert package.sections[-1].name == "cfg101b606"


def test_export_writes_what_libuci_writes() -> None:
    """Quotes are escaped, anonymous sections stay so unless all are to be named."""
    package = parse(b"config a\noption x \"it's\"\nlist l ''\nconfig b c\n", "p")
    body = "\nconfig a{}\n\toption x 'it'\\''s'\n\tlist l ''\n\nconfig b 'c'\n\n"
    assert export(package, False).decode() == body.format("")
    assert export(package, True).decode() == "package p\n" + body.format("")
    assert export(package, False, name_all=True).decode() == body.format(" 'cfg01b606'")


def test_what_is_not_utf8_survives() -> None:
    """Bytes are kept as they are."""
    text = b"\nconfig a\n\toption x '\xff\xc3\xa9\x80'\n\n"
    assert export(parse(text, "p"), False) == text


def test_two_options_of_one_name_after_a_rename() -> None:
    """The first one counts, as for libuci's look-ups."""
    package = parse(b"config a\noption x 1\noption y 2\n", "p")
    package.sections[0].entries[1].name = "x"
    assert package.sections[0].options["x"].value == "1"
