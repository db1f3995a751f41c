"""A created container on cgroup v2 is its program, frozen before the first instruction."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgroupfiles import directories
from runtimes import RUNTIME, Runtime

pytestmark = [pytest.mark.vm, pytest.mark.ours, pytest.mark.needs("cgroup2-freezer")]

Bundle = Callable[..., Path]
MOST_PRIVATE_KB = 100


def events(pid: int) -> dict[str, str]:
    """Return the state of the process's cgroup."""
    words = (directories(pid)["2"] / "cgroup.events").read_text().split()
    return dict(zip(words[::2], words[1::2], strict=True))


def private_kb(pid: int) -> int:
    """Return what would be free again if the process ended."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


def test_it_waits_without_an_interpreter(runtime: Runtime, bundle: Bundle) -> None:
    """The only process is the program's, with hardly any memory of its own; nothing ran."""
    pid = runtime.created(bundle("sh", "-c", "echo ran"))

    assert Path(f"/proc/{pid}/exe").readlink().name == "busybox"
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sh\0-c\0echo ran\0"
    assert (directories(pid)["2"] / "cgroup.procs").read_text().split() == [str(pid)]
    assert private_kb(pid) <= MOST_PRIVATE_KB
    assert events(pid) == {"populated": "1", "frozen": "1"}
    assert runtime.status() == "created"
    assert runtime.output() == ""


def test_its_first_instruction_comes_after_start(runtime: Runtime, bundle: Bundle) -> None:
    """Nobody traces the program while it waits, and it runs to its end after start."""
    pid = runtime.created(bundle("sh", "-c", "echo ran"))
    status = Path(f"/proc/{pid}/status").read_text()
    before = runtime.output()
    runtime.ok("start", "c")

    assert "TracerPid:\t0\n" in status
    assert before == ""
    assert runtime.wait() == 0
    assert runtime.output() == "ran\n"


@pytest.mark.parametrize("sent", ["TERM", "KILL", "INT", "HUP"])
def test_a_signal_that_ends_programs_ends_it(sent: str, runtime: Runtime, bundle: Bundle) -> None:
    """The first process of a pid namespace would discard it, and its program never ran."""
    runtime.created(bundle("sh", "-c", "echo ran"))
    runtime.ok("kill", "c", sent)

    assert runtime.wait() >= 128
    assert runtime.status() == "stopped"
    runtime.ok("delete", "c")
    assert runtime.output() == ""


def test_it_is_not_started_by_the_end_of_its_maker(runtime: Runtime, bundle: Bundle) -> None:
    """However early a create is killed, the program never runs; delete removes what is there."""
    directory = bundle("sh", "-c", "echo ran >/ran")
    command = [RUNTIME, "--root", str(runtime.root), "create", "--bundle", str(directory), "k"]
    # A container keeps its streams open: a pipe would not end.
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    begun = time.monotonic()
    subprocess.run(command, check=True, **streams)
    whole = time.monotonic() - begun
    runtime.ok("delete", "--force", "k")
    turns = 20
    for turn in range(turns):
        with subprocess.Popen(command, **streams) as process:
            time.sleep(whole * (turn + 1) / turns)
            process.kill()
        # Were it let go unfrozen, it would need this long to show.
        time.sleep(whole / 10)
        assert not (directory / "rootfs/ran").exists(), f"it ran after turn {turn}"
        runtime.call("delete", "--force", "k")
    assert runtime.call("state", "k").returncode == 1


def test_the_program_was_opened_at_create(runtime: Runtime, bundle: Bundle) -> None:
    """Replacing the file before start has no effect."""
    directory = bundle("/bin/sh", "-c", "echo old")
    runtime.created(directory)
    new = directory / "rootfs/bin/new"
    new.write_text("#!/bin/ash\necho new\n")
    new.chmod(0o755)
    new.rename(directory / "rootfs/bin/sh")
    runtime.ok("start", "c")
    runtime.wait()

    assert runtime.output() == "old\n"


@pytest.mark.parametrize(
    ("content", "word"),
    [("#!/no/interpreter\n", "no such file"), ("neither this nor that", "exec format error")],
)
def test_what_only_execve_finds_fails_the_create(
    content: str, word: str, runtime: Runtime, bundle: Bundle
) -> None:
    """A script without interpreter, or a file of no known format, is an error at create."""
    directory = bundle("/bin/odd")
    odd = directory / "rootfs/bin/odd"
    odd.write_text(content)
    odd.chmod(0o755)
    done = runtime.create(directory)

    assert done.returncode == 1
    assert "/bin/odd" in runtime.output()
    assert word in runtime.output()
    assert not list(runtime.root.glob("*"))


def test_a_killed_one_is_stopped(runtime: Runtime, bundle: Bundle) -> None:
    """A frozen program that somebody kills is a stopped container, not a paused one."""
    pid = runtime.created(bundle("sleep", "60"))
    os.kill(pid, signal.SIGKILL)

    assert runtime.wait() == 128 + signal.SIGKILL
    assert runtime.status() == "stopped"
    assert runtime.call("start", "c").returncode == 1


def test_the_caller_is_its_parent(runtime: Runtime, bundle: Bundle) -> None:
    """The process that was traced is still a child of the caller, who gets its exit code."""
    pid = runtime.created(bundle("sh", "-c", "exit 7"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

    assert int(fields[1]) == os.getpid()
    runtime.ok("start", "c")
    assert runtime.wait() == 7
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
