"""The life of a container under Podman: run, stop, kill, pause, restart, remove, and its end."""

import json
import time
from pathlib import Path

import pytest

import needs
from engines import IMAGE, Podman, running, until

pytestmark = pytest.mark.needs("podman")

# A program that says that it is there, and ends by SIGTERM with a code of its own.
POLITE = ("sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done")


def _groups(container: str) -> list[Path]:
    # Where the cgroup v2 tree is hidden, crun makes a directory and a file that are no cgroup.
    found = Path("/sys/fs/cgroup").glob(f"*/libpod_parent/libpod-{container}/*")
    return [path for path in found if path.name in ("notify_on_release", "cgroup.events")]


def _logged(podman: Podman, text: str) -> None:
    until(lambda: text in podman("logs", "c"), f"{text!r} in the log")


@pytest.mark.vm
def test_a_container_runs_and_leaves_nothing(podman: Podman, tmp_path: Path) -> None:
    """`run --rm` gives the program's output and exit code; afterwards nothing is there."""
    container = tmp_path / "id"
    assert podman.run(f"--cidfile={container}", "--", "sh", "-c", "echo out; exit 7", code=7) == (
        "out"
    )

    assert podman("ps", "--all", "--quiet") == ""
    until(lambda: not _groups(container.read_text()), "the cgroups are gone")


def test_streams_are_the_programs_own(podman: Podman) -> None:
    """Input reaches the program to its end; standard output and error stay apart."""
    done = podman.call(
        "run", "--rm", "-i", IMAGE, "sh", "-c", "wc -c; echo no >&2", input="x" * 70000
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "70000\n", "no\n")


@pytest.mark.parametrize(
    ("program", "code"),
    [("/no/such/program", 127), ("no-such-program", 127), ("/etc/passwd", 126), ("/etc", 126)],
)
def test_what_cannot_be_run_has_the_shells_exit_code(
    podman: Podman, program: str, code: int
) -> None:
    """127 for what is not there, 126 for what is no program: Podman reads the runtime's words."""
    podman.run("--", program, code=code)

    assert podman("ps", "--all", "--quiet") == ""


def test_other_errors_are_podmans(podman: Podman) -> None:
    """A container that cannot be made ends with 125, the runtime's reason among the words."""
    done = podman.call("run", "--rm", "--sysctl=net.no.such=1", IMAGE, "true")

    assert done.returncode in (125, 126, 127)
    assert "no" in done.stderr


def test_signals_end_with_128_and_more(podman: Podman) -> None:
    """A program ended by a signal has the exit code 128 and its number."""
    podman.run("--", "sh", "-c", "kill -9 $$ ; sh -c 'kill -9 $$'; exit $?", code=137)


@pytest.mark.vm
def test_a_container_in_the_background(podman: Podman, tmp_path: Path) -> None:
    """It is listed, has a log with both streams, and `wait` gives its exit code."""
    script = "echo one; echo two >&2; until [ -e /data/go ]; do sleep 0.02; done; exit 3"
    podman.start(f"--volume={tmp_path}:/data", "--", "sh", "-c", script)

    assert podman("ps", "--filter=status=running", "--format={{.Names}}") == "c"
    (tmp_path / "go").touch()
    assert podman("wait", "c") == "3"
    done = podman.call("logs", "c")
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    assert podman.inspect()["State"]["ExitCode"] == 3
    assert podman.status() == "exited"


