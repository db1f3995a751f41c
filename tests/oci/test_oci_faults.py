"""SIGKILL and failures at steps of the runtime, by name: what is left can be removed, all of it.

A sample of the steps, spread evenly; ``UXC_FAULTS=200`` takes so many of each kind, ``all`` every
single one (an hour).
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlauncher import FAIL, KILL
from faults import (
    MORE,
    Launcher,
    Outcome,
    Step,
    cgroups_of,
    links,
    mounts,
    sample,
    soon_empty,
)
from runtimes import Config, ConsoleSocket, until

pytestmark = [pytest.mark.ours, pytest.mark.timeout(3600 if MORE else 120)]

Bundle = Callable[..., Path]
Edit = Callable[[Config], object]
# Says that it ran, in a root that everybody may write to.
PROGRAM = ("sh", "-c", "touch /ran; exec sleep 1000")
STEPS_OF_CREATE = 20
STEPS_OF_OTHERS = 12
# Nothing was made before: what is passed until then is the same at every step.
BEGINS = "uxc.oci.state:reserve:call"
# Calls of functions whose first word is "try": before it there is nothing that could fail.
UNGUARDED = {
    f"uxc.oci.{function}:call"
    for function in (
        "child:live", "creation:Creation.finish", "creation:Creation.step", "init:run",
        "joining:run", "process:_go_between",
    )
}  # fmt: skip
# What cannot fail, and what runs when something has failed.
CANNOT_FAIL = (
    "close", "__init__", "abandon", "_undo", "buffer", "address", "syscall", "fail", "memory_at",
    "has_config", "document", "directory", "timestamp", "set_dumpable", "exit_code",
)  # fmt: skip


@pytest.fixture(scope="module")
def launcher(
    _runtime_of_the_module: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launcher]:
    """Return the launcher; it runs on the interpreter that commands run on."""
    interpreter = f"{os.environ['UXC_PREFIX']}/var/run/uxc/interp/python3"
    made = Launcher(interpreter, tmp_path_factory.mktemp("launcher"))
    yield made
    made.close()


class Case:
    """A container that is made and removed again and again."""

    def __init__(self, launcher: Launcher, bundle: Path, directory: Path, group: str) -> None:
        self.launcher = launcher
        self.bundle = bundle
        self.directory = directory
        self.root = directory / "state"
        self.pid_file = directory / "c.pid"
        self.group = group
        self.options: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}
        self.consoles: ConsoleSocket | None = None
        self.mounts = mounts()
        self.links = links()

    def call(self, command: str, *rest: str, mode: str = "", step: Step = ("", "", 0)) -> Outcome:
        """Run a command about the container; it neither hangs nor shows a traceback."""
        words = ["--root", str(self.root), command]
        if command in ("create", "run"):
            words += ["--bundle", str(self.bundle), "--pid-file", str(self.pid_file)]
            words += self.options
        done = self.launcher.call(*words, *rest, mode=mode, step=step, **self._environment(command))
        if self.consoles is not None:
            self.consoles.drain()
        assert not done.hung, (command, step, done)
        assert "Traceback" not in done.output, (command, step, done)
        return done

    def _environment(self, command: str) -> dict[str, str]:
        # With it, start and run wait for a program that is ready.
        return self.environment if command == "create" else {}

    def ok(self, command: str, *rest: str) -> str:
        """Run a command that must succeed."""
        done = self.call(command, *rest)
        assert done.code == 0, (command, done)
        return done.output

    def steps(self, command: str, *rest: str) -> list[Step]:
        """Return the steps of a command."""
        words = ["--root", str(self.root), command]
        if command in ("create", "run"):
            words += ["--bundle", str(self.bundle), "--pid-file", str(self.pid_file)]
            words += self.options
        found = self.launcher.steps(*words, *rest, **self._environment(command))
        if self.consoles is not None:
            self.consoles.drain()
        return found

    def status(self) -> str:
        """Return what ``state`` says, empty for "does not exist"; ``list`` must agree."""
        done = self.call("state", "c")
        listed = json.loads(self.ok("list", "--format", "json")) or []
        if done.code:
            assert "does not exist" in done.output, done
            assert not listed
            return ""
        status = str(json.loads(done.output)["status"])
        assert status in ("creating", "created", "running", "paused", "stopped")
        assert [one["id"] for one in listed] == ["c"]
        return status

    @property
    def ran(self) -> bool:
        """Whether the program has run."""
        return (self.bundle / "rootfs/ran").exists()

    def left(self) -> list[str]:
        """Return what is there that was not there before."""
        found = [str(path) for path in [*self.root.glob("*"), *cgroups_of(self.group)]]
        found += [line for line in mounts() if line not in self.mounts]
        found += [line for line in self.mounts if line not in mounts()]
        return found + [name for name in links() if name not in self.links]

    def remove(self, after: object = None) -> None:
        """Remove the container by force: completely."""
        done = self.call("delete", "--force", "c")
        assert done.code == 0, (after, done)
        left = self.left()
        assert not left, after
        orphans = self.launcher.orphans()
        assert not orphans, after
        self.tidy()

    def tidy(self) -> None:
        """Remove what belongs to the caller: the pid file, and what the program has written."""
        for path in [*self.directory.glob("c.pid*"), self.bundle / "rootfs/ran"]:
            path.unlink(missing_ok=True)


class Sockets(ConsoleSocket):
    """A console socket whose terminals nobody wants."""

    def drain(self) -> None:
        """Let go of every connection."""
        self._listener.setblocking(False)
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.close()


def _nothing(_config: Config) -> None:
    return


def _fifo(config: Config) -> None:
    config["annotations"] = {"org.openwrt.uxc.frozen-at-exec": "false"}


def _user_namespace(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"].update(uidMappings=maps, gidMappings=maps)


def _go_between(config: Config) -> None:
    _user_namespace(config)
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = "/proc/self/ns/net"
    config["mounts"] = [one for one in config["mounts"] if one["type"] != "sysfs"]


def _hooks(config: Config) -> None:
    inside = {"path": "/bin/true"}
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in kinds}
    config["hooks"]["startContainer"] = [inside]


def _terminal(config: Config) -> None:
    config["process"]["terminal"] = True


def _no_process(config: Config) -> None:
    del config["process"]


def _host_mounts(config: Config) -> None:
    config["linux"]["namespaces"] = [
        one for one in config["linux"]["namespaces"] if one["type"] != "mount"
    ]
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []


def _limits(config: Config) -> None:
    config["linux"]["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 50})


def _seccomp(config: Config) -> None:
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}],
    }


KINDS: dict[str, Edit] = {
    "plain": _nothing,
    "fifo": _fifo,
    "user-namespace": _user_namespace,
    "go-between": _go_between,
    "hooks": _hooks,
    "terminal": _terminal,
    "no-process": _no_process,
    "host-mounts": _host_mounts,
    "limits": _limits,
    "seccomp": _seccomp,
    "notify": _nothing,
}

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def case(launcher: Launcher, bundle: Bundle, tmp_path: Path) -> Iterator[Callable[..., Case]]:
    """Return a function that prepares a container of a kind."""
    opened: list[Sockets] = []
    cases: list[Case] = []

    def make(kind: str = "plain", *program: str) -> Case:
        group = f"faults-{uuid.uuid4().hex[:12]}"

        def edit(config: Config) -> None:
            # A parent of its own: that has to go, too.
            config["linux"]["cgroupsPath"] = f"/{group}/c"
            KINDS[kind](config)

        where = bundle(*(program or PROGRAM), edit=edit)
        (where / "rootfs").chmod(0o777)
        made = Case(launcher, where, tmp_path, group)
        cases.append(made)
        if kind == "terminal":
            made.consoles = Sockets(tmp_path / "console")
            opened.append(made.consoles)
            made.options = ("--console-socket", str(made.consoles.path))
        if kind == "notify":
            made.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        return made

    yield make
    # A test that failed has perhaps left something.
    for one in cases:
        one.call("delete", "--force", "c")
    launcher.orphans(0.0)
    for sockets in opened:
        sockets.close()


def _of(steps: list[Step], role: str) -> list[Step]:
    return [step for step in steps if step[0] == role]


def _from_reservation(steps: list[Step]) -> list[Step]:
    """Return the steps of the runtime since it began to make something."""
    names = [name for _, name, _ in steps]
    return steps[names.index(BEGINS) :]


def _may_fail(step: Step) -> bool:
    _, name, _ = step
    function, event = name.split(":")[1:]
    parts = function.split(".")
    return (
        event == "call"
        and name not in UNGUARDED
        and not any(
            part.strip("_").startswith(CANNOT_FAIL) or part in CANNOT_FAIL for part in parts
        )
    )


def _recorded(case: Case, kind: str) -> list[Step]:
    """Return the steps of creating the container, which is removed again."""
    # What is made once only, like a compiled filter, is there from the first time on.
    case.ok("create", "c")
    case.remove()
    steps = case.steps("create", "c")
    case.remove()
    return steps


@every_kind
def test_a_create_killed_at_a_step(case: Callable[..., Case], kind: str) -> None:
    """The program has not run, the state is told, the id can be had again or removed."""
    made = case(kind)
    steps = _from_reservation(_of(_recorded(made, kind), "runtime"))
    for number, step in enumerate(sample(steps, STEPS_OF_CREATE, f"killed {kind}")):
        done = made.call("create", "c", mode=KILL, step=step)
        assert done.fired, step
        assert done.code == -9, (step, done)
        status = made.status()
        assert status in ("", "stopped", "created"), step
        if number % 3 == 1:
            again = made.call("create", "c", mode=KILL, step=step)
            assert again.code in (-9, 1), (step, again)
        elif number % 3 == 2:
            again = made.call("create", "c")
            if status == "created":
                assert again.code == 1, step
                assert "already exists" in again.output, step
            else:
                assert again.code == 0, (step, status, again)
                assert made.status() == "created"
        assert not made.ran, step
        made.remove(step)


@every_kind
def test_a_create_whose_first_process_is_killed(case: Callable[..., Case], kind: str) -> None:
    """Until it is ready the create fails, and nothing is left; after that it has stopped."""
    made = case(kind)
    recorded = _recorded(made, kind)
    steps = _of(recorded, "first") + _of(recorded, "between")
    for step in sample(steps, STEPS_OF_CREATE, f"first {kind}"):
        done = made.call("create", "c", mode=KILL, step=step)
        if done.code:
            assert done.code == 1, (step, done)
            assert done.output.startswith("uxc-runtime: "), (step, done)
            left = made.left()
            assert not left, (step, done)
            assert not made.pid_file.exists(), step
        else:
            # It had done its part, and was on record.
            assert made.status() in ("stopped", "created"), step
        assert not made.ran, step
        made.remove(step)


@every_kind
def test_a_create_in_which_a_step_fails(case: Callable[..., Case], kind: str) -> None:
    """It says so in one line, and nothing is left at once."""
    made = case(kind)
    recorded = _recorded(made, kind)
    steps = _from_reservation(_of(recorded, "runtime"))
    steps += _of(recorded, "first") + _of(recorded, "between")
    steps = [step for step in steps if _may_fail(step)]
    for step in sample(steps, STEPS_OF_CREATE, f"fails {kind}"):
        done = made.call("create", "c", mode=FAIL, step=step)
        assert done.fired or step[0] == "first", step
        if done.code:
            _check_failure(done, step)
            assert not made.left(), (step, done)
            assert not made.pid_file.exists(), step
        else:
            # There is another way to do it; or the first process was left to itself already.
            ends = ("created",) if step[0] == "runtime" else ("created", "stopped")
            assert made.status() in ends, step
        assert not made.ran, step
        made.remove(step)


def _check_failure(done: Outcome, step: Step) -> None:
    lines = done.output.splitlines()
    assert done.code in (1, 255), (step, done)
    assert lines[0].startswith("uxc-runtime: "), (step, done)
    assert not [one for one in lines[1:] if not one.startswith("uxc-runtime: hint: ")], (step, done)


@pytest.mark.parametrize("kind", ["plain", "fifo", "hooks", "user-namespace"])
def test_a_start_killed_at_a_step(case: Callable[..., Case], kind: str) -> None:
    """The program runs, or another start lets it; with one or the other it runs once."""
    made = case(kind)
    made.ok("create", "c")
    steps = made.steps("start", "c")
    made.remove()
    for step in sample(_of(steps, "runtime"), STEPS_OF_OTHERS, f"start {kind}"):
        made.ok("create", "c")
        done = made.call("start", "c", mode=KILL, step=step)
        assert done.code == -9, (step, done)
        assert made.status() in ("created", "running"), step
        again = made.call("start", "c")
        assert again.code == 0 or "already running" in again.output, (step, again)
        until(lambda: made.ran, "the program")
        assert made.status() == "running", step
        made.remove(step)


@pytest.mark.parametrize("kind", ["plain", "user-namespace"])
@pytest.mark.parametrize("mode", [KILL, FAIL])
def test_an_exec_killed_or_failing_at_a_step(
    case: Callable[..., Case], kind: str, mode: str
) -> None:
    """The container goes on as before; of the program there is nothing, or it has run."""
    made = case(kind)
    made.ok("create", "c")
    made.ok("start", "c")
    words = ("exec", "--detach", "--pid-file", str(made.directory / "c.pid-of-exec"), "c", "true")
    steps = made.steps(*words)
    (made.directory / "c.pid-of-exec").unlink()
    first = json.loads(made.ok("state", "c"))["pid"]
    if mode == FAIL:
        steps = [step for step in steps if _may_fail(step)]
    steps = [step for step in steps if step[0] != "child"]
    for step in sample(steps, 2 * STEPS_OF_OTHERS, f"exec {kind} {mode}"):
        done = made.call(*words, mode=mode, step=step)
        assert done.fired, step
        if mode == FAIL and done.code:
            _check_failure(done, step)
            assert not [*made.directory.glob("c.pid-of-exec*")], step
        elif step[0] == "runtime" and mode == KILL:
            assert done.code == -9, (step, done)
        others = soon_empty(
            lambda: [one for one in json.loads(made.ok("ps", "-f", "json", "c")) if one != first]
        )
        assert not others, step
        assert made.status() == "running", step
        for path in made.directory.glob("c.pid-of-exec*"):
            path.unlink()
    made.remove()


CREATED: tuple[str, ...] = ()
RUNNING = ("start",)
PAUSED = ("start", "pause")


@pytest.mark.parametrize(
    ("kind", "before", "words"),
    [
        ("plain", CREATED, ("delete", "c")),
        ("plain", RUNNING, ("delete", "--force", "c")),
        ("plain", PAUSED, ("delete", "--force", "c")),
        ("fifo", CREATED, ("delete", "c")),
        ("host-mounts", RUNNING, ("delete", "--force", "c")),
        ("hooks", RUNNING, ("delete", "--force", "c")),
        ("limits", RUNNING, ("delete", "--force", "c")),
        ("notify", RUNNING, ("delete", "--force", "c")),
        ("plain", RUNNING, ("kill", "c", "KILL")),
        ("plain", RUNNING, ("kill", "--all", "c", "KILL")),
        ("plain", RUNNING, ("kill", "--all", "c", "TERM")),
        ("plain", RUNNING, ("pause", "c")),
        ("plain", PAUSED, ("resume", "c")),
        ("plain", RUNNING, ("update", "--memory", "67108864", "--pids-limit", "40", "c")),
    ],
)
@pytest.mark.parametrize("mode", [KILL, FAIL])
def test_a_command_killed_or_failing_at_a_step(
    case: Callable[..., Case],
    kind: str,
    before: tuple[str, ...],
    words: tuple[str, ...],
    mode: str,
) -> None:
    """The container is in one state or another, and can be removed; no error hides as success."""
    made = case(kind)

    def prepare() -> None:
        made.ok("create", "c")
        for command in before:
            made.ok(command, "c")

    prepare()
    steps = [step for step in made.steps(*words) if step[0] == "runtime"]
    if made.status():
        made.remove()
    if mode == FAIL:
        steps = [step for step in steps if _may_fail(step)]
    for step in sample(steps, STEPS_OF_OTHERS, f"{words} {mode}"):
        prepare()
        done = made.call(*words, mode=mode, step=step)
        assert done.fired, step
        if mode == KILL:
            assert done.code == -9, (step, done)
        elif done.code:
            _check_failure(done, step)
        status = made.status()
        if mode == FAIL and done.code and words[0] == "pause":
            assert status == "running", (step, done)
        if status == "paused":
            made.ok("resume", "c")
            assert made.status() in ("running", "stopped"), step
        made.remove(step)


@pytest.mark.parametrize("kind", ["plain", "fifo", "hooks"])
def test_a_run_killed_at_a_step(case: Callable[..., Case], kind: str) -> None:
    """Whatever it was at, the container can be removed."""
    made = case(kind, "true")
    steps = made.steps("run", "c")
    assert not made.left()
    made.tidy()
    for step in sample(_from_reservation(_of(steps, "runtime")), STEPS_OF_CREATE, f"run {kind}"):
        done = made.call("run", "c", mode=KILL, step=step)
        assert done.fired, step
        assert done.code == -9, (step, done)
        made.status()
        made.remove(step)


def test_the_launcher_sees_the_steps(case: Callable[..., Case]) -> None:
    """Processes are told apart, and the steps are those of the code."""
    made = case("go-between")
    made.ok("create", "c")
    made.remove()
    steps = made.steps("create", "c")
    made.remove()

    def names(role: str) -> list[Any]:
        return [name for _, name, _ in _of(steps, role)]

    assert "uxc.oci.creation:Creation.make:return" in names("runtime")
    assert names("between")[0] == "uxc.oci.process:_go_between:call"
    assert names("first")[0] == "uxc.oci.init:run:call"
    assert "uxc.oci.program:become:return" in names("first")
    assert not set(names("first")) & {BEGINS}
