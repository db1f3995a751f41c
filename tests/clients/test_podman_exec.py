"""Podman inside a running container: exec, terminals, files, processes, figures, new limits."""

import json
import time
from pathlib import Path

import pytest

from engines import IMAGE, Podman, read_limit, running, until

pytestmark = pytest.mark.needs("podman")


@pytest.mark.vm
def test_exec_runs_beside_the_first_process(podman: Podman) -> None:
    """It has the container's processes and files, and the program's exit code."""
    podman.start("--hostname=inside", "--", "sleep", "1000")

    assert podman("exec", "c", "hostname") == "inside"
    assert "sleep 1000" in podman("exec", "c", "ps", "-o", "args")
    podman("exec", "c", "sh", "-c", "exit 9", code=9)
    podman("exec", "c", "sh", "-c", "kill -9 $$", code=137)
    assert podman("exec", "-i", "c", "cat", input="typed\n") == "typed"


@pytest.mark.parametrize(("program", "code"), [("nothing", 127), ("/etc/passwd", 126)])
def test_exec_of_what_cannot_be_run(podman: Podman, program: str, code: int) -> None:
    """The exit codes are the shell's, and the container is not touched."""
    podman.start()
    podman("exec", "c", program, code=code)

    assert podman.status() == "running"


def test_exec_takes_its_own_process(podman: Podman) -> None:
    """User, working directory, environment and privileges are those of the command."""
    podman.start("--env=A=1", "--", "sleep", "1000")
    shown = podman(
        "exec",
        "--user=1000:1000",
        "--workdir=/tmp",
        "--env=B=2",
        "c",
        "sh",
        "-c",
        "id -u; pwd; echo $A $B; grep CapEff /proc/self/status",
    )
    assert shown.split("\n")[:3] == ["1000", "/tmp", "1 2"]
    assert shown.endswith("0000000000000000")
    few = podman("exec", "c", "grep", "CapEff", "/proc/self/status")

    assert podman("exec", "--privileged", "c", "grep", "CapEff", "/proc/self/status") != few


def test_exec_is_confined_as_the_container_is(podman: Podman) -> None:
    """The command runs in the container's cgroup and namespaces, under its seccomp filter."""
    podman.start("--security-opt=no-new-privileges", "--", "sleep", "1000")
    script = "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/cgroup"
    script += "; for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done"
    first = podman("exec", "c", "sh", "-c", script.replace("/self/", "/1/"))

    assert podman("exec", "c", "sh", "-c", script) == first
    assert "Seccomp:\t2" in first
    assert "NoNewPrivs:\t1" in first


def test_exec_in_the_background(podman: Podman) -> None:
    """`exec --detach` returns at once; the command goes on."""
    podman.start()
    podman("exec", "--detach", "c", "sh", "-c", "sleep 0.2; touch /tmp/done; sleep 1000")

    until(lambda: podman.call("exec", "c", "test", "-e", "/tmp/done").returncode == 0, "it ran")


def test_exec_ends_with_the_container(podman: Podman) -> None:
    """A command that still runs when the container is removed is gone with it."""
    podman.start()
    podman("exec", "--detach", "c", "sleep", "5432")
    until(lambda: running("sleep", "5432"), "the command")
    podman("rm", "--force", "--time", "0", "c")

    until(lambda: not running("sleep", "5432"), "its end")


def test_many_commands_at_once(podman: Podman) -> None:
    """Ten commands at a time each have their own output and exit code."""
    podman.start()
    sitting = [podman.sit("exec", "c", "sh", "-c", f"sleep 0.2; exit {n}") for n in range(10)]

    codes = [one.wait() for one in sitting]
    for one in sitting:
        one.close()
    assert codes == list(range(10))


def test_a_run_at_a_terminal(podman: Podman) -> None:
    """`run -it` gives the program a terminal of the caller's size that follows its changes."""
    with podman.sit("run", "--rm", "-it", IMAGE, "sh") as terminal:
        terminal.type("tty; stty size\n")
        terminal.read_until("/dev/pts/0")
        terminal.read_until("24 80")
        terminal.resize(50, 132)
        terminal.type("sleep 0.5; stty size\n")
        terminal.read_until("50 132")
        terminal.type("sleep 6543\n")
        until(lambda: running("sleep", "6543"), "the program in the foreground")
        terminal.type("\x03")
        terminal.read_until("^C")
        terminal.type("echo still-$?; exit 6\n")
        terminal.read_until("still-130")
        assert terminal.wait() == 6


