"""Faults at named steps of the runtime: its launcher's client, and what must be left of nothing."""

import json
import os
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import faultlauncher
from runtimes import Failed

LIBRARY = Path(__file__).parents[1] / "lib"
# How many steps a test takes instead of a few, or "all": minutes to an hour instead of seconds.
MORE = os.environ.get("UXC_FAULTS", "")
Step = tuple[str, str, int]


class Outcome:
    """What became of one command."""

    def __init__(self, answer: dict[str, Any], output: str) -> None:
        """Take the launcher's answer, and what the command printed."""
        self.code: int = answer["code"]
        self.fired: bool = answer["fired"]
        self.hung: bool = answer["hung"]
        self.output = output

    def __repr__(self) -> str:
        return f"<{self.code}{' hung' if self.hung else ''}: {self.output.strip()!r}>"


class Launcher:
    """Runs commands of the runtime in forks of one interpreter, which takes their orphans."""

    def __init__(self, interpreter: str, directory: Path) -> None:
        """Start it with ``interpreter``; outputs and records go to ``directory``."""
        self.directory = directory
        self._process = subprocess.Popen(
            [interpreter, "-I", "-S", faultlauncher.__file__, str(LIBRARY)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        # Until then it may still look like a copy of ours.
        self.orphans()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the launcher ended during {request}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, *words: str, mode: str = "", step: Step = ("runtime", "", 1), **environment: str
             ) -> Outcome:  # fmt: skip
        """Run one command, with the fault ``mode`` at the ``step`` (role, name, n-th time)."""
        role, name, nth = step
        output = self.directory / "output"
        answer = self._ask(
            {
                "words": words, "mode": mode, "role": role, "step": name, "nth": nth,
                "map": str(self.directory / "steps"), "output": str(output),
                "environment": environment,
            }
        )  # fmt: skip
        return Outcome(answer, output.read_text())

    def steps(self, *words: str, **environment: str) -> list[Step]:
        """Run a command without a fault; return every step of every role."""
        done = self.call(*words, mode=faultlauncher.RECORD, **environment)
        if done.code:
            raise Failed(f"{words}: {done}")
        data = (self.directory / "steps").read_bytes()
        steps = []
        for number, role in enumerate(faultlauncher.ROLES):
            start = faultlauncher.HEAD_BYTES + number * faultlauncher.AREA_BYTES
            seen: Counter[str] = Counter()
            area = data[start : start + faultlauncher.AREA_BYTES].rstrip(b"\0")
            for name in area.decode().split():
                seen[name] += 1
                steps.append((role, name, seen[name]))
        return steps

    def orphans(self, patience_s: float = 3.0) -> dict[str, str]:
        """Wait for the end of all processes; those that stay are killed and returned, by pid."""
        found: dict[str, str] = self._ask({"wait": patience_s})["children"]
        return found

    def close(self) -> None:
        """End the launcher."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def sample(steps: list[Step], count: int, seed: str) -> list[Step]:
    """Return ``count`` of ``steps``, evenly spread from a start that ``seed`` decides.

    All of them when the environment says so, or another number.
    """
    count = int(MORE) if MORE.isdigit() else count
    if MORE == "all" or len(steps) <= count:
        return steps
    every = len(steps) / count
    first = random.Random(seed).random() * every
    return [steps[int(first + every * number)] for number in range(count)]


def cgroups_of(name: str) -> list[Path]:
    """Return the cgroups called ``name`` at the top of every hierarchy."""
    top = Path("/sys/fs/cgroup")
    found = [*top.glob(name), *top.glob(f"*/{name}")]
    # Where the v2 tree is hidden from crun, it makes plain directories and plain files.
    kernels = ("tasks", "cgroup.controllers")
    return [path for path in found if any((path / file).exists() for file in kernels)]


def mounts() -> list[str]:
    """Return the lines of the list of mounts."""
    return Path("/proc/self/mountinfo").read_text().splitlines()


def links() -> list[str]:
    """Return the names of the network links."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return sorted(line.partition(":")[0].strip() for line in lines)


def soon_empty(found: Any, patience_s: float = 3.0) -> Any:
    """Return what ``found`` returns once that is empty, or at the end of the patience."""
    deadline = time.monotonic() + patience_s
    while (left := found()) and time.monotonic() < deadline:
        time.sleep(0.002)
    return left
