"""create, start, state, kill, delete, list, run: what each does, and what it says otherwise."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtimes import OURS, RUNTIME, Config, Runtime
from uxc.oci.cgroup import layout

pytestmark = pytest.mark.vm

Bundle = Callable[..., Path]


def test_a_created_container_has_not_run_its_program(runtime: Runtime, bundle: Bundle) -> None:
    """Between create and start the program does nothing, and start lets it go."""
    where = bundle("sh", "-c", "echo ran > /ran; sleep 60")

    runtime.created(where)

    assert runtime.status() == "created"
    assert not (where / "rootfs/ran").exists()

    runtime.ok("start", "c")
    deadline = time.monotonic() + 10
    while not (where / "rootfs/ran").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert runtime.status() == "running"


def test_the_state_is_what_clients_read(runtime: Runtime, bundle: Bundle) -> None:
    """The state object has the keys of the specification and those that runc adds."""
    where = bundle("true", edit=lambda config: config.update(annotations={"a.b": "c"}))

    pid = runtime.created(where)
    state = runtime.state()

    assert state["id"] == "c"
    assert state["pid"] == pid
    assert state["bundle"] == str(where)
    assert state["rootfs"] == str(where / "rootfs")
    assert state["annotations"] == {"a.b": "c"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", state["created"])
    assert state["owner"] in ("root", "")
    assert re.fullmatch(r"1\.\d+\.\d+(-dev)?", state["ociVersion"])


def test_the_pid_file_holds_the_pid_alone(runtime: Runtime, bundle: Bundle) -> None:
    """The pid is written in decimal without a newline: clients parse the whole file."""
    pid = runtime.created(bundle("true"))

    assert runtime.pid_file("c").read_text() == str(pid)


def test_the_first_process_belongs_to_the_caller(runtime: Runtime, bundle: Bundle) -> None:
    """A subreaper that called create is the parent, and reads the exit code."""
    pid = runtime.created(bundle("sh", "-c", "exit 42"))

    assert f"PPid:\t{os.getpid()}" in Path(f"/proc/{pid}/status").read_text()

    runtime.ok("start", "c")

    assert runtime.wait() == 42
    assert runtime.status() == "stopped"
    assert runtime.state().get("pid", 0) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.ours
def test_a_created_container_can_be_ended_by_a_signal(
    runtime: Runtime, bundle: Bundle, number: signal.Signals
) -> None:
    """The first process is pid 1, for which the kernel drops signals without a handler.

    Frozen at its execve it can be ended by SIGKILL only.
    """
    runtime.created(bundle("true"))

    runtime.ok("kill", "c", str(int(number)))

    assert runtime.wait() in (128 + number, 128 + signal.SIGKILL)
    assert runtime.status() == "stopped"


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15", "sigterm"])
def test_signals_have_names_and_numbers(runtime: Runtime, bundle: Bundle, name: str) -> None:
    """kill takes a signal as people and as programs write it."""
    runtime.created(bundle("sh", "-c", "trap 'exit 7' TERM; echo set; while :; do sleep 0.1; done"))
    runtime.ok("start", "c")
    while "set" not in runtime.output():
        time.sleep(0.01)

    runtime.ok("kill", "c", name)

    assert runtime.wait() == 7


def test_kill_all_reaches_every_process(runtime: Runtime, bundle: Bundle) -> None:
    """With --all every process of the container gets the signal."""
    script = "(trap 'echo child; exit' USR1; echo up; while :; do sleep 0.1; done) &"
    script += " trap '' USR1; wait; exit 3"
    runtime.created(bundle("sh", "-c", script))
    runtime.ok("start", "c")
    while "up" not in runtime.output():
        time.sleep(0.01)

    runtime.ok("kill", "--all", "c", "USR1")
    runtime.wait()

    assert "child" in runtime.output()


def test_start_is_for_created_containers(runtime: Runtime, bundle: Bundle) -> None:
    """A second start changes nothing and fails, while the program runs and after it ended."""
    runtime.created(bundle("sleep", "60"))
    runtime.ok("start", "c")

    done = runtime.call("start", "c")

    assert done.returncode == 1
    assert "cannot start" in done.stderr
    assert runtime.status() == "running"

    runtime.ok("kill", "c", "KILL")
    runtime.wait()

    assert runtime.call("start", "c").returncode == 1


def test_delete_wants_a_stopped_container(runtime: Runtime, bundle: Bundle) -> None:
    """A running container is not deleted without --force, with the words clients look for."""
    pid = runtime.created(bundle("sleep", "60"))
    runtime.ok("start", "c")

    done = runtime.call("delete", "c")

    assert done.returncode == 1
    assert re.search("cannot delete container .*c.* that is not stopped: running", done.stderr)
    assert Path(f"/proc/{pid}").exists()

    runtime.ok("delete", "--force", "c")

    assert runtime.wait() == 128 + signal.SIGKILL
    assert not list(runtime.root.glob("*"))


def test_a_created_container_can_be_deleted(runtime: Runtime, bundle: Bundle) -> None:
    """Its program never ran, so nothing is lost; clients rely on it."""
    runtime.created(bundle("true"))

    runtime.ok("delete", "c")

    assert runtime.call("state", "c").returncode == 1


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete"])
def test_an_unknown_container_is_an_error(runtime: Runtime, command: str) -> None:
    """Clients tell this error from others by "does not exist"."""
    done = runtime.call(command, "unknown")

    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert done.stdout == ""


def test_forced_delete_of_an_unknown_container_is_fine(runtime: Runtime) -> None:
    """Clients clean up with it without looking first."""
    assert runtime.call("delete", "--force", "unknown").returncode == 0


def test_a_signal_for_a_stopped_container_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    """Clients take "container not running" for success."""
    runtime.created(bundle("true"))
    runtime.ok("start", "c")
    runtime.wait()

    done = runtime.call("kill", "c")

    assert done.returncode == 1
    assert "not running" in done.stderr


def test_null_is_absent(runtime: Runtime, bundle: Bundle) -> None:
    """Go's encoder writes null for empty lists, maps and pointers; it is as if nothing was said."""

    def edit(config: Config) -> None:
        for name in ("hooks", "annotations", "domainname"):
            config[name] = None
        config["process"].update(rlimits=None, apparmorProfile=None, oomScoreAdj=None)
        config["process"]["user"]["additionalGids"] = None
        config["linux"].update(
            dict.fromkeys(("devices", "sysctl", "seccomp", "uidMappings", "timeOffsets"))
        )
        config["linux"]["resources"] = {"memory": None, "pids": None, "devices": None}

    done = runtime.run(bundle("echo", "fine", edit=edit))

    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_an_id_is_taken_once(runtime: Runtime, bundle: Bundle) -> None:
    """The second create fails and leaves the first one's container alone."""
    where = bundle("true")
    runtime.created(where)

    done = runtime.call("create", "--bundle", str(where), "c")

    assert done.returncode == 1
    assert "container with given ID already exists" in done.stderr
    assert runtime.status() == "created"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "", "a b", "ä", "a\nb"])
