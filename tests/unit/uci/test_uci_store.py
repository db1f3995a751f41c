"""Files on disk: locks, atomic replacement, modes, what a failure leaves, override files."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from uxc.uci import lockedfile
from uxc.uci.edits import set_value
from uxc.uci.exceptions import UciException, UciIOError, UciParseError
from uxc.uci.files import Uci
from uxc.uci.pointer import Pointer
from uxc.uci.store import Store


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Return a configuration folder with the package ``p``."""
    folder = tmp_path / "conf"
    folder.mkdir(mode=0o750)
    (folder / "p").write_text("config a 'b'\n\toption c 'd'\n")
    return folder


@pytest.fixture
def store(conf: Path, tmp_path: Path) -> Store:
    """Return a store on that folder, without override files."""
    return Store(str(conf), str(tmp_path / "save"))


def _set(store: Store, section: str, option: str, value: str) -> None:
    pointer = Pointer("p", section, option, value)
    store.lookup(pointer)
    set_value(pointer, True)


def test_folders_and_files_get_the_modes_of_libuci(conf: Path, store: Store) -> None:
    """The save folder follows the configuration folder, the delta the file it is for."""
    (conf / "p").chmod(0o640)
    _set(store, "b", "c", "e")
    store.save(store.packages[0])
    save = Path(store.savedir)
    assert save.stat().st_mode & 0o777 == 0o750
    assert (save / "p").stat().st_mode & 0o777 == 0o640


def test_a_commit_that_fails_loses_nothing(
    conf: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file, the delta, and no temporary file are there afterwards."""
    _set(store, "b", "c", "e")
    store.save(store.packages[0])
    before = (conf / "p").read_text()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lockedfile.posix, "fsync", full)
    with pytest.raises(UciIOError):
        store.commit(store.packages[0])

    assert (conf / "p").read_text() == before
    assert (Path(store.savedir) / "p").read_text() == "p.b.c='e'\n"
    assert sorted(path.name for path in conf.iterdir()) == ["p"]


def test_readers_see_the_old_text_or_the_new(conf: Path, store: Store) -> None:
    """A commit puts another inode in place: who has the old one open reads it to the end."""
    with (conf / "p").open() as reader:
        _set(store, "b", "c", "e")
        store.commit(store.packages[0])
        assert "'d'" in reader.read()
    assert "'e'" in (conf / "p").read_text()


def test_a_commit_waits_for_a_reader_and_a_reader_for_a_commit(conf: Path) -> None:
    """libuci's advisory locks: shared to read, exclusive to write."""
    with (conf / "p").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result: list[bytes] = []
        reader = threading.Thread(target=lambda: result.append(lockedfile.read_shared(other.name)))
        reader.start()
        reader.join(0.05)
        assert reader.is_alive()
        fcntl.flock(other, fcntl.LOCK_UN)
        reader.join(5)
    assert result == [(conf / "p").read_bytes()]


def test_the_lock_is_on_the_file_that_is_in_place(conf: Path) -> None:
    """Who waited while the file was replaced opens the new one, not the unlinked old one."""
    path = str(conf / "p")
    first = lockedfile.open_exclusive(path)
    result: list[int] = []
    waiter = threading.Thread(target=lambda: result.append(lockedfile.open_exclusive(path)))
    waiter.start()
    waiter.join(0.05)
    lockedfile.replace(path, b"config new\n")
    os.close(first)
    waiter.join(5)
    try:
        assert lockedfile.read_all(result[0]) == b"config new\n"
    finally:
        os.close(result[0])


def test_changes_saved_while_a_commit_runs_are_not_lost(
    conf: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delta file is locked from its reading to its emptying: the other one waits."""
    other = Store(store.confdir, store.savedir)
    _set(other, "b", "late", "1")
    _set(store, "b", "c", "e")
    store.save(store.packages[0])
    replace = lockedfile.replace
    saver = threading.Thread(target=lambda: other.save(other.packages[0]))

    def replace_slowly(path: str, data: bytes) -> None:
        saver.start()
        saver.join(0.05)
        assert saver.is_alive()
        replace(path, data)

    monkeypatch.setattr(lockedfile, "replace", replace_slowly)
    store.commit(store.packages[0])
    saver.join(5)

    assert "late" not in (conf / "p").read_text()
    assert (Path(store.savedir) / "p").read_text() == "p.b.late='1'\n"


def test_an_override_file_is_read_and_written_instead(conf: Path, tmp_path: Path) -> None:
    """A file in conf2dir wins; the one in confdir stays as it is."""
    over = tmp_path / "over"
    over.mkdir()
    (over / "p").write_text("config a 'b'\n\toption c 'over'\n")
    uci = Uci(savedir=str(tmp_path / "save"), confdir=str(conf), conf2dir=str(over))
    assert uci.get("p", "b", "c") == "over"
    for value in ("1", "2"):
        uci.set("p", "b", "c", value)
        uci.commit("p")
    assert "'2'" in (over / "p").read_text()
    assert "'d'" in (conf / "p").read_text()


def test_a_commit_onto_a_broken_file_raises_and_keeps_it(conf: Path, store: Store) -> None:
    """Somebody else's syntax error is not overwritten, and the change stays pending."""
    _set(store, "b", "c", "e")
    (conf / "p").write_text("nonsense here\n")
    with pytest.raises(UciParseError):
        store.commit(store.packages[0])
    assert (conf / "p").read_text() == "nonsense here\n"
    assert (Path(store.savedir) / "p").read_text() == "p.b.c='e'\n"


def test_a_save_folder_that_is_a_file_is_an_error(store: Store) -> None:
    """Nothing is written beside it."""
    Path(store.savedir).write_text("")
    _set(store, "b", "c", "e")
    with pytest.raises(UciException):
        store.save(store.packages[0])


def test_a_default_save_folder_stays_in_the_delta_path(conf: Path, tmp_path: Path) -> None:
    """As in libuci: changing the save folder does not hide what is pending in the old one."""
    default, other = tmp_path / "default", tmp_path / "other"
    default.mkdir()
    (default / "p").write_text("p.b.c='pending'\n")
    store = Store(str(conf), str(default))
    store.set_savedir(str(other))
    assert store.delta_path == [str(default), str(other)]
    assert store.load("p").sections[0].options["c"].value == "pending"


def test_a_prefix_moves_the_default_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UXC_PREFIX: nothing of the host is read or written."""
    monkeypatch.setenv("UXC_PREFIX", str(tmp_path))
    (tmp_path / "etc/config").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "etc/config/p").write_text("config a 'b'\n")
    uci = Uci()
    uci.set("p", "b", "c", "1")
    uci.save("p")
    assert (tmp_path / "tmp/.uci/p").read_text() == "p.b.c='1'\n"
    uci.commit("p")
    assert "option c '1'" in (tmp_path / "etc/config/p").read_text()
