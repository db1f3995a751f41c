"""Containers below a real keeper: created, started, ended, deleted, and every code kept."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from keepers import KeeperClient, Prefix, alive, hang, shown, wait_until
from uxc.errors import ConflictError, InvalidError, NotFoundError, SystemFailure, UxcError

pytestmark = pytest.mark.vm


def entry(keeper: KeeperClient, name: str) -> dict[str, object]:
    """Return what ``list`` says about the container ``name``."""
    (found,) = (entry for entry in keeper.call("list") if entry["name"] == name)
    assert isinstance(found, dict)
    return found


def test_a_container_from_create_to_delete(prefix: Prefix, keeper: KeeperClient) -> None:
    """Created means parked; start runs it; its exit is told; delete leaves nothing."""
    before = prefix.files()
    bundle = prefix.bundle("web", "sh", "-c", "echo out; echo err >&2; exit 3")

    created = keeper.call("create", name="web", bundle=bundle)
    assert entry(keeper, "web") == {
        "name": "web",
        "status": "created",
        "pid": created["pid"],
        "exit_code": None,
        "signal": None,
        "terminal": False,
        "pinned": False,
    }

    keeper.call("start", name="web")
    event = keeper.event("web")
    assert event == {
        "event": "exit",
        "name": "web",
        "pid": created["pid"],
        "exit_code": 3,
        "signal": None,
    }
    assert entry(keeper, "web")["status"] == "stopped"
    assert entry(keeper, "web")["exit_code"] == 3

    with keeper.viewer("web") as late:
        assert shown(late) == b"out\nerr\n<x 3>"
    keeper.call("delete", name="web")

    assert keeper.call("list") == []
    assert prefix.files() == before


def test_start_answers_when_the_program_runs(prefix: Prefix, keeper: KeeperClient) -> None:
    """After the answer to start the process is the container's program."""
    bundle = prefix.bundle("web", "sleep", "100")
    pid = keeper.call("create", name="web", bundle=bundle)["pid"]

    keeper.call("start", name="web")

    assert os.readlink(f"/proc/{pid}/exe").endswith("/busybox")
    assert entry(keeper, "web")["status"] == "running"


def test_the_keeper_is_the_parent(prefix: Prefix, keeper: KeeperClient) -> None:
    """The builder is gone, and its orphan belongs to the keeper."""
    pid = keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))["pid"]

    def parent() -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    wait_until(lambda: parent() == prefix.pid, "the builder is gone")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_that_ends_a_container_is_told(
    prefix: Prefix, keeper: KeeperClient, number: int
) -> None:
    """The exit code is 128 plus the number, and the signal is named beside it."""
    bundle = prefix.bundle("web", "sh", "-c", f"trap 'trap - {number}; kill -{number} $$' 1; sleep")
    keeper.call("create", name="web", bundle=bundle)
    if number == signal.SIGKILL:
        keeper.call("kill", name="web", signal=number)
        event = keeper.event("web")
        assert (event["exit_code"], event["signal"]) == (128 + number, number)
    else:
        # Parked, it ends by any ending signal, although it is pid 1.
        keeper.call("kill", name="web", signal=number)
        # Frozen at its execve only SIGKILL reaches it.
        assert keeper.event("web")["exit_code"] in (128 + number, 128 + signal.SIGKILL)


def test_kill_reaches_the_program(prefix: Prefix, keeper: KeeperClient) -> None:
    """A signal that the program handles is delivered, and the program lives on."""
    script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    keeper.call("create", name="web", bundle=prefix.bundle("web", "sh", "-c", script))
    keeper.call("start", name="web")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready\n")
        keeper.call("kill", name="web", signal=signal.SIGUSR1)
        assert shown(viewer) == b"caught\n<x 9>"


def test_kill_all_reaches_every_process(prefix: Prefix, keeper: KeeperClient) -> None:
    """With ``all`` the children of init get the signal, too."""
    script = "(trap 'echo child; exit' TERM; while :; do sleep 0.05; done) & "
    script += "trap 'wait; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    keeper.call("create", name="web", bundle=prefix.bundle("web", "sh", "-c", script))
    keeper.call("start", name="web")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready\n")
        time.sleep(0.1)
        keeper.call("kill", name="web", signal=signal.SIGTERM, all=True)
        words = shown(viewer).split(b"\n")
    # The shell also reports the sleep that the signal has ended.
    assert b"child" in words
    assert words[-1] == b"<x 4>"


def test_delete_wants_force_while_it_runs(prefix: Prefix, keeper: KeeperClient) -> None:
    """A running container is not deleted by accident; with force it ends first."""
    pid = keeper.call("create", name="web", bundle=prefix.bundle("web", "sleep", "100"))["pid"]
    keeper.call("start", name="web")
    with pytest.raises(ConflictError, match="running"):
        keeper.call("delete", name="web")
    assert alive(pid)

    keeper.call("delete", name="web", force=True)

    assert not alive(pid)
    assert keeper.event("web")["exit_code"] == 137
    assert keeper.call("list") == []


