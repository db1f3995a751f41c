"""Who lets a created container run: the launcher alone, or the program; one of many, and once."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes import OURS, Config, Runtime, until

Bundle = Callable[..., Path]

pytestmark = pytest.mark.ours
# An option that the launcher leaves to the program.
BY_PROGRAM = ("--debug",)


def parked(config: Config) -> None:
    """Have the container wait at its FIFO, also where it could be frozen."""
    config["annotations"] = {"org.openwrt.uxc.frozen-at-exec": "false"}


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """Return the launcher without an interpreter that it could start."""
    copy = tmp_path / "uxc-runtime"
    text = Path(OURS).read_text().replace("/usr/bin/python3", "/there/is/none")
    copy.write_text(text.replace("interp/python3", "interp/none"))
    copy.chmod(0o755)
    return copy


def _start(launcher: Path, runtime: Runtime, *options: str) -> "subprocess.Popen[str]":
    command = [str(launcher), "--root", str(runtime.root), *options, "start", "c"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("options", [(), ("--log", "/dev/null", "--log-format", "json")])
def test_start_takes_no_interpreter(
    runtime: Runtime, bundle: Bundle, launcher: Path, options: tuple[str, ...]
) -> None:
    """The launcher lets the program run, and returns when it does."""
    pid = runtime.created(bundle("sleep", "1000", edit=parked))

    done = _start(launcher, runtime, *options)

    assert done.communicate(timeout=10)[1] == ""
    assert done.returncode == 0
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0001000\0"
    assert runtime.state()["status"] == "running"


@pytest.mark.parametrize("name", [".", "..", "../c", "c/../c", "c=c", "missing", ""])
def test_other_names_are_the_program_s(
    runtime: Runtime, bundle: Bundle, launcher: Path, name: str
) -> None:
    """What is not the plain id of a created container is never taken by the launcher."""
    runtime.created(bundle("sleep", "1000", edit=parked))
    for place in (runtime.root, runtime.root.parent):
        os.mkfifo(place / "exec.fifo")

    command = [str(launcher), "--root", str(runtime.root), "start", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)

    assert done.returncode == 127
    assert runtime.state()["status"] == "created"


def test_words_of_other_commands_start_nothing(
    runtime: Runtime, bundle: Bundle, launcher: Path
) -> None:
    """A bundle called start, or a program, is no command to start."""
    runtime.created(bundle("sleep", "1000", edit=parked))
    for words in (("run", "--bundle", "start", "c"), ("exec", "c", "start", "c"), ("--", "start")):
        command = [str(launcher), "--root", str(runtime.root), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)

        assert done.returncode == 127, words
    assert runtime.state()["status"] == "created"


def test_one_of_many_starts_it(runtime: Runtime, bundle: Bundle) -> None:
    """Of starts at the same time one succeeds; the others find it running."""
    where = bundle("sleep", "1000", edit=parked)
    for number in range(10):
        runtime.created(where)
        starts = [_start(Path(OURS), runtime, *options) for options in [(), BY_PROGRAM] * 3]
        answers = [start.communicate(timeout=30)[1] for start in starts]

        assert [start.returncode for start in starts].count(0) == 1, (number, answers)
        assert sum("already running" in answer for answer in answers) == len(starts) - 1, answers
        runtime.ok("delete", "--force", "c")


def test_a_second_start_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    """A container that runs, or has ended, is not started again, and nothing waits for that."""
    runtime.created(bundle("true", edit=parked))
    runtime.ok("start", "c")
    until(lambda: runtime.state()["status"] == "stopped", "the end")

    for options in ((), BY_PROGRAM):
        done = _start(Path(OURS), runtime, *options)
        answer = done.communicate(timeout=10)[1]
        assert done.returncode == 1
        assert "cannot start a container that has stopped" in answer


def test_a_container_killed_while_it_waits_is_not_started(runtime: Runtime, bundle: Bundle) -> None:
    """Nobody waits at the FIFO any more: start says so at once."""
    pid = runtime.created(bundle("sleep", "1000", edit=parked))
    os.kill(pid, 9)
    os.waitpid(pid, 0)

    for options in ((), BY_PROGRAM):
        done = _start(Path(OURS), runtime, *options)
        answer = done.communicate(timeout=10)[1]
        assert done.returncode == 1
        assert "cannot start a container that has stopped" in answer


def test_hooks_of_start_are_run_by_the_program(
    runtime: Runtime, bundle: Bundle, launcher: Path
) -> None:
    """With hooks to be run at start the launcher starts nothing by itself."""

    def edit(config: Config) -> None:
        parked(config)
        config["hooks"] = {"poststart": [{"path": "/bin/true"}]}

    runtime.created(bundle("sleep", "1000", edit=edit))

    done = _start(launcher, runtime)
    done.communicate(timeout=10)

    assert done.returncode == 127
    assert runtime.state()["status"] == "created"
    runtime.ok("start", "c")
    assert runtime.state()["status"] == "running"
