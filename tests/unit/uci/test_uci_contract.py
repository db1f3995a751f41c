"""What pyuci's ``Uci`` promises, held against every backend: our files, libuci where it exists.

To run the libuci half, put a built pyuci where Python finds it, for example by PYTHONPATH.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uxc.uci import files
from uxc.uci.exceptions import (
    UciException,
    UciExceptionInvalidInput,
    UciExceptionNotFound,
)

Open = Callable[[], Any]

TEXT = """
config testing 'testing'
	option one '0'
	option two '1'
	list many 'a'
	list many 'b c'

config other
	option x 'it'\\''s'

config other 'named'
"""


@pytest.fixture(params=["files", "libuci"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Return a class with pyuci's API."""
    if request.param == "files":
        return files.Uci
    pytest.importorskip("uci", reason="libuci's Python binding (pyuci) is not installed here")
    from uxc.uci import native

    return native.Uci


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Return a folder with the configuration ``test``."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "test").write_text(TEXT)
    return folder


@pytest.fixture
def save(tmp_path: Path) -> Path:
    """Return a save folder that does not exist yet."""
    return tmp_path / "save"


@pytest.fixture
def open_uci(backend: Any, conf: Path, save: Path) -> Open:
    """Return a function that opens another context on the same folders."""
    return lambda: backend(savedir=str(save), confdir=str(conf))


def test_get_returns_a_type_a_string_and_a_tuple(open_uci: Open) -> None:
    """A section gives its type, an option a string, a list a tuple of strings."""
    u = open_uci()
    assert u.get("test", "testing") == "testing"
    assert u.get("test", "testing", "one") == "0"
    assert u.get("test", "testing", "many") == ("a", "b c")


def test_get_of_a_package_returns_all_sections_in_order(open_uci: Open) -> None:
    """The dictionary has sections and options in the order of the file, anonymous ones named."""
    found = open_uci().get("test")
    assert found == {
        "testing": {"one": "0", "two": "1", "many": ("a", "b c")},
        "cfg0203e7": {"x": "it's"},
        "named": {},
    }
    assert list(found) == ["testing", "cfg0203e7", "named"]


def test_get_all_returns_a_sections_options(open_uci: Open) -> None:
    """get_all differs from get only for a section."""
    u = open_uci()
    assert u.get_all("test", "testing") == {"one": "0", "two": "1", "many": ("a", "b c")}
    assert u.get_all("test", "testing", "one") == "0"
    assert u.get_all("test") == u.get("test")


def test_one_argument_may_be_a_whole_path(open_uci: Open) -> None:
    """``package.section.option`` and ``@type[index]`` work in a single argument only."""
    u = open_uci()
    path = "test.@other[-2].x"
    assert u.get(path) == "it's"
    assert path == "test.@other[-2].x"
    assert u.get("test.testing") == "testing"
    with pytest.raises(UciExceptionNotFound):
        u.get("test", "@other[0]", "x")


@pytest.mark.parametrize(
    "names", [("none",), ("test", "none"), ("test", "testing", "none"), ("test.@other[7]",)]
)
def test_what_does_not_exist_is_not_found(open_uci: Open, names: tuple[str, ...]) -> None:
    """Package, section, option and index: all raise UciExceptionNotFound."""
    u = open_uci()
    with pytest.raises(UciExceptionNotFound):
        u.get(*names)
    with pytest.raises(UciExceptionNotFound):
        u.get_all(*names)


@pytest.mark.parametrize("name", ["te st", "test.@other[x]", "test.a.b.c", "test.testing.b-c"])
def test_a_path_that_cannot_be_is_invalid_input(open_uci: Open, name: str) -> None:
    """Names that UCI does not allow raise UciExceptionInvalidInput, which is a UciException."""
    with pytest.raises(UciExceptionInvalidInput) as caught:
        open_uci().get(name)
    assert isinstance(caught.value, UciException)


def test_a_broken_file_is_invalid_input(open_uci: Open, conf: Path) -> None:
    """A file that does not follow the grammar cannot be read at all."""
    (conf / "test").write_text("config a 'b'\n\toption bad-name 'x'\n")
    with pytest.raises(UciExceptionInvalidInput):
        open_uci().get("test", "b")


