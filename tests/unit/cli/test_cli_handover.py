"""Which command lines are meant for an OCI runtime."""

from pathlib import Path

import pytest

from uxc.cli import handover
from uxc.paths import Paths

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "line",
    [
        "--root /x state web",
        "--root=/x list",
        "--log /x --log-format json create web",
        "--systemd-cgroup start web",
        "--debug --rootless=auto state web",
        "create --bundle /b --pid-file /p --console-socket /s web",
        "create --bundle /b --no-pivot web",
        "create --bundle=/b --preserve-fds=3 web",
        "run web",
        "ps web",
        "features",
        "spec",
        "checkpoint web",
        "exec --process /p web",
        "kill --all web 9",
        "list --format json",
        "update --resources - web",
        "state podman",
        "delete --force podman",
        "kill podman 9",
        f"create --bundle /b --pid-file /p {ID}",
        f"start {ID}",
        f"delete --force {ID}",
    ],
)
def test_a_runtimes_command_line_is_handed_over(line: str, tmp_path: Path) -> None:
    """By a flag or a command that only a runtime has, or because the runtime made it."""
    (tmp_path / "var/run/uxc/runtime/podman").mkdir(parents=True)

    assert handover.wanted(line.split(), Paths(str(tmp_path)))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--debug",
        "list",
        "list --json",
        "create web /b true",
        "create web --bundle /b --autostart --pid-file /p",
        "start web",
        "state both",
        "state ../runtime/podman",
        "state .",
        "delete --force web",
        "kill web 9",
        "help run",
        f"start {ID[:-1]}",
        f"start {ID[:-1]}g",
        f"wait {ID}",
        "version",
    ],
)
def test_what_is_ours_stays_here(line: str, tmp_path: Path) -> None:
    """A name that both know is the manager's."""
    (tmp_path / "var/run/uxc/runtime/podman").mkdir(parents=True)
    (tmp_path / "var/run/uxc/runtime/both").mkdir(parents=True)
    (tmp_path / "var/run/uxc/bundles/both").mkdir(parents=True)

    assert not handover.wanted(line.split(), Paths(str(tmp_path)))