@pytest.mark.ours
def test_an_id_is_a_plain_name(runtime: Runtime, bundle: Bundle, name: str) -> None:
    """What could leave the state directory is refused before anything is made."""
    done = runtime.call("create", "--bundle", str(bundle("true")), name)

    assert done.returncode == 1
    assert "invalid container ID format" in done.stderr
    assert not runtime.root.exists()


def test_list_names_all_containers(runtime: Runtime, bundle: Bundle) -> None:
    """For people a table, for programs JSON of state objects, or bare ids."""
    where = bundle("true")
    runtime.created(where, "one")
    runtime.created(where, "two")

    table = runtime.ok("list").splitlines()
    documents = json.loads(runtime.ok("list", "--format", "json"))

    assert table[0].split()[:5] == ["ID", "PID", "STATUS", "BUNDLE", "CREATED"]
    assert [line.split()[0] for line in table[1:]] == ["one", "two"]
    assert [(one["id"], one["status"]) for one in documents] == [
        ("one", "created"),
        ("two", "created"),
    ]
    assert runtime.ok("list", "--quiet").split() == ["one", "two"]


def test_run_answers_the_exit_code_of_the_program(runtime: Runtime, bundle: Bundle) -> None:
    """Its output and exit code are the program's, and nothing is left."""
    done = runtime.run(bundle("sh", "-c", "echo out; echo err >&2; exit 5"))

    assert (done.returncode, done.stdout) == (5, "out\n")
    assert "err\n" in done.stderr
    assert not list(runtime.root.glob("*"))


def test_run_answers_signals_as_shells_do(runtime: Runtime, bundle: Bundle) -> None:
    """A program that signal 9 ended gives 137; pid 1 can only be hit from outside, so a child."""
    done = runtime.run(bundle("sh", "-c", "sh -c 'kill -KILL $$'; exit $?"))

    assert done.returncode == 137