def test_set_is_seen_at_once_and_by_nobody_else(open_uci: Open, conf: Path, save: Path) -> None:
    """Before save or commit a change exists in its own context only."""
    u = open_uci()
    u.set("test", "testing", "one", "new")
    u.set("test", "testing", "three", "3")
    u.set("test", "fresh", "kind")
    assert u.get("test", "testing", "one") == "new"
    assert u.get("test", "fresh") == "kind"
    assert open_uci().get("test", "testing", "one") == "0"
    assert (conf / "test").read_text() == TEXT
    assert not save.exists()


def test_set_takes_lists_and_tuples(open_uci: Open) -> None:
    """Either makes a list, an empty one none at all; a string replaces a list."""
    u = open_uci()
    u.set("test", "testing", "many", ["x"])
    u.set("test", "testing", "one", ("y", "z"))
    assert u.get("test", "testing", "many") == ("x",)
    assert u.get("test", "testing", "one") == ("y", "z")
    u.set("test", "testing", "many", "s")
    u.set("test", "testing", "one", ())
    assert u.get("test", "testing", "many") == "s"
    with pytest.raises(UciExceptionNotFound):
        u.get("test", "testing", "one")


def test_set_to_nothing_deletes(open_uci: Open) -> None:
    """An empty string deletes an option that exists and is no error for one that does not."""
    u = open_uci()
    u.set("test", "testing", "one", "")
    u.set("test", "testing", "none", "")
    with pytest.raises(UciExceptionNotFound):
        u.get("test", "testing", "one")


@pytest.mark.parametrize(
    "arguments",
    [
        ("test", "none", "option", "value"),
        ("test", "testing", "option", 5),
        ("test", "testing", "option", None),
        ("test", "testing", "bad type"),
        ("test", "testing"),
        ("test", "a", "b", "c", "d"),
        ("none", "a", "b"),
    ],
)
def test_set_refuses_what_uci_cannot_do(open_uci: Open, arguments: tuple[Any, ...]) -> None:
    """No section to put the option into, no text, no type, or a wrong number of arguments."""
    with pytest.raises(UciException):
        open_uci().set(*arguments)


def test_save_writes_deltas_that_every_context_applies(
    open_uci: Open, conf: Path, save: Path
) -> None:
    """save appends to the delta file, leaves the configuration alone, and others see it."""
    u = open_uci()
    u.set("test", "testing", "one", "it's")
    u.set("test", "fresh", "kind")
    u.save("test")
    assert (save / "test").read_text() == "test.testing.one='it'\\''s'\ntest.fresh='kind'\n"
    assert (conf / "test").read_text() == TEXT
    assert open_uci().get("test", "testing", "one") == "it's"


def test_commit_writes_the_file_and_empties_the_deltas(
    open_uci: Open, conf: Path, save: Path
) -> None:
    """The text is libuci's; comments and layout of the old file are gone."""
    u = open_uci()
    u.set("test", "testing", "many", ("x", "it's"))
    u.delete("test", "named")
    u.commit("test")
    assert (conf / "test").read_text() == (
        "\nconfig testing 'testing'\n\toption one '0'\n\toption two '1'\n"
        "\tlist many 'x'\n\tlist many 'it'\\''s'\n\nconfig other\n\toption x 'it'\\''s'\n\n"
    )
    assert (save / "test").read_text() == ""


def test_commit_without_a_change_leaves_the_file_alone(open_uci: Open, conf: Path) -> None:
    """Not even its layout is touched."""
    (conf / "test").write_text("# kept\nconfig a\n")
    open_uci().commit("test")
    assert (conf / "test").read_text() == "# kept\nconfig a\n"


def test_commit_of_one_section_commits_the_package(open_uci: Open, conf: Path) -> None:
    """libuci knows no smaller unit."""
    u = open_uci()
    u.set("test", "testing", "one", "5")
    u.set("test", "named", "two", "6")
    u.commit("test", "testing")
    assert "'5'" in (conf / "test").read_text()
    assert "'6'" in (conf / "test").read_text()


def test_commit_keeps_what_others_wrote_meanwhile(open_uci: Open, conf: Path) -> None:
    """The file is read again under its lock, and the changes are applied to that text."""
    u = open_uci()
    u.set("test", "testing", "one", "mine")
    other = open_uci()
    other.set("test", "named", "theirs", "1")
    other.commit("test")
    u.commit("test")
    text = (conf / "test").read_text()
    assert "option one 'mine'" in text
    assert "option theirs '1'" in text


