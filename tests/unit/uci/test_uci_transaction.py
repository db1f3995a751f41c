"""Our own commits: all or nothing, other people's pending changes untouched, no open rollback."""

import os
import threading
from pathlib import Path

import pytest

from uxc.errors import ConflictError, InvalidError, NotFoundError, SystemFailure
from uxc.paths import Paths
from uxc.uci import lockedfile
from uxc.uci.store import Store
from uxc.uci.transaction import Transaction

TEXT = "config container 'web'\n\toption bundle '/mnt/web'\n\toption autostart '1'\n"


@pytest.fixture
def places(tmp_path: Path) -> Paths:
    """Return a prefix with the configuration of one container."""
    (tmp_path / "etc/config").mkdir(parents=True)
    (tmp_path / "etc/config/uxc").write_text(TEXT)
    return Paths(str(tmp_path))


def _text(places: Paths, name: str = "uxc") -> str:
    return Path(places.config_dir, name).read_text()


def test_edits_are_committed_together(places: Paths) -> None:
    """Sections, options and lists; the text is libuci's."""
    with Transaction(places, "uxc") as edit:
        assert edit.add("container", "db") == "db"
        edit.set("db", "bundle", "/mnt/db")
        edit.set("db", "env", ["A=1", "B=it's"])
        edit.set("web", "autostart", "0")
        edit.set("web", "memory", "64M")
        edit.delete("web", "bundle")
        edit.delete("web", "none")
        edit.rename("web", "www")
    assert _text(places) == (
        "\nconfig container 'www'\n\toption autostart '0'\n\toption memory '64M'\n"
        "\nconfig container 'db'\n\toption bundle '/mnt/db'\n"
        "\tlist env 'A=1'\n\tlist env 'B=it'\\''s'\n\n"
    )


def test_a_list_takes_the_place_of_what_it_replaces(places: Paths) -> None:
    """An empty one deletes."""
    with Transaction(places, "uxc") as edit:
        edit.set("web", "bundle", ["a", "b"])
        edit.set("web", "autostart", [])
    assert _text(places) == "\nconfig container 'web'\n\tlist bundle 'a'\n\tlist bundle 'b'\n\n"


def _set_and_fail(places: Paths) -> None:
    with Transaction(places, "uxc") as edit:
        edit.set("web", "autostart", "0")
        edit.set("none", "autostart", "0")


def test_a_block_that_fails_changes_nothing(places: Paths) -> None:
    """The file is the old one, and free again."""
    with pytest.raises(NotFoundError):
        _set_and_fail(places)
    assert _text(places) == TEXT
    os.close(lockedfile.open_exclusive(f"{places.config_dir}/uxc"))


def test_a_block_that_changes_nothing_writes_nothing(places: Paths) -> None:
    """Comments and layout stay when there is no reason to write."""
    Path(places.config_dir, "uxc").write_text("# mine\n" + TEXT)
    with Transaction(places, "uxc") as edit:
        edit.set("web", "autostart", "1")
    assert _text(places) == "# mine\n" + TEXT


def test_pending_changes_of_others_stay_pending(places: Paths) -> None:
    """They are neither seen nor committed nor lost."""
    save = Path(places.uci_save_dir)
    save.mkdir(parents=True)
    pending = "uxc.web.autostart='0'\nuxc.theirs='container'\n"
    (save / "uxc").write_text(pending)
    with Transaction(places, "uxc") as edit:
        assert edit.section("theirs") is None
        edit.set("web", "memory", "1M")
    assert "option autostart '1'" in _text(places)
    assert "theirs" not in _text(places)
    assert (save / "uxc").read_text() == pending
    merged = Store(places.config_dir, places.uci_save_dir).load("uxc")
    assert {section.name for section in merged.sections} == {"web", "theirs"}
    assert merged.sections[0].options["memory"].value == "1M"


def test_two_transactions_come_one_after_the_other(places: Paths) -> None:
    """The second one sees what the first one wrote."""

    def second() -> None:
        with Transaction(places, "uxc") as edit:
            edit.add("container", "second")

    thread = threading.Thread(target=second)
    with Transaction(places, "uxc") as edit:
        thread.start()
        thread.join(0.05)
        edit.add("container", "first")
    thread.join(5)
    assert _text(places).endswith("\nconfig container 'first'\n\nconfig container 'second'\n\n")


def test_only_our_own_configuration_is_made(places: Paths) -> None:
    """A missing /etc/config/uxc begins to exist, readable by root; no other one does."""
    os.unlink(f"{places.config_dir}/uxc")
    with Transaction(places, "uxc") as edit:
        edit.add("container", "web")
    assert _text(places) == "\nconfig container 'web'\n\n"
    assert os.stat(f"{places.config_dir}/uxc").st_mode & 0o777 == 0o600
    with pytest.raises(NotFoundError, match="etc/config/network"), Transaction(places, "network"):
        pass


