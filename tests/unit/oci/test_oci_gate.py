"""Whether a created container still waits frozen, by the files of a cgroup that is not one."""

from pathlib import Path

import pytest

from uxc.oci import gate


@pytest.mark.parametrize(
    ("wanted", "populated", "stopped", "waits"),
    [
        ("1", "1", "1", True),
        # Let go by its tracer a moment ago, and not yet back in its stop.
        ("1", "1", "0", True),
        ("0", "1", "1", False),
        ("0", "1", "0", False),
        ("1", "0", "1", False),
    ],
)
def test_who_was_not_thawed_waits(
    wanted: str, populated: str, stopped: str, waits: bool, tmp_path: Path
) -> None:
    """A program waits until it is thawed or has died, whatever stop it is in at this moment."""
    group = tmp_path / "group"
    group.mkdir()
    (group / "cgroup.freeze").write_text(f"{wanted}\n")
    (group / "cgroup.events").write_text(f"populated {populated}\nfrozen {stopped}\n")
    (tmp_path / gate.FROZEN).write_text(str(group))

    assert gate.frozen_cgroup(str(tmp_path)) == (str(group) if waits else "")


def test_a_cgroup_that_is_gone_holds_nobody(tmp_path: Path) -> None:
    """Who died and was cleaned up does not wait."""
    (tmp_path / gate.FROZEN).write_text(str(tmp_path / "gone"))

    assert gate.frozen_cgroup(str(tmp_path)) == ""
