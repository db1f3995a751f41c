"""Run runtime-tools' validation programs for several runtimes; compare, and explain, in a table."""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tap import Result, judge
from toolsbuild import BuildError, build, program_names

from uxc.paths import Paths

TOP = Path(__file__).parents[2]
DOCUMENT = TOP / "docs/conformance.md"
REASONS = Path(__file__).parent / "reasons.toml"
BEGIN, END = "<!-- programs: begin -->\n", "<!-- programs: end -->\n"
OURS = "uxc-runtime"
CGROUPS = Path("/sys/fs/cgroup")
# They end by themselves; the slowest makes 32 containers and waits for none.
TIMEOUT_S = 180
# Programs that put their container at a cgroup path of their own choice, all at the same one.
SAME_CGROUP = re.compile(r"linux_cgroups_|delete_")
# Programs that race with what they start, whatever the runtime: killsig sends its signal when the
# container is running, be the trap set in its shell or not. They have some attempts.
RACING = {"killsig": 5}
THEIR_CGROUPS = ("cgrouptest", "testdir")
# Ours keeps its state below a directory that is as new for each program as /run itself.
PREFIX = "/run/conformance"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# crun 1.8.1 knows no ociVersion above 1.0; nothing that it lacks for that is in these programs.
OLDER = """#!/bin/sh
newer='"ociVersion": *"1\\.[1-9][^"]*"'
previous=
for word; do
    if [ "$previous" = --bundle ]; then
        sed -i "s/$newer/\\"ociVersion\\":\\"1.0.2\\"/" "$word/config.json"
    fi
    previous=$word
done
exec PROGRAM "$@"
"""
# Inside namespaces of its own: a shell that reaps what a program leaves, with a /run that is new.
SHELL = """
mount -t tmpfs -o mode=755 tmpfs /run
if [ -n "$HIDE" ] && [ -d "$HIDE" ]; then mount -t tmpfs none "$HIDE"; fi
status=0
"$@" || status=$?
exit "$status"
"""


@dataclass(frozen=True)
class Runtime:
    """A runtime under test; ``hidden`` is a directory that it must not see."""

    name: str
    program: Path
    hidden: str = ""

    def version(self) -> str:
        """Return the first line of what it says of itself."""
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True)
        return done.stdout.partition("\n")[0]


def _runtimes(work: Path) -> list[Runtime]:
    older = work / "crun"
    older.write_text(OLDER.replace("PROGRAM", "/usr/bin/crun"))
    older.chmod(0o755)
    return [
        # It refuses v1 controllers with a v2 tree beside them.
        Runtime("crun", older, str(CGROUPS / "unified")),
        Runtime("runc", Path("/usr/sbin/runc")),
        Runtime(OURS, TOP / "bin" / OURS),
    ]


class Session:
    """One run of many programs; keeps what each printed below ``work``."""

    def __init__(self, work: Path, built: Path, timeout_s: float) -> None:
        """Start the programs in ``built``, where they find what they need."""
        self._work = work
        self._built = built
        self._timeout_s = timeout_s
        self._same_cgroup = threading.Lock()

    def run(self, runtime: Runtime, program: str) -> Result:
        """Run a program for a runtime to its end."""
        if SAME_CGROUP.match(program):
            with self._same_cgroup:
                result = self._run(runtime, program)
                for name in THEIR_CGROUPS:
                    _remove_cgroups(name)
                return result
        for _ in range(RACING.get(program, 1)):
            result = self._run(runtime, program)
            if result.verdict == "pass":
                break
        return result

    def _run(self, runtime: Runtime, program: str) -> Result:
        out = self._work / "printed" / runtime.name
        out.mkdir(parents=True, exist_ok=True)
        bundles = self._work / "bundles" / runtime.name / program
        bundles.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/root",
            "RUNTIME": str(runtime.program),
            "HIDE": runtime.hidden,
            "UXC_PREFIX": PREFIX,
            "TMPDIR": str(bundles),
        }
        process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             "--propagation", "private", "bash", "-ec", SHELL, "bash", f"./{program}"],
            cwd=self._built, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        status: int | None
        try:
            printed, errors = process.communicate(timeout=self._timeout_s)
            status = process.returncode
        except subprocess.TimeoutExpired:
            # The first process of its pid namespace dies with it, and all others with that.
            process.kill()
            printed, errors = process.communicate()
            status = None
        (out / f"{program}.out").write_text(printed)
        (out / f"{program}.err").write_text(errors)
        return judge(printed, errors, status)


def _remove_cgroups(name: str) -> None:
    """Remove a cgroup and those in it from all hierarchies; no process is left in them."""
    for top in (CGROUPS, *CGROUPS.glob("*/")):
        for directory, _, _ in os.walk(top / name, topdown=False):
            os.rmdir(directory)


def _leftovers(before: set[Path]) -> None:
    """Remove the cgroups of containers that programs have left, as some do when they give up."""
    ours = Paths(PREFIX).cgroup_parent
    for path in sorted(_cgroups() - before, reverse=True):
        if UUID.search(path.name) or ours in path.parts:
            path.rmdir()


