"""Files that are replaced as a whole, in places where others may write, too."""

import os
from pathlib import Path

import pytest

from uxc import files


def temporary(path: Path) -> Path:
    """Return the name under which a file comes into being, which everybody can guess."""
    return Path(f"{path}.{os.getpid()}.new")


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_no_link_is_written_through(tmp_path: Path, kind: str) -> None:
    """A pid file in /tmp replaces nothing that somebody has linked to its first name."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    link = temporary(tmp_path / "pid")
    if kind == "hard":
        link.hardlink_to(victim)
    else:
        link.symlink_to(victim)

    files.write_atomic(str(tmp_path / "pid"), b"1", 0o644)

    assert victim.read_text() == "kept"
    assert (tmp_path / "pid").read_text() == "1"
    assert not link.exists()


def test_what_a_dead_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """Pids come again, and with them the name."""
    temporary(tmp_path / "pid").write_text("half")

    files.write_atomic(str(tmp_path / "pid"), b"1")

    assert os.listdir(tmp_path) == ["pid"]
    assert (tmp_path / "pid").stat().st_mode & 0o777 == 0o600