def test_logs_are_followed(podman: Podman) -> None:
    """`logs --follow` ends with the container and misses no line."""
    podman.start("--", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")

    assert podman("logs", "--follow", "c").split() == ["1", "2", "3", "4", "5"]


def test_stop_asks_first(podman: Podman) -> None:
    """`stop` sends SIGTERM and waits; the program's own exit code is kept."""
    podman.start("--", *POLITE)
    _logged(podman, "ready")
    podman("stop", "c")

    assert podman.inspect()["State"]["ExitCode"] == 5
    _logged(podman, "bye")


def test_stop_kills_in_the_end(podman: Podman) -> None:
    """A program that takes no notice is killed when the time is up."""
    podman.start("--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    podman("stop", "--time", "1", "c")

    assert podman.inspect()["State"]["ExitCode"] == 137


def test_signals_reach_the_first_process(podman: Podman) -> None:
    """`kill` sends what it is told, by name and number; the default ends the container."""
    podman.start(
        "--",
        "sh",
        "-c",
        "trap 'echo hup' HUP; trap 'echo usr' USR1; echo ready; while :; do sleep 0.05; done",
    )
    _logged(podman, "ready")
    podman("kill", "--signal", "HUP", "c")
    _logged(podman, "hup")
    podman("kill", "--signal", "10", "c")
    _logged(podman, "usr")
    podman("kill", "c")

    assert podman("wait", "c") == "137"


def test_a_container_of_the_hosts_processes_is_killed_whole(podman: Podman) -> None:
    """Without a pid namespace no kernel ends the children; stop and remove do, by the cgroup."""
    podman.start("--pid=host", "--", "sh", "-c", "sleep 4321 & sleep 4322 & wait")
    until(lambda: running("sleep", "4321") and running("sleep", "4322"), "two children run")
    podman("rm", "--force", "--time", "0", "c")

    until(lambda: not running("sleep", "4321") + running("sleep", "4322"), "they have ended")


@pytest.mark.vm
def test_pause_stops_every_process(podman: Podman) -> None:
    """A paused container does nothing, says so, takes no exec, and goes on when unpaused."""
    podman.start("--", "sh", "-c", "while :; do echo x; sleep 0.02; done")
    _logged(podman, "x")
    podman("pause", "c")
    assert podman.status() == "paused"
    size = len(podman("logs", "c"))
    time.sleep(0.2)
    assert len(podman("logs", "c")) == size
    assert podman.call("exec", "c", "true").returncode != 0
    podman("unpause", "c")

    assert podman.status() == "running"
    until(lambda: len(podman("logs", "c")) > size, "the program goes on")


def test_a_paused_container_can_be_removed(podman: Podman) -> None:
    """`rm --force` ends what is paused."""
    podman.start()
    podman("pause", "c")
    podman("rm", "--force", "--time", "0", "c")

    assert podman("ps", "--all", "--quiet") == ""


def test_a_running_container_is_not_removed(podman: Podman) -> None:
    """`rm` wants it stopped, or force."""
    podman.start()
    assert "running" in podman.call("rm", "c").stderr
    podman("rm", "--force", "--time", "0", "c")

    assert podman.call("container", "exists", "c").returncode == 1


def test_a_container_starts_again(podman: Podman) -> None:
    """Stopped and started, and restarted, it runs anew, with what it wrote before."""
    podman.start("--", "sh", "-c", "echo x >>/tmp/starts; sleep 1000")
    until(lambda: podman("exec", "c", "cat", "/tmp/starts") == "x", "the first start")
    before = podman.pid()
    podman("stop", "--time", "0", "c")
    podman("start", "c")
    assert podman.pid() != before
    podman("restart", "--time", "0", "c")

    until(lambda: podman("exec", "c", "cat", "/tmp/starts").split() == ["x"] * 3, "three starts")


def test_a_failing_container_is_restarted(podman: Podman) -> None:
    """`--restart on-failure:2` starts it twice more."""
    podman.start("--restart=on-failure:2", "--", "sh", "-c", "echo started; exit 1")

    until(lambda: podman("logs", "c").count("started") == 3, "three starts")
    until(lambda: podman.status() == "exited", "the end")
    assert podman.inspect()["RestartCount"] == 2


def test_created_is_not_started(podman: Podman) -> None:
    """`init` makes all of it but runs nothing; then `start` does, or `rm` takes it away."""
    for name in ("c", "d"):
        podman("create", "--name", name, IMAGE, "sh", "-c", "echo ran; sleep 1000")
        podman("init", name)
        assert podman.status(name) == "initialized"
        assert Path(f"/proc/{podman.pid(name)}/root/bin/busybox").exists()
    podman("start", "c")
    _logged(podman, "ran")
    podman("rm", "--force", "--time", "0", "d")

    assert podman("ps", "--all", "--format", "{{.Names}}") == "c"


def test_attach_is_at_the_programs_streams(podman: Podman) -> None:
    """What an attached client types reaches the program; its output comes back."""
    podman.start("-i", "--", "sh", "-c", "read line; echo got $line; exit 4")

    assert podman("attach", "c", input="this\n") == "got this"
    assert podman("wait", "c") == "4"


def test_many_containers_at_once(podman: Podman) -> None:
    """Started together they run together; all are listed, and removed by one command."""
    for number in range(5):
        podman.start(name=f"c{number}")

    assert len(podman("ps", "--quiet").split()) == 5
    podman("kill", "--all")
    until(lambda: podman("ps", "--quiet") == "", "all have ended")
    podman("rm", "--all")
    assert podman("ps", "--all", "--quiet") == ""


def test_a_time_limit(podman: Podman) -> None:
    """`--timeout` kills the container when its seconds are over."""
    start = time.monotonic()
    podman.run("--timeout=1", "--", "sleep", "1000", code=255)

    assert time.monotonic() - start < 10


def test_a_checkpoint_is_refused(podman: Podman) -> None:
    """Where criu is missing or fails, a checkpoint fails with words; the container goes on."""
    if not needs.missing("criu"):
        pytest.skip("criu works here")
    podman.start()
    done = podman.call("container", "checkpoint", "c")

    assert done.returncode == 125
    assert "criu" in done.stderr.lower() or "checkpoint" in done.stderr
    assert podman.status() == "running"


def test_health_is_what_the_check_says(podman: Podman) -> None:
    """`healthcheck run` runs the check inside and tells its verdict."""
    podman.start("--health-cmd=test -e /tmp/well", "--health-interval=disable")
    podman("healthcheck", "run", "c", code=1)
    podman("exec", "c", "touch", "/tmp/well")
    podman("healthcheck", "run", "c")

    assert podman.inspect()["State"]["Health"]["Status"] == "healthy"


def test_the_runtime_is_named(podman: Podman) -> None:
    """`info` and `inspect` show the runtime's program and its version."""
    shown = json.loads(podman("info", "--format", "json"))["host"]["ociRuntime"]

    assert shown["path"] == podman.runtime
    assert "version" in shown["version"]
    podman.start()
    assert podman.inspect()["OCIRuntime"] == podman.runtime


def test_events_are_told(podman: Podman) -> None:
    """The log of events shows a life."""
    podman.start(name="eventful")
    podman("kill", "eventful")
    podman("wait", "eventful")
    shown = podman(
        "events", "--stream=false", "--filter=container=eventful", "--format={{.Status}}"
    ).split()

    assert shown[:5] == ["create", "init", "start", "kill", "died"]
