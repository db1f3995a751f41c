"""Create, start, state, delete of one bundle by uxc-runtime, a control socket, crun and runc."""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

from timing import Series, call_ms, command_ms

from rootfs import busybox
from uxc.client import Client
from uxc.demo.router import TOP, Router
from uxc.paths import Paths

COLUMNS = ("create", "start", "state", "delete", "cycle")
PR_SET_CHILD_SUBREAPER = 36
# Two ways to take turns. On an idle machine the first entry into a v1 cgroup by cgroup.procs waits
# 10 ms for an RCU grace period, and those right after it for none (docs/decisions/0023). "From
# idle" everybody meets the machine as a user does who makes one container; "in a row" as a loop
# does. Without the pause the order of the subjects would decide who waits for whom.
IDLE_S = 0.05
CYCLES_A_TURN = 5
WARM_UP_TURNS = 1

# What we promise: (subject, other, how many times the other's cycle at most).
BUDGETS = (("uxc-runtime", "crun", 3.0), ("socket", "crun", 1 / 1.8))


class Subject(Protocol):
    """Something that runs containers; each step returns its time in milliseconds."""

    name: str

    def create(self) -> float:
        """Make the container; its program waits."""
        ...

    def start(self) -> float:
        """Let the program run."""
        ...

    def state(self) -> float:
        """Ask for the state."""
        ...

    def wait(self) -> None:
        """Return when the program has ended."""
        ...

    def delete(self) -> float:
        """Take the container away."""
        ...


class Command:
    """A runtime with runc's command line; a process for every step."""

    def __init__(self, program: str, directory: Path, bundle: Path) -> None:
        """Keep its state below ``directory``."""
        self.name = Path(program).name
        self._bundle = str(bundle)
        self._pid_file = directory / f"{self.name}.pid"
        self._words = (program, "--root", str(directory / f"{self.name}.root"))

    def create(self) -> float:
        """Make the container."""
        pid_file = str(self._pid_file)
        return self._timed("create", "--bundle", self._bundle, "--pid-file", pid_file)

    def start(self) -> float:
        """Let the program run."""
        return self._timed("start")

    def state(self) -> float:
        """Ask for the state."""
        return self._timed("state")

    def wait(self) -> None:
        """Reap the program: an orphan of create's, it came to us, the nearest subreaper."""
        os.waitpid(int(self._pid_file.read_text()), 0)

    def delete(self) -> float:
        """Take the container away."""
        return self._timed("delete")

    def _timed(self, verb: str, *options: str) -> float:
        return command_ms(*self._words, verb, *options, f"bench-{self.name}")


class Socket:
    """The manager, asked over a connection that is open already, as LuCI or boot would."""

    name = "socket"

    def __init__(self, client: Client, container: str) -> None:
        """Use ``container``, which has its section."""
        self._client = client
        self._name = {"name": container}

    def create(self) -> float:
        """Make the container."""
        return self._timed("create")

    def start(self) -> float:
        """Let the program run."""
        return self._timed("start")

    def state(self) -> float:
        """Ask for the state."""
        return self._timed("state")

    def wait(self) -> None:
        """Wait for the manager to see the end."""
        self._client.request("wait", self._name)

    def delete(self) -> float:
        """Take the container away; the section stays for the next round."""
        return self._timed("delete", keep_section=True)

    def _timed(self, op: str, **more: object) -> float:
        arguments = {**self._name, **more}
        return call_ms(lambda: self._client.request(op, arguments))


def _round(subject: Subject) -> dict[str, float]:
    create = subject.create()
    state = subject.state()
    start = subject.start()
    wait = call_ms(subject.wait)
    delete = subject.delete()
    cycle = create + start + wait + delete
    return dict(zip(COLUMNS, (create, start, state, delete, cycle), strict=True))


def _measure(subjects: list[Subject], rounds: int, cycles_a_turn: int, idle_s: float) -> Series:
    """Take turns, so that a busy moment of the machine hits all alike."""
    series = Series(COLUMNS)
    for turn in range(-WARM_UP_TURNS, -(-rounds // cycles_a_turn)):
        for subject in subjects:
            for _ in range(cycles_a_turn):
                time.sleep(idle_s)
                times = _round(subject)
                if turn >= 0:
                    series.add(subject.name, times)
    return series


def _show(series: Series, title: str) -> None:
    print(f"{title}\n{series.table()}\n\nas multiples of crun's\n{series.ratios('crun')}\n")


def _make_bundle(directory: Path) -> Path:
    """Return a bundle as ``runc spec`` makes it, around busybox's true."""
    bundle = directory / "bundle"
    bundle.mkdir()
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    busybox.make_rootfs(bundle / "rootfs")
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"]["args"] = ["/bin/true"]
    config["process"]["terminal"] = False
    path.write_text(json.dumps(config, indent="\t"))
    return bundle


def main() -> int:
    """Measure, print, and judge by the budgets; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests/bench/run runtime")
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # crun refuses the hybrid layout; without the unified tree in sight all four see plain v1.
    if Path("/sys/fs/cgroup/unified").is_dir():
        subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified"], check=True)

    directory = Path(tempfile.mkdtemp(prefix="uxc-bench."))
    # Run-time state is in RAM, as on a router; for the other runtimes as well.
    subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    bundle = _make_bundle(directory)
    router = Router(directory, "")
    section = f"\nconfig container 'bench'\n\toption bundle '{bundle}'\n"
    (router.prefix / "etc/config/uxc").write_text(section)
    os.environ["UXC_PREFIX"] = str(router.prefix)
    try:
        router.start_manager()
        with Client(Paths(str(router.prefix)).control_socket) as client:
            subjects: list[Subject] = [
                Command(program, directory, bundle)
                for program in (shutil.which("crun"), shutil.which("runc"))
                if program
            ]
            subjects += [
                Command(str(TOP / "bin/uxc-runtime"), directory, bundle),
                Socket(client, "bench"),
            ]
            from_idle = _measure(subjects, rounds, 1, IDLE_S)
            in_a_row = _measure(subjects, rounds, CYCLES_A_TURN, 0)
    finally:
        router.close()
        # The read-only mount of the interpreter stays, as documented, for the next create.
        interpreter = Paths(str(router.prefix)).interpreter
        if f" {interpreter} " in Path("/proc/self/mountinfo").read_text():
            subprocess.run(["umount", interpreter], check=True)
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()

    floor = min(command_ms("/bin/true") for _ in range(20))
    unit = f"milliseconds, medians of {rounds} rounds"
    _show(from_idle, f"{unit}, taken in turns, each after {IDLE_S * 1000:.0f} ms of rest")
    _show(in_a_row, f"{unit}, {CYCLES_A_TURN} in a row at each turn")
    print(f"starting /bin/true and waiting for it: {floor:.2f} ms of every command\n")
    missed = 0
    for subject, other, limit in BUDGETS:
        ratio, row = (
            series.median(subject, "cycle") / series.median(other, "cycle")
            for series in (from_idle, in_a_row)
        )
        verdict = "kept" if ratio <= limit else "MISSED"
        missed += ratio > limit
        print(
            f"cycle of {subject}: {ratio:.2f} x {other}'s, at most {limit:.2f}: {verdict}"
            f" ({row:.2f} x in a row)"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