@pytest.mark.vm
def test_an_exec_at_a_terminal(podman: Podman) -> None:
    """`exec -it` gives the command a second terminal and job control."""
    podman.start("-t", "--", "sh", "-c", "sleep 1000")
    with podman.sit("exec", "-it", "c", "sh") as terminal:
        terminal.type("tty; stty size\n")
        terminal.read_until("/dev/pts/1")
        terminal.read_until("24 80")
        terminal.type("sleep 0.1 & fg; echo wait''ed; exit 8\n")
        terminal.read_until("waited\r\n")
        assert terminal.wait() == 8


def test_a_terminal_is_attached_and_left(podman: Podman) -> None:
    """The detach keys leave the container running, and it can be attached to again."""
    podman.start("-it", "--", "sh")
    for word in ("first", "second"):
        with podman.sit("attach", "c") as terminal:
            terminal.type(f"echo {word}-$((1 + 1))\n")
            terminal.read_until(f"{word}-2")
            # Podman looks for its keys, Ctrl-P and Ctrl-Q, in reads of one byte.
            for key in "\x10\x11":
                time.sleep(0.1)
                terminal.type(key)
            assert terminal.wait() == 0
    assert podman.status() == "running"


def test_files_are_copied_in_and_out(podman: Podman, tmp_path: Path) -> None:
    """`cp` works on a running container in both directions."""
    podman.start("--tmpfs=/run", "--", "sleep", "1000")
    (tmp_path / "in").write_text("text\n")
    podman("cp", str(tmp_path / "in"), "c:/tmp/there")
    podman("exec", "c", "sh", "-c", "tr a-z A-Z </tmp/there >/tmp/upper")
    podman("cp", "c:/tmp/upper", str(tmp_path / "out"))

    assert (tmp_path / "out").read_text() == "TEXT\n"


def test_a_running_container_becomes_an_image(podman: Podman) -> None:
    """`commit` pauses it meanwhile; afterwards it runs, and the image has its files."""
    podman.start()
    podman("exec", "c", "touch", "/tmp/mark")
    podman("commit", "--quiet", "--pause", "c", "localhost/marked")
    try:
        assert podman.status() == "running"
        assert podman("run", "--rm", "localhost/marked", "ls", "/tmp") == "mark"
    finally:
        podman("rmi", "--force", "localhost/marked")


def test_top_shows_the_processes(podman: Podman) -> None:
    """`top` shows them as the container and as the host see them."""
    podman.start("--", "sh", "-c", "sleep 1000 & wait")
    shown = until(
        lambda: (
            "sleep" in podman("top", "c", "pid", "hpid", "args")
            and podman("top", "c", "pid", "hpid", "args")
        ),
        "the child",
    )

    pids = [int(line.split()[0]) for line in shown.split("\n")[1:]]
    assert pids[0] == 1
    assert len(pids) == 2
    assert str(podman.pid()) in shown.split()


@pytest.mark.vm
def test_stats_show_use_and_limits(podman: Podman) -> None:
    """`stats` finds memory, its limit, and the number of processes, also where none is limited."""
    podman.start(name="d")
    shown = json.loads(podman("stats", "--no-stream", "--format", "json", "d"))[0]
    assert shown["mem_usage"].partition(" / ")[0] != "0B"
    assert shown["cpu_time"] != "0s"
    podman.start("--memory=64m", "--", "sh", "-c", "sleep 3456 & wait")
    until(lambda: running("sleep", "3456"), "the second process")
    shown = json.loads(podman("stats", "--no-stream", "--format", "json", "c"))[0]

    assert shown["name"] == "c"
    used, _, limit = shown["mem_usage"].partition(" / ")
    assert limit == "67.11MB"
    assert used != "0B"
    assert shown["pids"] == "2"


@pytest.mark.vm
@pytest.mark.needs("limits")
def test_limits_can_be_changed(podman: Podman) -> None:
    """`update` changes the limits of a running container, and only those named."""
    podman.start("--memory=64m", "--cpus=0.5", "--pids-limit=50", "--", "sleep", "1000")
    pid = podman.pid()
    assert read_limit(pid, "memory") == 67108864
    assert read_limit(pid, "quota") == 50000
    podman("update", "--memory=128m", "c")
    assert read_limit(pid, "memory") == 134217728
    podman("update", "--cpus=0.25", "--cpu-shares=512", "c")

    assert read_limit(pid, "quota") == 25000
    # v2 has weights; runtimes differ in how they make one of shares.
    assert read_limit(pid, "shares") in (512, 20, 59)
    assert read_limit(pid, "memory") == 134217728
    assert read_limit(pid, "pids") == 50