def _cgroups() -> set[Path]:
    return {Path(directory) for directory, _, _ in os.walk(CGROUPS)}


Results = dict[str, dict[str, Result]]


def run_all(
    session: Session, runtimes: Sequence[Runtime], programs: Sequence[str], jobs: int
) -> Results:
    """Run every program for every runtime; return results by program and runtime."""
    before = _cgroups()
    results: Results = {program: {} for program in programs}

    def one(program: str) -> None:
        for runtime in runtimes:
            result = session.run(runtime, program)
            results[program][runtime.name] = result
            print(f"{program} {runtime.name} {result} {result.why}", file=sys.stderr, flush=True)

    # Most of the time they wait for a clock.
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, programs))
    _leftovers(before)
    return results


def read_reasons(path: Path = REASONS) -> tuple[dict[str, str], set[str]]:
    """Return, by program, why it cannot pass on our runtime; and those that pass by chance."""
    reasons = tomllib.loads(path.read_text())
    chance = reasons.pop("chance")
    return {**reasons, **chance}, set(chance)


def complaints(
    results: Results, reasons: Mapping[str, str], chance: Collection[str] = ()
) -> list[str]:
    """Return what is wrong with the results: failures nobody has explained, or reasons gone."""
    wrong = []
    for program, by_runtime in results.items():
        ours = by_runtime.get(OURS)
        if ours is None or program in chance:
            continue
        others = [name for name, result in by_runtime.items() if result.verdict == "pass"]
        if ours.verdict == "pass":
            if program in reasons:
                wrong.append(f"{program} passes; its reason in {REASONS.name} is obsolete")
        elif others:
            wrong.append(f"{program} passes on {', '.join(others)}, not on ours: {ours.why}")
        elif program not in reasons:
            wrong.append(f"{program}: {ours}, and no reason is known: {ours.why}")
    return wrong


def table(results: Results, reasons: Mapping[str, str]) -> str:
    """Return the results as a table in Markdown, counts last."""
    names = list(next(iter(results.values())))
    lines = [f"| Program | {' | '.join(names)} | Why not |", "|---" * (len(names) + 2) + "|"]
    for program, by_runtime in sorted(results.items()):
        cells = [str(by_runtime[name]) for name in names]
        reason = "" if by_runtime[names[-1]].verdict == "pass" else reasons.get(program, "?")
        lines.append(f"| {program} | {' | '.join(cells)} | {' '.join(reason.split())} |")
    passed = [
        str(sum(by_runtime[name].verdict == "pass" for by_runtime in results.values()))
        for name in names
    ]
    lines.append(f"| **{len(results)}, passed** | {' | '.join(passed)} | |")
    return "\n".join(lines) + "\n"


def _write(text: str) -> None:
    """Put ``text`` between the marks of the document."""
    document = DOCUMENT.read_text()
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not rest or END not in document:
        sys.exit(f"{DOCUMENT} has no place for the table")
    DOCUMENT.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def _commit(source: Path) -> str:
    command = ["git", "-C", str(source), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "of unknown version"


def main() -> None:
    """Build, run, show; exit with 1 if a failure of ours has no reason."""
    parser = argparse.ArgumentParser(prog="tests/conformance/run", description=__doc__)
    parser.add_argument("source", metavar="SOURCE_DIR", type=Path, help="checkout of runtime-tools")
    parser.add_argument("programs", metavar="PROGRAM", nargs="*", help="only these")
    parser.add_argument("--runtime", action="append", help="only this one: crun, runc, " + OURS)
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    parser.add_argument("--keep", type=Path, help="keep programs and what they printed here")
    parser.add_argument("--built", action="store_true", help="they are in --keep already")
    parser.add_argument("--jobs", type=int, default=4, help="programs at a time")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds for each")
    options = parser.parse_intermixed_args()
    if options.write and (options.programs or options.runtime):
        parser.error("--write is for all programs and all runtimes")
    with tempfile.TemporaryDirectory(prefix="conformance-") as temporary:
        work: Path = (options.keep or Path(temporary)).resolve()
        built = work / "programs"
        try:
            if options.built:
                programs = program_names(options.source)
            else:
                programs = build(options.source, built)
        except BuildError as error:
            sys.exit(f"tests/conformance/run: {error}")
        unknown = set(options.programs) - set(programs)
        if unknown:
            parser.error(f"no program is named {', '.join(sorted(unknown))}")
        runtimes = [
            runtime
            for runtime in _runtimes(work)
            if not options.runtime or runtime.name in options.runtime
        ]
        session = Session(work, built, options.timeout)
        results = run_all(session, runtimes, options.programs or programs, options.jobs)
    reasons, chance = read_reasons()
    text = table(results, reasons)
    heading = (
        f"runtime-tools {_commit(options.source)} on Linux {platform.release().partition('-')[0]};"
        f" {'; '.join(runtime.version() for runtime in runtimes)}.\n\n"
    )
    print(heading + text)
    if options.write:
        _write(heading + text)
    wrong = complaints(results, reasons, chance)
    for line in wrong:
        print(f"tests/conformance/run: {line}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
