"""The life of a container by crun, runc, uxc-runtime and a control socket, with two configs."""

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bundles
from subjects import Command, Socket, Subject
from timing import Series, call_ms

from uxc.client import Client
from uxc.demo.router import TOP, Router
from uxc.paths import Paths

# "wait" is from start's return to the program's end; a cycle is create, start, wait and delete.
COLUMNS = ("create", "start", "wait", "delete", "cycle", "state", "kill", "run")
PR_SET_CHILD_SUBREAPER = 36
# Two ways to take turns. On an idle machine the first entry into a v1 cgroup by cgroup.procs waits
# 10 ms for an RCU grace period, and those right after it for none (docs/decisions/0023). "From
# idle" everybody meets the machine as a user does who makes one container; "in a row" as a loop
# does. Without the pause the order of the subjects would decide who waits for whom.
IDLE_S = 0.05
CYCLES_A_TURN = 5
# Also what compiles each seccomp profile, where a runtime keeps it.
WARM_UP_TURNS = 1

# What we promise: config → (subject, column, other, how many times the other's at most).
BUDGETS = {
    "plain": (
        ("uxc-runtime", "cycle", "crun", 2.5),
        ("uxc-runtime", "cycle", "runc", 0.85),
        ("uxc-runtime", "run", "crun", 2.6),
        ("uxc-runtime", "run", "runc", 0.85),
        ("uxc-runtime", "state", "crun", 2.8),
        ("socket", "cycle", "crun", 1 / 1.8),
    ),
    "podman": (
        ("uxc-runtime", "cycle", "crun", 0.95),
        ("uxc-runtime", "cycle", "runc", 0.75),
    ),
}


def _round(subject: Subject) -> dict[str, float]:
    times = {"create": subject.create(), "state": subject.state(), "start": subject.start()}
    times["wait"] = call_ms(subject.wait)
    times["delete"] = subject.delete()
    times["cycle"] = sum(times[name] for name in ("create", "start", "wait", "delete"))
    subject.create()
    times["kill"] = subject.kill()
    subject.wait()
    subject.delete()
    run = subject.run()
    return times if run is None else {**times, "run": run}


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


def _judge(config: str, from_idle: Series, in_a_row: Series) -> int:
    """Print a line for each budget of ``config``; return how many are missed from idle."""
    missed = 0
    for subject, column, other, limit in BUDGETS[config]:
        verdicts = []
        for way, series in (("from idle", from_idle), ("in a row", in_a_row)):
            ratio = series.median(subject, column) / series.median(other, column)
            verdicts.append(f"{ratio:.2f} {way} {'(kept)' if ratio <= limit else '(MISSED)'}")
            missed += ratio > limit and series is from_idle
        print(f"{config}: {column} of {subject}, at most {limit:.2f} x {other}'s:", *verdicts)
    return missed


def _compare(config: str, subjects: list[Subject], rounds: int) -> int:
    """Measure one config both ways and print it; return how many budgets are missed."""
    from_idle = _measure(subjects, rounds, 1, IDLE_S)
    in_a_row = _measure(subjects, rounds, CYCLES_A_TURN, 0)
    unit = f"{config} config: milliseconds, medians of {rounds} rounds"
    _show(from_idle, f"{unit}, taken in turns, each after {IDLE_S * 1000:.0f} ms of rest")
    _show(in_a_row, f"{unit}, {CYCLES_A_TURN} in a row at each turn")
    missed = _judge(config, from_idle, in_a_row)
    print(flush=True)
    return missed


def main() -> int:
    """Measure, print, and judge by the budgets; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests/bench/run runtime")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--config", choices=tuple(BUDGETS), help="only one of the two")
    arguments = parser.parse_args()

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # crun refuses the hybrid layout; without the unified tree in sight all four see plain v1.
    if Path("/sys/fs/cgroup/unified").is_dir():
        subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified"], check=True)

    directory = Path(tempfile.mkdtemp(prefix="uxc-bench."))
    # Run-time state is in RAM, as on a router; for the other runtimes as well.
    subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    made = {"plain": bundles.plain(directory), "podman": bundles.podman(directory)}
    rules, names = bundles.profile_size(made["podman"])
    router = Router(directory, "")
    sections = "".join(
        f"\nconfig container 'bench_{name}'\n\toption bundle '{bundle}'\n"
        for name, bundle in made.items()
    )
    (router.prefix / "etc/config/uxc").write_text(sections)
    os.environ["UXC_PREFIX"] = str(router.prefix)
    missed = 0
    try:
        router.start_manager()
        with Client(Paths(str(router.prefix)).control_socket) as client:
            for name, bundle in made.items():
                if arguments.config in (None, name):
                    programs = (shutil.which("crun"), shutil.which("runc"))
                    subjects: list[Subject] = [
                        Command(str(program), directory, bundle)
                        for program in (*programs, TOP / "bin/uxc-runtime")
                    ]
                    subjects.append(Socket(client, f"bench_{name}"))
                    missed += _compare(name, subjects, arguments.rounds)
    finally:
        router.close()
        # The read-only mount of the interpreter stays, as documented, for the next create.
        interpreter = Paths(str(router.prefix)).interpreter
        if f" {interpreter} " in Path("/proc/self/mountinfo").read_text():
            subprocess.run(["umount", interpreter], check=True)
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()
    print(f"podman config: {rules} rules about {names} system calls")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