def test_wrong_states_are_refused(prefix: Prefix, keeper: KeeperClient) -> None:
    """Create twice, start twice, start and kill after the end: each is a conflict."""
    bundle = prefix.bundle("web", "sleep", "100")
    keeper.call("create", name="web", bundle=bundle)
    with pytest.raises(ConflictError, match="exists already"):
        keeper.call("create", name="web", bundle=bundle)
    keeper.call("start", name="web")
    with pytest.raises(ConflictError, match="already running"):
        keeper.call("start", name="web")
    keeper.call("kill", name="web", signal=signal.SIGKILL)
    keeper.event("web")
    with pytest.raises(ConflictError, match="stopped"):
        keeper.call("start", name="web")
    with pytest.raises(ConflictError, match="not running"):
        keeper.call("kill", name="web", signal=15)


@pytest.mark.parametrize("op", ["start", "kill", "attach", "delete"])
def test_an_unknown_container_is_not_found(keeper: KeeperClient, op: str) -> None:
    """Every operation on a name that is not there says so."""
    with pytest.raises(NotFoundError, match="container 'nobody' does not exist"):
        keeper.call(op, name="nobody", signal=9)


@pytest.mark.parametrize("name", ["", "../x", ".", "..", "a/b", "a b", "ä", "x" * 300, "a\0b", 7])
def test_a_name_is_never_a_path(keeper: KeeperClient, name: object) -> None:
    """What cannot be a plain file name is refused before anything is touched."""
    for op in ("create", "pin", "delete"):
        with pytest.raises(InvalidError):
            keeper.call(op, name=name, bundle="/nowhere")


def test_a_failed_create_tells_why_and_leaves_nothing(prefix: Prefix, keeper: KeeperClient) -> None:
    """The core's own words arrive, and the name is free again."""
    before = prefix.files()
    bundle = prefix.bundle("web", "true")
    wrong = json.loads(Path(bundle, "config.json").read_text())
    wrong["process"]["args"] = ["/no/such/program"]
    Path(bundle, "config.json").write_text(json.dumps(wrong))

    with pytest.raises(UxcError, match="/no/such/program"):
        keeper.call("create", name="web", bundle=bundle)
    with pytest.raises(UxcError, match=r"config\.json"):
        keeper.call("create", name="web", bundle=str(prefix.top / "nowhere"))

    assert keeper.call("list") == []
    assert prefix.files() == before
    keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))


def workers(prefix: Prefix) -> list[int]:
    """Return the pids of the keeper's workers."""
    children = Path(f"/proc/{prefix.pid}/task/{prefix.pid}/children").read_text().split()
    found = []
    for pid in map(int, children):
        # Gone since it was listed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/comm").read_text() == "uxc-worker\n":
                found.append(pid)
    return found


def test_a_builder_that_hangs_delays_nobody(prefix: Prefix, keeper: KeeperClient) -> None:
    """While one create takes for ever, another container lives its whole life as fast as alone."""
    bundle = prefix.bundle("web", "true")

    def cycle() -> float:
        before = time.monotonic()
        keeper.call("create", name="web", bundle=bundle)
        keeper.call("start", name="web")
        keeper.event("web")
        keeper.call("delete", name="web")
        return time.monotonic() - before

    alone = min(cycle() for _ in range(5))
    hung = hang(prefix, keeper, "slow")
    wait_until(lambda: len(workers(prefix)) == 1, "the builder runs")
    beside = min(cycle() for _ in range(5))
    assert entry(keeper, "slow")["status"] == "creating"

    keeper.call("delete", name="slow", force=True)
    with pytest.raises(ConflictError, match="deleted meanwhile"):
        keeper.answer(hung)

    assert beside - alone < 0.05


