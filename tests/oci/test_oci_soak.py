"""Many containers, one after the other and at once: nothing is left of them, and nothing grows.

``UXC_ROUNDS`` is the number of cycles; a thousand take some minutes.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import cgroups_of, links, mounts, soon_empty
from runtimes import NAME, RUNTIME, TIMEOUT_S, Config, ConsoleSocket, Runtime

Bundle = Callable[..., Path]
ROUNDS = int(os.environ.get("UXC_ROUNDS", "40"))
AT_ONCE = 50
# Of all creates that are under way, what is theirs alone and their parts of what they share.
MOST_PSS_KIB = AT_ONCE * 8 * 1024

pytestmark = pytest.mark.timeout(120 + 3 * ROUNDS)


class Host:
    """What there is before, to be compared with what there is afterwards."""

    def __init__(self, group: str, directories: list[Path]) -> None:
        self.group = group
        self.directories = directories
        self.before = self.look()

    def look(self) -> Counter[str]:
        """Return everything that a container could leave, by kind and name."""
        found = [f"mount {line}" for line in mounts()]
        found += [f"cgroup {path}" for path in cgroups_of(f"{self.group}*")]
        found += [f"link {name}" for name in links()]
        # Zombies, too: whose child of ours is one has been forgotten by this test.
        found += [f"process {name}" for name in os.listdir("/proc") if name.isdigit()]
        found += [f"descriptor {name}" for name in os.listdir("/proc/self/fd")]
        for top in self.directories:
            found += [f"file {path}" for path in top.rglob("*") if "rootfs" not in path.parts]
        keys = Path("/proc/keys")
        if keys.exists():
            found += ["keyring" for line in keys.read_text().splitlines() if self.group in line]
        return Counter(found)

    def left(self) -> list[str]:
        """Return what has come since then, and stays."""
        return list(soon_empty(lambda: sorted(self.look() - self.before)))


@pytest.fixture
def group() -> str:
    """Return a name for cgroups and containers that nobody else has."""
    return f"soak-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(bundle: Bundle, group: str) -> Callable[..., Path]:
    """Return a function that makes a bundle whose cgroup is in the group."""

    def made(name: str, edit: Callable[[Config], object] | None = None) -> Path:
        def changed(config: Config) -> None:
            config["linux"]["cgroupsPath"] = f"/{group}-{name}"
            if edit is not None:
                edit(config)

        return bundle("sleep", "1000", edit=changed, name=name)

    return made


@pytest.fixture
def host(group: str, tmp_path: Path) -> Iterator[Callable[[], Host]]:
    """Return a function that looks at the host, which is as it was then at the test's end."""
    looked: list[Host] = []

    def look() -> Host:
        looked.append(Host(group, [tmp_path, Path("/run"), Path(os.environ["UXC_PREFIX"])]))
        return looked[-1]

    yield look
    for one in looked:
        assert not one.left()


def _user_namespace(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"].update(uidMappings=maps, gidMappings=maps)


def _terminal(config: Config) -> None:
    config["process"]["terminal"] = True


def _files(runtime: Runtime, name: str) -> None:
    for path in (runtime.pid_file(name), runtime.directory / f"{name}.out"):
        path.unlink(missing_ok=True)


def test_cycles_leave_nothing(
    runtime: Runtime,
    make: Callable[..., Path],
    host: Callable[[], Host],
    group: str,
    console: ConsoleSocket,
) -> None:
    """Create, start, exec, pause, kill, delete, with terminals and user namespaces among them."""
    plain = make("plain")
    # runc 1.1 needs a way to the root for everybody.
    inside = plain if NAME == "runc" else make("user", _user_namespace)
    shown = make("terminal", _terminal)

    def cycle(number: int) -> None:
        where = (plain, inside, shown)[number % 3]
        options = ("--console-socket", str(console.path)) if where is shown else ()
        runtime.created(where, group, *options)
        if where is shown:
            console.receive()
        if number % 7:
            runtime.ok("start", group)
            if where is not inside or NAME == "uxc-runtime":
                # crun 1.8 cannot join the cgroup namespace of another user namespace.
                runtime.ok("exec", group, "true")
            if number % 2:
                runtime.ok("pause", group)
            if number % 4 == 1:
                runtime.ok("resume", group)
        if number % 4 == 3 or not number % 7:
            runtime.ok("delete", "--force", group)
            runtime.wait(group)
        else:
            runtime.ok("kill", group, "KILL")
            runtime.wait(group)
            runtime.ok("delete", group)
        if where is shown:
            # Not before: the program would be told, and end.
            os.close(console.master)
            console.master = -1
        runtime._started.remove(group)
        _files(runtime, group)

    # What the first one makes for all is there to stay: the root of the state, caches.
    cycle(1)
    host()
    started = time.monotonic()
    for number in range(ROUNDS):
        cycle(number)
    spent_ms = (time.monotonic() - started) * 1000 / ROUNDS
    print(f"{ROUNDS} cycles, {spent_ms:.0f} ms each", file=sys.stderr)  # noqa: T201


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_fifty_creates_at_once(
    runtime: Runtime, make: Callable[..., Path], host: Callable[[], Host], group: str
) -> None:
    """All of them succeed, take no more memory than their share, and go without a trace."""
    names = [f"{group}-{number}" for number in range(AT_ONCE)]
    bundles = [make(name) for name in names]
    runtime.created(bundles[0], names[0])
    runtime.tidy()
    _files(runtime, names[0])
    host()
    command = [RUNTIME, "--root", str(runtime.root), "create", "--bundle"]
    outputs = [(runtime.directory / f"{name}.out").open("wb") for name in names]
    many: list[subprocess.Popen[Any]] = [
        subprocess.Popen(
            [*command, str(where), "--pid-file", str(runtime.pid_file(name)), name],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )
        for name, where, output in zip(names, bundles, outputs, strict=True)
    ]  # fmt: skip
    runtime._started += names
    most = 0
    deadline = time.monotonic() + TIMEOUT_S
    while any(process.poll() is None for process in many) and time.monotonic() < deadline:
        most = max(most, sum(_pss_kib(process.pid) for process in many))
    for output in outputs:
        output.close()
    codes = [process.wait(1) for process in many]
    waiting = sum(_pss_kib(int(runtime.pid_file(name).read_text())) for name in names)
    print(f"sum of PSS: {most} KiB at most, {waiting} KiB of those created", file=sys.stderr)  # noqa: T201

    assert codes == [0] * AT_ONCE, [runtime.output(name) for name in names]
    assert {runtime.status(name) for name in names} == {"created"}
    assert most < MOST_PSS_KIB
    deletes = [
        subprocess.Popen([RUNTIME, "--root", str(runtime.root), "delete", "--force", name])
        for name in names
    ]
    assert [process.wait(TIMEOUT_S) for process in deletes] == [0] * AT_ONCE
    runtime.tidy()
    for name in names:
        _files(runtime, name)


def test_fifty_execs_at_once(
    runtime: Runtime, make: Callable[..., Path], host: Callable[[], Host], group: str
) -> None:
    """Each has its own exit code, and the container has one process afterwards."""
    pid = runtime.created(make("c"), group)
    runtime.ok("start", group)
    runtime.ok("exec", group, "true")
    host()
    command = [RUNTIME, "--root", str(runtime.root), "exec", group, "sh", "-c"]
    many = [subprocess.Popen([*command, f"exit {number}"]) for number in range(AT_ONCE)]

    assert [process.wait(TIMEOUT_S) for process in many] == list(range(AT_ONCE))
    assert json.loads(runtime.ok("ps", "--format", "json", group)) == [pid]