def test_a_file_made_for_nothing_is_removed(places: Paths) -> None:
    """When the block fails or writes nothing."""
    os.unlink(f"{places.config_dir}/uxc")
    with pytest.raises(NotFoundError), Transaction(places, "uxc") as edit:
        edit.delete("web")
    assert os.listdir(places.config_dir) == []
    with Transaction(places, "uxc"):
        pass
    assert os.listdir(places.config_dir) == []


def test_an_override_file_is_the_one_that_is_edited(places: Paths) -> None:
    """As libuci commits it."""
    os.makedirs(places.uci_conf2_dir)
    Path(places.uci_conf2_dir, "uxc").write_text("config container 'over'\n")
    with Transaction(places, "uxc") as edit:
        edit.set("over", "x", "1")
    assert _text(places) == TEXT
    assert "option x '1'" in Path(places.uci_conf2_dir, "uxc").read_text()


def test_a_broken_file_is_named_with_its_line(places: Paths) -> None:
    """And not touched."""
    Path(places.config_dir, "uxc").write_text("config container\nnonsense\n")
    with (
        pytest.raises(InvalidError, match=r"/etc/config/uxc:2: invalid command$"),
        Transaction(places, "uxc"),
    ):
        pass
    assert _text(places) == "config container\nnonsense\n"


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("add", ("container", "web"), ConflictError),
        ("add", ("container", "my-app"), InvalidError),
        ("add", ("con tainer", "x"), InvalidError),
        ("set", ("web", "bad-name", "x"), InvalidError),
        ("set", ("web", "x", "a\x01"), InvalidError),
        ("set", ("web", "x", ["a", "\x1b"]), InvalidError),
        ("set", ("none", "x", "y"), NotFoundError),
        ("delete", ("none",), NotFoundError),
        ("delete", ("none", "x"), NotFoundError),
        ("rename", ("web", "my-app"), InvalidError),
        ("rename", ("web", "web"), ConflictError),
        ("rename", ("none", "x"), NotFoundError),
    ],
)
def test_what_uci_cannot_hold_is_refused_before_it_is_lost(
    places: Paths, method: str, arguments: tuple[object, ...], error: type[Exception]
) -> None:
    """libuci would drop such a change in silence."""
    with pytest.raises(error), Transaction(places, "uxc") as edit:
        getattr(edit, method)(*arguments)
    assert _text(places) == TEXT


def test_a_full_disk_is_told_and_leaves_the_old_file(
    places: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No temporary file remains."""

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lockedfile.posix, "fsync", full)
    with (
        pytest.raises(SystemFailure, match="no space left on device"),
        Transaction(places, "uxc") as edit,
    ):
        edit.set("web", "x", "1")
    assert _text(places) == TEXT
    assert os.listdir(places.config_dir) == ["uxc"]


@pytest.fixture
def snapshot(places: Paths) -> Path:
    """Return the folder in which rpcd keeps what it may put back, with one file in it."""
    folder = Path(places.rpcd_dir, "snapshot-files")
    folder.mkdir(parents=True)
    (folder / "network").write_text("")
    return folder


def _age(folder: Path, seconds: float) -> None:
    made = folder.stat().st_mtime - seconds
    os.utime(folder, (made, made))


def test_an_open_rollback_of_luci_is_a_conflict(places: Paths, snapshot: Path) -> None:
    """The message names the files, the hint how long it can last."""
    _age(snapshot, 60)
    with pytest.raises(ConflictError, match="network") as caught, Transaction(places, "uxc"):
        pass
    assert "try again in 3" in caught.value.hint
    assert _text(places) == TEXT


def test_a_rollback_that_changed_nothing_is_none(places: Paths, snapshot: Path) -> None:
    """rpcd makes the folder for every apply."""
    (snapshot / "network").unlink()
    with Transaction(places, "uxc") as edit:
        edit.set("web", "x", "1")
    assert "option x '1'" in _text(places)


@pytest.mark.parametrize(
    ("config", "age", "open_still"),
    [
        ("", 94, True),
        ("", 96, False),
        ("config internal 'apply'\n\toption rollback '300'\n", 290, True),
        ("config internal 'apply'\n\toption rollback '300'\n", 306, False),
        ("config internal 'apply'\n\toption rollback '5'\n", 80, True),
        ("config internal 'apply'\n\toption rollback 'x'\n", 96, False),
        ("broken", 96, False),
    ],
)
def test_an_old_snapshot_is_a_leftover(
    places: Paths, snapshot: Path, config: str, age: int, open_still: bool
) -> None:
    """An apply without rollback never removes it; LuCI's own time limit tells them apart."""
    Path(places.config_dir, "luci").write_text(config)
    _age(snapshot, age)
    if open_still:
        with pytest.raises(ConflictError), Transaction(places, "uxc"):
            pass
    else:
        with Transaction(places, "uxc") as edit:
            assert edit.section("web") is not None