def test_commit_keeps_mode_and_symlink(open_uci: Open, conf: Path, tmp_path: Path) -> None:
    """A configuration that lives elsewhere stays there, with its permissions."""
    (conf / "test").rename(tmp_path / "real")
    (tmp_path / "real").chmod(0o640)
    (conf / "test").symlink_to("../real")
    u = open_uci()
    u.set("test", "named", "x", "1")
    u.commit("test")
    assert (conf / "test").is_symlink()
    assert "option x '1'" in (tmp_path / "real").read_text()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_delete_takes_options_and_sections(open_uci: Open) -> None:
    """What does not exist in an existing package is no error."""
    u = open_uci()
    u.delete("test", "testing", "one")
    u.delete("test", "testing", "none")
    u.delete("test", "none")
    assert u.get("test", "testing", "two") == "1"
    with pytest.raises(UciExceptionNotFound):
        u.get("test", "testing", "one")
    u.delete("test", "testing")
    with pytest.raises(UciExceptionNotFound):
        u.get("test", "testing")
    with pytest.raises(UciExceptionNotFound):
        u.delete("none", "x")


def test_rename_keeps_place_and_content(open_uci: Open) -> None:
    """An option by four arguments, a section by three."""
    u = open_uci()
    u.rename("test", "testing", "one", "uno")
    u.rename("test", "testing", "tested")
    found = u.get("test")
    assert next(iter(found)) == "tested"
    assert next(iter(found["tested"].items())) == ("uno", "0")


@pytest.mark.parametrize("arguments", [("test", "none", "x"), ("test", "testing", "none", "x")])
def test_rename_of_nothing_is_not_found(open_uci: Open, arguments: tuple[str, ...]) -> None:
    """Sections and options alike."""
    with pytest.raises(UciExceptionNotFound):
        open_uci().rename(*arguments)


def test_add_returns_the_made_up_name_and_saves(open_uci: Open, conf: Path, save: Path) -> None:
    """The name says the number of the section and a hash of its type."""
    u = open_uci()
    assert u.add("test", "rule") == "cfg0492bd"
    assert (save / "test").read_text() == "+test.cfg0492bd='rule'\n"
    assert u.get("test", "cfg0492bd") == "rule"
    u.commit("test")
    assert (conf / "test").read_text().endswith("\nconfig rule\n\n")


def test_add_works_on_a_package_that_was_read(open_uci: Open) -> None:
    """Reading first, which pyuci alone does not survive, changes nothing."""
    u = open_uci()
    u.get("test", "testing")
    u.set("test", "testing", "one", "9")
    assert u.add("test", "rule") == "cfg0492bd"
    assert u.get("test", "testing", "one") == "9"
    with pytest.raises(UciExceptionNotFound):
        u.add("none", "rule")


@pytest.mark.parametrize(
    ("position", "order"),
    [
        (0, ["named", "testing", "cfg0203e7"]),
        (1, ["testing", "named", "cfg0203e7"]),
        (99, ["testing", "cfg0203e7", "named"]),
        (-1, ["named", "testing", "cfg0203e7"]),
    ],
)
def test_reorder_moves_a_section(open_uci: Open, position: int, order: list[str]) -> None:
    """Positions count from 0; beyond the ends is at the end."""
    u = open_uci()
    u.reorder("test", "named", position)
    assert list(u.get("test")) == order
    u.commit("test")
    assert [name[:3] for name in open_uci().get("test")] == [name[:3] for name in order]


def test_reorder_of_nothing_is_not_found(open_uci: Open) -> None:
    """A section that does not exist has no place."""
    with pytest.raises(UciExceptionNotFound):
        open_uci().reorder("test", "none", 0)


def test_revert_drops_saved_and_unsaved_changes(open_uci: Open, save: Path) -> None:
    """All of a package."""
    u = open_uci()
    u.set("test", "testing", "one", "5")
    u.save("test")
    u.set("test", "testing", "two", "6")
    u.revert("test")
    assert u.get("test", "testing") == "testing"
    assert u.get_all("test", "testing") == {"one": "0", "two": "1", "many": ("a", "b c")}
    assert (save / "test").read_text() == ""


def test_revert_drops_only_what_is_named(open_uci: Open) -> None:
    """One option, then one section."""
    u = open_uci()
    u.set("test", "testing", "one", "5")
    u.set("test", "testing", "two", "6")
    u.set("test", "named", "three", "7")
    u.revert("test", "testing", "one")
    assert u.get_all("test", "testing")["one"] == "0"
    assert u.get_all("test", "testing")["two"] == "6"
    u.revert("test", "testing")
    assert u.get_all("test", "testing")["two"] == "1"
    assert u.get_all("test", "named") == {"three": "7"}