def test_run_detached_leaves_it_running(runtime: Runtime, bundle: Bundle) -> None:
    """With --detach run returns as soon as the program runs."""
    where = bundle("sleep", "60")
    out = (runtime.directory / "d.out").open("wb")
    with out:
        subprocess.run(
            [RUNTIME, "--root", str(runtime.root), "run", "--detach", "--bundle", str(where),
             "--pid-file", str(runtime.pid_file("d")), "d"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True, timeout=30,
        )  # fmt: skip

    try:
        assert runtime.status("d") == "running"
    finally:
        runtime.ok("delete", "--force", "d")
        runtime.wait("d")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", "line 1"), ("{", "line 1"), ("[]", "must be an object"), ('{"ociVersion": 1}', "ociV")],
)
@pytest.mark.ours
def test_what_is_no_bundle_is_refused(
    runtime: Runtime, tmp_path: Path, text: str, wanted: str
) -> None:
    """One line says what is wrong and where."""
    (tmp_path / "config.json").write_text(text)

    done = runtime.call("create", "--bundle", str(tmp_path), "c")

    assert done.returncode == 1
    assert "config.json" in done.stderr
    assert wanted in done.stderr
    assert not runtime.root.exists()


def test_a_missing_bundle_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    """The path that is missing is named."""
    done = runtime.call("create", "--bundle", str(tmp_path / "none"), "c")

    assert done.returncode == 1
    assert "no such file or directory" in done.stderr.lower()


def test_errors_go_to_the_log_too(runtime: Runtime, tmp_path: Path) -> None:
    """containerd and Podman read the last line of a JSON log, whose time must parse."""
    log = tmp_path / "log"

    done = runtime.call("--log", str(log), "--log-format", "json", "state", "unknown")
    record = json.loads(log.read_text().splitlines()[-1])

    assert done.returncode == 1
    assert record["level"] == "error"
    assert "does not exist" in record["msg"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$", record["time"])


def test_the_version_names_the_specification(runtime: Runtime) -> None:
    """Clients show the first line, and read the line that begins with spec."""
    lines = runtime.ok("--version").splitlines()

    assert re.match(r"\S+ version \S+", lines[0])
    assert any(line.startswith("spec: 1.") for line in lines)


@pytest.mark.parametrize("words", [["--unknown"], ["unknown"], ["create"], ["state", "a", "b"], []])
@pytest.mark.ours
def test_a_wrong_command_line_is_an_error(runtime: Runtime, words: list[str]) -> None:
    """Exit code 1 and a sentence on stderr; nothing on stdout."""
    done = runtime.call(*words)

    assert done.returncode == 1
    assert done.stderr
    assert done.stdout == ""


@pytest.mark.ours
def test_a_create_killed_at_any_moment_can_be_cleaned_up(runtime: Runtime, bundle: Bundle) -> None:
    """After SIGKILL of create, forced delete or a new create leaves nothing of the dead one."""
    where = bundle("sleep", "60")
    moments = random.Random(4)
    for round_ in range(24):
        with (runtime.directory / "killed.out").open("wb") as out:
            process = subprocess.Popen(
                [OURS, "--root", str(runtime.root), "create", "--bundle", str(where), "c"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
            time.sleep(moments.uniform(0.005, 0.05))
            process.kill()
            process.wait()
        if round_ % 2:
            runtime.ok("delete", "--force", "c")
        elif runtime.call("state", "c").returncode == 0 and runtime.status() == "created":
            runtime.ok("delete", "c")
        else:
            runtime.created(where)
            runtime.ok("delete", "c")
            runtime.wait()

        assert not list(runtime.root.glob("*"))
    _reap_all()


def _reap_all() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            return


@pytest.mark.ours
def test_commands_at_once_do_not_meet(runtime: Runtime, bundle: Bundle) -> None:
    """Of many creates of one id exactly one wins; of many starts too."""
    where = bundle("sleep", "60")

    def at_once(*words: str) -> list[int]:
        with (runtime.directory / "c.out").open("ab") as out:
            processes: list[subprocess.Popen[Any]] = [
                subprocess.Popen(
                    [OURS, "--root", str(runtime.root), *words],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                )
                for _ in range(6)
            ]  # fmt: skip
            return sorted(process.wait(30) for process in processes)

    pid_file = str(runtime.pid_file("c"))
    created = at_once("create", "--bundle", str(where), "--pid-file", pid_file, "c")
    started = at_once("start", "c")
    runtime.ok("delete", "--force", "c")

    assert created == [0, 1, 1, 1, 1, 1]
    assert started == [0, 1, 1, 1, 1, 1]
    _reap_all()


@pytest.fixture
def used_cgroup() -> Iterator[Path]:
    """Return a cgroup of the v2 tree in which everything was killed before."""
    root = layout.probe().unified
    place = Path(root, f"uxctest-used-{os.getpid()}")
    place.mkdir()
    (place / "cgroup.kill").write_text("1")
    yield place
    place.rmdir()


@pytest.mark.ours
@pytest.mark.needs("cgroup2-freezer")
def test_a_caller_from_a_cgroup_that_was_killed(
    runtime: Runtime, bundle: Bundle, used_cgroup: Path
) -> None:
    """A service that is started again in its old cgroup makes containers as the first one did.

    Linux 6.18 kills what is born from such a cgroup into another one.
    """
    own = Path("/proc/self/cgroup").read_text().splitlines()[-1].removeprefix("0::/")
    root = used_cgroup.parent
    (used_cgroup / "cgroup.procs").write_text("0")
    try:
        runtime.created(bundle("sh", "-c", "exit 7"))
    finally:
        (root / own / "cgroup.procs").write_text("0")

    runtime.ok("start", "c")

    assert runtime.wait() == 7


def test_a_caller_may_ignore_the_end_of_children(runtime: Runtime, bundle: Bundle) -> None:
    """As a daemon that reaps nobody does; the kernel would then reap ours as well."""
    where = bundle("sh", "-c", "exit 7")
    program = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    program += "; os.execvp(sys.argv[1], sys.argv[1:])"
    command = [RUNTIME, "--root", str(runtime.root), "run", "--bundle", str(where), "r"]

    done = subprocess.run([sys.executable, "-c", program, *command], check=False)

    assert done.returncode == 7
