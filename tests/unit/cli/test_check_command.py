"""uxc check: problems on stderr with file and line, the exit code, nothing else."""

import json
from pathlib import Path

import pytest

from uxc.cli.commands import check
from uxc.cli.session import Session
from uxc.errors import NotFoundError
from uxc.paths import Paths

CONFIG = {
    "ociVersion": "1.0.2",
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
    "root": {"path": "rootfs"},
}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return a prefix with the right bundles web and db beside its configuration."""
    (tmp_path / "etc/config").mkdir(parents=True)
    for name in ("web", "db"):
        (tmp_path / name / "rootfs").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps(CONFIG))
    configure(tmp_path)
    return tmp_path


def configure(prefix: Path, web: str = "", db: str = "", network: str = "") -> None:
    """Write both files: two containers with these further lines."""
    (prefix / "etc/config/uxc").write_text(
        f"config container 'web'\n\toption bundle '{prefix}/web'\n{web}"
        f"config container 'db'\n\toption bundle '{prefix}/db'\n{db}"
    )
    (prefix / "etc/config/network").write_text(network)


def run(prefix: Path, capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    """Run ``uxc check`` with ``words``; return its exit code and the lines of stderr."""
    code = check.run(check.SYNTAX.parse([*words]), Session(Paths(str(prefix)), ""))
    out, err = capfd.readouterr()
    assert out == ""
    return code, err.replace(str(prefix), "").splitlines()


def test_right_configuration_is_silent(prefix: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing wrong, nothing said, exit code 0."""
    assert run(prefix, capfd) == (0, [])


def test_all_problems_are_shown(prefix: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Options and bundles are judged in one go; each problem is a line, its hint follows."""
    configure(prefix, web="\toption memory '64X'\n")
    wrong = CONFIG | {"process": CONFIG["process"] | {"args": ["sh", 1]}}  # type: ignore[operator]
    (prefix / "db/config.json").write_text(json.dumps(wrong))
    (prefix / "web/config.json").unlink()
    code, lines = run(prefix, capfd)
    assert code == 1
    assert lines[:4] == [
        "/etc/config/uxc:3: container 'web': option 'memory': '64X' is not a size",
        "  (write a number with K, M or G, such as '64M')",
        "/etc/config/uxc:2: container 'web': option 'bundle': "
        "/web/config.json: no such file or directory",
        "  (a bundle is a directory with config.json and a root filesystem)",
    ]
    assert lines[4].startswith(
        "/etc/config/uxc:5: container 'db': option 'bundle': /db/config.json: process.args[1]: "
    )
    assert len(lines) == 5


def test_warnings_alone_are_no_failure(prefix: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A warning is shown, and the exit code stays 0."""
    configure(prefix, web="\toption memroy '64M'\n")
    code, lines = run(prefix, capfd)
    assert code == 0
    assert lines == [
        "/etc/config/uxc:3: warning: container 'web': option 'memroy': "
        "is not known for container and has no effect",
        "  (did you mean 'memory'?)",
    ]


def test_named_containers_are_judged_alone(prefix: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With names, only what concerns them counts, their wiring and bundles included."""
    configure(
        prefix,
        db="\toption pids 'x'\n",
        network="config interface 'a'\n\toption device 'eth9'\n\toption jail 'web'\n"
        "\toption proto 'dhcp'\n",
    )
    code, lines = run(prefix, capfd, "web")
    assert code == 1
    assert lines[0].startswith("/etc/config/network:4: interface 'a': option 'proto': 'dhcp'")
    assert len(lines) == 2
    code, lines = run(prefix, capfd, "web", "db")
    assert [line.split(": ")[1] for line in lines if line[0] == "/"] == [
        "interface 'a'",
        "container 'db'",
    ]
    configure(prefix, db="\toption pids 'x'\n")
    assert run(prefix, capfd, "web") == (0, [])


def test_unknown_name_is_refused(prefix: Path) -> None:
    """A name that no section declares is an error of its own."""
    with pytest.raises(NotFoundError, match="nope: no such container"):
        check.run(check.SYNTAX.parse(["nope"]), Session(Paths(str(prefix)), ""))


def test_disabled_container_is_not_judged(prefix: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What enabled '0' makes ignored has no problems, not even a missing bundle."""
    configure(prefix, web="\toption enabled '0'\n\toption memory 'x'\n")
    (prefix / "web/config.json").unlink()
    assert run(prefix, capfd) == (0, [])
    assert run(prefix, capfd, "web") == (0, [])


def test_damaged_file_is_shown_for_every_name(
    prefix: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A syntax error is shown whatever was asked for."""
    (prefix / "etc/config/uxc").write_text("config container 'my-app'\n")
    code, lines = run(prefix, capfd, "web")
    assert code == 1
    assert lines[0].startswith("/etc/config/uxc:1: not UCI: invalid character in name field")


def test_pending_changes_are_judged_on_request(
    prefix: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """--pending judges what nobody has committed yet."""
    (prefix / "tmp/.uci").mkdir(parents=True)
    (prefix / "tmp/.uci/uxc").write_text("uxc.web.memory='64X'\n")
    assert run(prefix, capfd) == (0, [])
    code, lines = run(prefix, capfd, "--pending")
    assert code == 1
    assert lines[0] == ("/tmp/.uci/uxc:1: container 'web': option 'memory': '64X' is not a size")