def test_operations_on_a_container_in_the_making_are_refused(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """Only delete with force has an effect while a builder works."""
    hang(prefix, keeper, "slow")
    for op in ("start", "kill", "delete"):
        with pytest.raises(ConflictError, match="still being created"):
            keeper.call(op, name="slow", signal=15)
    with pytest.raises(ConflictError, match="exists already"):
        keeper.call("create", name="slow", bundle="/x")

    keeper.call("delete", name="slow", force=True)

    wait_until(lambda: workers(prefix) == [], "no worker is left")


def test_a_builder_that_is_killed_leaves_nothing(prefix: Prefix, keeper: KeeperClient) -> None:
    """The out-of-memory killer may take a builder: the request fails, the name is free."""
    before = prefix.files()
    hung = hang(prefix, keeper, "web")
    wait_until(lambda: len(workers(prefix)) == 1, "the builder runs")
    os.kill(workers(prefix)[0], signal.SIGKILL)
    with pytest.raises(SystemFailure, match="cannot create the container: ended by signal 9"):
        keeper.answer(hung)

    assert keeper.call("list") == []
    assert prefix.files() == before
    keeper.call("create", name="web", bundle=prefix.bundle("other", "true"))


def test_the_container_starts_with_what_everybody_gets(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """No descriptor, ignored signal, limit, umask or protection of the keeper's reaches it."""
    script = (
        "ls /proc/self/fd; grep SigIgn /proc/self/status; cat /proc/self/oom_score_adj; umask; pwd"
    )
    bundle = prefix.bundle("web", "sh", "-c", script, rlimits=[])
    limits = Path("/proc/self/limits").read_text()
    keeper.call("create", name="web", bundle=bundle)
    keeper.call("start", name="web")
    keeper.event("web")

    with keeper.viewer("web") as viewer:
        words = shown(viewer).decode().split()
    score = Path("/proc/self/oom_score_adj").read_text().strip()
    assert words == [
        *("0", "1", "2", "3"),
        *("SigIgn:", "0000000000000000", score, "0022", "/", "<x", "0>"),
    ]
    keeper.call("delete", name="web")

    keeper.call("create", name="web", bundle=prefix.bundle("web", "sleep", "9", rlimits=[]))
    keeper.call("start", name="web")
    pid = entry(keeper, "web")["pid"]
    assert Path(f"/proc/{pid}/limits").read_text() == limits


def test_cycles_leak_nothing(prefix: Prefix, keeper: KeeperClient) -> None:
    """After many containers the keeper has the descriptors and the files that it had before."""

    def cycle(terminal: bool) -> None:
        bundle = prefix.bundle("web", "echo", "hi", terminal=terminal)
        keeper.call("create", name="web", bundle=bundle)
        with keeper.viewer("web") as viewer:
            keeper.call("start", name="web")
            shown(viewer)
        keeper.call("delete", name="web")

    cycle(True)
    cycle(False)
    files = prefix.files()
    fds = len(os.listdir(f"/proc/{prefix.pid}/fd"))
    for number in range(30):
        cycle(number % 2 == 0)

    assert len(os.listdir(f"/proc/{prefix.pid}/fd")) == fds
    assert prefix.files() == files
    wait_until(lambda: workers(prefix) == [], "no worker is left")


def test_many_at_once(prefix: Prefix, keeper: KeeperClient) -> None:
    """Requests of one client are worked on side by side, and each exit finds its container."""
    names = [f"c{number}" for number in range(20)]
    asked = {
        name: keeper.ask(
            "create", {"name": name, "bundle": prefix.bundle(name, "sh", "-c", f"exit {name[1:]}")}
        )
        for name in names
    }
    for number in asked.values():
        keeper.answer(number)
    for name in names:
        keeper.call("start", name=name)

    assert [keeper.event(name)["exit_code"] for name in names] == list(range(20))


def test_a_command_that_holds_the_lock_delays_its_container_only(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """While somebody else works on a container its removal waits, and the keeper does not."""
    keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))
    keeper.call("start", name="web")
    keeper.event("web")
    lock = os.open(f"{prefix.paths.container_root}/web", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = keeper.ask("delete", {"name": "web"})
    before = time.monotonic()
    with pytest.raises(ConflictError, match="being deleted already"):
        keeper.call("delete", name="web")
    assert time.monotonic() - before < 1

    os.close(lock)
    keeper.answer(waiting)

    assert keeper.call("list") == []


def test_a_seccomp_agent_that_hangs_keeps_nobody_waiting(
    prefix: Prefix, keeper: KeeperClient, tmp_path: Path
) -> None:
    """The listener of a filter is handed over by a worker; others are served meanwhile."""
    path, compiled = tmp_path / "agent", Path(prefix.paths.seccomp_dir)
    bundle = prefix.bundle("web", "true")
    config = json.loads(Path(f"{bundle}/config.json").read_text())
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }
    Path(f"{bundle}/config.json").write_text(json.dumps(config))
    with contextlib.ExitStack() as opened:
        agent = opened.enter_context(socket.socket(socket.AF_UNIX))
        agent.bind(str(path))
        agent.listen(0)
        # One fits into the queue of an agent that accepts nobody; who comes next waits.
        opened.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        # The second time the profile has been compiled already, and no worker is needed for that.
        for _ in range(2):
            hung = keeper.ask("create", {"name": "web", "bundle": bundle})
            wait_until(lambda: len(workers(prefix)) == 1, "the builder runs")
            wait_until(lambda: any(compiled.glob("*.bpf")), "the profile is compiled")
            # Long enough for whoever hands the listener over to wait for the agent.
            time.sleep(0.3)
            assert len(keeper.call("list")) == 1
            keeper.call("delete", name="web", force=True)
            with pytest.raises(ConflictError, match="deleted meanwhile"):
                keeper.answer(hung)