def test_changes_lists_what_is_saved(open_uci: Open) -> None:
    """Each change by the words of rpcd; what is not saved is not listed."""
    u = open_uci()
    u.add("test", "rule")
    u.set("test", "testing", "one", "5")
    u.set("test", "testing", "many", ("x",))
    u.rename("test", "named", "other")
    u.save("test")
    u.delete("test", "testing")
    expected = [
        ("add", "cfg0492bd", "rule"),
        ("set", "testing", "one", "5"),
        ("remove", "testing", "many"),
        ("list-add", "testing", "many", "x"),
        ("rename", "named", "other"),
    ]
    assert u.changes("test") == {"test": expected}
    assert u.changes() == {"test": expected}
    u.commit("test")
    assert u.changes() == {}


def test_load_reads_again_and_unload_forgets(open_uci: Open, conf: Path) -> None:
    """Both drop what was changed and not saved."""
    u = open_uci()
    u.set("test", "testing", "one", "5")
    u.unload("test")
    assert u.get("test", "testing", "one") == "0"
    (conf / "test").write_text("config a 'b'\n")
    u.load("test")
    assert u.get("test") == {"b": {}}
    with pytest.raises(UciExceptionNotFound):
        u.load("none")


def test_list_configs_is_sorted_and_skips_other_files(open_uci: Open, conf: Path) -> None:
    """Folders, hidden files and names with a dot are no packages."""
    for name in ("b", "a", ".hidden", "old.bak"):
        (conf / name).touch()
    (conf / "folder").mkdir()
    assert open_uci().list_configs() == ["a", "b", "test"]


def test_folders_are_told_and_can_be_changed(open_uci: Open, conf: Path, save: Path) -> None:
    """A context moves to other folders."""
    u = open_uci()
    assert (u.confdir(), u.savedir()) == (str(conf), str(save))
    other = conf.parent / "other"
    other.mkdir()
    (other / "test").write_text("config a 'b'\n")
    u.set_confdir(str(other))
    u.set_savedir(str(other / "save"))
    assert (u.confdir(), u.savedir()) == (str(other), str(other / "save"))
    u.set("test", "b", "x", "1")
    u.save("test")
    assert (other / "save" / "test").read_text() == "test.b.x='1'\n"
    assert not save.exists()


def _set_and_fail(open_uci: Open) -> None:
    with open_uci() as u:
        u.set("test", "testing", "one", "6")
        u.get("test", "none")


def test_the_end_of_a_with_statement_commits(open_uci: Open, conf: Path) -> None:
    """All that was set, and also when the block fails."""
    with open_uci() as u:
        u.set("test", "testing", "one", "5")
    assert "option one '5'" in (conf / "test").read_text()
    with pytest.raises(UciExceptionNotFound):
        _set_and_fail(open_uci)
    assert "option one '6'" in (conf / "test").read_text()


def test_a_with_statement_that_only_reads_commits_nothing(
    open_uci: Open, conf: Path, save: Path
) -> None:
    """Somebody's saved change stays pending."""
    other = open_uci()
    other.set("test", "testing", "one", "5")
    other.save("test")
    with open_uci() as u:
        assert u.get("test", "testing", "one") == "5"
    assert (conf / "test").read_text() == TEXT
    assert (save / "test").read_text() != ""


def test_a_closed_context_says_so(open_uci: Open) -> None:
    """Its use is an error, not a crash."""
    with open_uci() as u:
        u.get("test")
    with pytest.raises(UciException, match="closed"):
        u.get("test")
    with pytest.raises(UciException), u:
        pass


def test_values_keep_their_bytes(open_uci: Open, conf: Path) -> None:
    """Quotes, newlines, tabs, hashes and letters beyond ASCII survive a commit."""
    value = "'\"\\ #;\n\t é €\r"
    u = open_uci()
    u.set("test", "testing", "one", value)
    u.commit("test")
    assert open_uci().get("test", "testing", "one") == value


def test_a_change_that_cannot_be_read_again_is_lost_at_the_commit(open_uci: Open) -> None:
    """libuci checks values only when it reads a delta: a control character vanishes."""
    u = open_uci()
    u.set("test", "testing", "one", "\x01")
    assert u.get("test", "testing", "one") == "\x01"
    u.commit("test")
    assert open_uci().get("test", "testing", "one") == "0"
