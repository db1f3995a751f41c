"""A created container on cgroup v2 is its program, frozen before the first instruction."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgroupfiles import directories
from runtimes import RUNTIME, Config, Runtime

pytestmark = [pytest.mark.vm, pytest.mark.ours, pytest.mark.needs("cgroup2-freezer")]

Bundle = Callable[..., Path]
ANNOTATION = "org.openwrt.uxc.frozen-at-exec"
MOST_PRIVATE_KB = 100


def events(pid: int) -> dict[str, str]:
    """Return the state of the process's cgroup."""
    words = (directories(pid)["2"] / "cgroup.events").read_text().split()
    return dict(zip(words[::2], words[1::2], strict=True))


def private_kb(pid: int) -> int:
    """Return what would be free again if the process ended."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


def wait_for(condition: Callable[[], object], patience_s: float = 30.0) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


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


def test_start_is_one_write(runtime: Runtime, bundle: Bundle) -> None:
    """Whoever thaws the cgroup starts the program: the runtime's start does nothing else."""
    pid = runtime.created(bundle("sh", "-c", "echo ran; exec sleep 60"))
    (directories(pid)["2"] / "cgroup.freeze").write_text("0")
    wait_for(lambda: runtime.output() == "ran\n")

    assert runtime.status() == "running"
    done = runtime.call("start", "c")
    assert done.returncode == 1
    assert "cannot start an already running container" in done.stderr


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
    """Replacing the file before start has no effect, unless an annotation puts opening off."""
    outputs = []
    for name, frozen in (("early", "true"), ("late", "false")):

        def edit(config: Config, frozen: str = frozen) -> None:
            config["annotations"] = {ANNOTATION: frozen}

        directory = bundle("/bin/sh", "-c", "echo old", edit=edit, name=name)
        runtime.created(directory, name)
        new = directory / "rootfs/bin/new"
        new.write_text("#!/bin/ash\necho new\n")
        new.chmod(0o755)
        new.rename(directory / "rootfs/bin/sh")
        runtime.ok("start", name)
        runtime.wait(name)
        outputs.append(runtime.output(name))

    assert outputs == ["old\n", "new\n"]


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
