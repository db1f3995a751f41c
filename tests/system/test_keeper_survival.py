"""What outlives what: containers the keeper, the keeper its service, namespaces both."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import needs
from keepers import KeeperClient, Prefix, alive, hang, shown, wait_until
from uxc.errors import ConflictError, NotFoundError, UnavailableError
from uxc.keeper import spawn
from uxc.paths import Paths

LIB = Path(__file__).parents[2] / "lib"


def run(keeper: KeeperClient, name: str, bundle: str) -> int:
    """Create and start a container; return its pid."""
    pid = keeper.call("create", name=name, bundle=bundle)["pid"]
    keeper.call("start", name=name)
    assert isinstance(pid, int)
    return pid


def test_the_keeper_is_detached_from_its_starter(prefix: Prefix, keeper: KeeperClient) -> None:
    """Own session, no terminal, no pipe, no variable, no directory of whoever started it."""
    proc = Path(f"/proc/{prefix.pid}")
    environment = dict(
        entry.split("=", 1) for entry in (proc / "environ").read_text().split("\0") if entry
    )
    # The interpreter itself sets this one (PEP 538), and hands it on when it starts itself again.
    environment.pop("LC_CTYPE", None)
    stat = (proc / "stat").read_text().rpartition(")")[2].split()

    assert (proc / "comm").read_text() == "uxc-keeper\n"
    assert environment == {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "UXC_PREFIX": str(prefix.top),
    }
    assert [os.readlink(proc / "fd" / number) for number in "012"] == ["/dev/null"] * 3
    assert os.readlink(proc / "cwd") == "/"
    assert stat[4] == "0", "no controlling terminal"
    assert int(stat[3]) not in (prefix.pid, os.getsid(0)), "never a session leader again"
    assert int(stat[1]) != os.getpid()


def test_the_keeper_stays_small(prefix: Prefix, keeper: KeeperClient) -> None:
    """Its private memory is a few megabytes, before and after containers."""
    for _ in range(5):
        run(keeper, "web", prefix.bundle("web", "true"))
        keeper.event("web")
        keeper.call("delete", name="web")
    rollup = Path(f"/proc/{prefix.pid}/smaps_rollup").read_text().split()

    assert int(rollup[rollup.index("Private_Dirty:") + 1]) < 8_000


def test_a_second_client_finds_the_first_keeper(prefix: Prefix, keeper: KeeperClient) -> None:
    """There is one keeper for each prefix."""
    first = prefix.pid
    prefix.client()

    assert prefix.pid == first


def test_containers_and_their_output_outlive_the_keeper(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """SIGKILL of the keeper: the container goes on, what it prints meanwhile is shown later."""
    script = "n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); echo $n; sleep 0.02; done; exit 7"
    pid = run(keeper, "web", prefix.bundle("web", "sh", "-c", script))
    with keeper.viewer("web") as viewer:
        before = shown(viewer, until=b"3\n")
    prefix.kill_keeper()
    time.sleep(0.2)
    assert alive(pid)

    again = prefix.client()
    (entry,) = again.call("list")
    assert (entry["name"], entry["status"], entry["pid"]) == ("web", "running", pid)
    with again.viewer("web") as viewer:
        after = shown(viewer, until=b"20\n")
    assert set(range(1, 21)) <= {int(word) for word in (before + after).split()}

    (prefix.rootfs / "tmp/stop").touch()
    event = again.event("web")
    # Init reaps it, and a kernel from 6.15 on still tells how it ended.
    assert event["exit_code"] in (7, None)
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 15):
        assert event["exit_code"] == 7
    again.call("delete", name="web")


def test_a_created_container_can_be_started_by_the_next_keeper(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """Parked is parked, whoever watches."""
    keeper.call("create", name="web", bundle=prefix.bundle("web", "sleep", "100"))
    prefix.kill_keeper()

    again = prefix.client()
    assert again.call("list")[0]["status"] == "created"
    again.call("start", name="web")
    assert again.call("list")[0]["status"] == "running"
    again.call("kill", name="web", signal=signal.SIGKILL)

    assert again.event("web")["exit_code"] in (137, None)


def test_a_known_exit_code_is_not_forgotten(prefix: Prefix, keeper: KeeperClient) -> None:
    """The next keeper tells how a container ended that its predecessor saw end."""
    run(keeper, "web", prefix.bundle("web", "sh", "-c", "exit 42"))
    keeper.event("web")
    wait_until(
        lambda: Path(prefix.paths.container_root, "web/exit.json").exists(), "it is recorded"
    )
    prefix.kill_keeper()

    (entry,) = prefix.client().call("list")

    assert (entry["status"], entry["exit_code"]) == ("stopped", 42)


def test_an_end_that_nobody_saw_is_unknown(prefix: Prefix, keeper: KeeperClient) -> None:
    """While no keeper runs an exit code is lost, and the next one says so, not 0."""
    pid = run(keeper, "web", prefix.bundle("web", "sleep", "100"))
    prefix.kill_keeper()
    os.kill(pid, signal.SIGKILL)
    prefix.wait_gone(pid)

    again = prefix.client()
    (entry,) = again.call("list")
    with again.viewer("web") as viewer:
        assert shown(viewer) == b"<x >"

    assert (entry["status"], entry["exit_code"]) == ("stopped", None)


def test_a_terminal_goes_down_with_the_keeper(prefix: Prefix, keeper: KeeperClient) -> None:
    """The kernel hangs up the terminal that the keeper held: who reads from it ends."""
    pid = run(keeper, "web", prefix.bundle("web", "cat", terminal=True))
    prefix.kill_keeper()
    prefix.wait_gone(pid)

    (entry,) = prefix.client().call("list")

    assert (entry["status"], entry["terminal"]) == ("stopped", True)


def test_a_half_made_container_can_be_removed_by_the_next_keeper(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """A builder dies with its keeper, and leaves a name that delete frees."""
    before = prefix.files()
    hang(prefix, keeper, "slow")
    keeper.call("list")
    children = Path(f"/proc/{prefix.pid}/task/{prefix.pid}/children").read_text().split()
    assert len(children) == 1
    time.sleep(0.1)
    prefix.kill_keeper()
    prefix.wait_gone(int(children[0]))

    again = prefix.client()
    again.call("delete", name="slow", force=True)

    assert again.call("list") == []
    assert prefix.files() - {"keeper.sock"} == before - {"keeper.sock"}


def test_a_damaged_record_hides_no_other_container(prefix: Prefix, keeper: KeeperClient) -> None:
    """What cannot be read is left alone; all others are found again."""
    run(keeper, "web", prefix.bundle("web", "sleep", "100"))
    prefix.kill_keeper()
    for name, text in (("cut", "{"), ("odd", "{}"), ("early", "")):
        directory = Path(prefix.paths.container_root, name)
        directory.mkdir()
        if text:
            (directory / "state.json").write_text(text)

    assert [entry["name"] for entry in prefix.client().call("list")] == ["web"]


def test_sigterm_ends_an_empty_keeper_only(prefix: Prefix, keeper: KeeperClient) -> None:
    """Whoever kills all processes by name takes no container down."""
    keeper.call("create", name="web", bundle=prefix.bundle("web", "sleep", "9"))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(prefix.pid, number)
    assert keeper.call("list")[0]["status"] == "created"

    keeper.call("delete", name="web")
    os.kill(prefix.pid, signal.SIGTERM)
    prefix.wait_gone(prefix.pid)

    assert not os.path.exists(prefix.paths.keeper_socket)


def test_shutdown_is_refused_while_there_is_a_container(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """The keeper decides nothing: who wants it to end deletes the containers first."""
    keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))

    with pytest.raises(ConflictError, match="one container is still there"):
        keeper.call("shutdown")

    assert keeper.call("list")[0]["status"] == "created"


def test_the_keeper_ends_when_nobody_needs_it(prefix: Prefix, keeper: KeeperClient) -> None:
    """Without client and container it ends and removes its socket; with either it stays."""
    run(keeper, "web", prefix.bundle("web", "sh", "-c", "exit 5"))
    keeper.event("web")
    other = prefix.client()
    keeper.close()
    other.close()
    time.sleep(0.1)
    assert alive(prefix.pid), "a container that has ended still has an exit code and output"

    last = prefix.client()
    last.call("delete", name="web")
    assert alive(prefix.pid)
    last.close()
    prefix.wait_gone(prefix.pid)

    assert not os.path.exists(prefix.paths.keeper_socket)


def test_what_a_dead_keeper_left_is_no_obstacle(prefix: Prefix, keeper: KeeperClient) -> None:
    """Its socket file and its lock file are there, and the next one starts."""
    dead = prefix.pid
    prefix.kill_keeper()
    assert os.path.exists(prefix.paths.keeper_socket)

    prefix.client()

    assert prefix.pid != dead


def test_a_keeper_that_does_not_answer_is_named(prefix: Prefix, keeper: KeeperClient) -> None:
    """A stopped keeper holds its lock: starting another one fails within the time given."""
    os.kill(prefix.pid, signal.SIGSTOP)
    os.rename(prefix.paths.keeper_socket, prefix.paths.keeper_socket + ".hidden")
    try:
        before = time.monotonic()
        with pytest.raises(UnavailableError, match=r"another keeper holds .*/keeper\.lock"):
            spawn.ensure(prefix.paths, 1.0)
        assert time.monotonic() - before < 3
    finally:
        os.rename(prefix.paths.keeper_socket + ".hidden", prefix.paths.keeper_socket)
        os.kill(prefix.pid, signal.SIGCONT)

    assert prefix.client().call("list") == []


def test_a_keeper_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Its last words are in the error that the starter raises."""
    paths = Paths(str(tmp_path))
    (tmp_path / "var").write_text("a file where a directory belongs")

    with pytest.raises(UnavailableError, match=r"did not start: .*not a directory"):
        spawn.ensure(paths, 5.0)


def test_a_pinned_namespace_is_there_before_the_container(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """pin answers a path and a descriptor of one namespace, with lo up; the container joins it."""
    result, (fd,) = keeper.answer(keeper.ask("pin", {"name": "web"}))
    path = result["path"]
    assert os.fstat(fd).st_ino == os.stat(path).st_ino
    again, (second,) = keeper.answer(keeper.ask("pin", {"name": "web"}))
    assert (again["path"], os.fstat(second).st_ino) == (path, os.fstat(fd).st_ino)
    assert keeper.call("list") == [{"name": "web", "status": "uninitialized", "pinned": True}]

    bundle = Path(prefix.bundle("web", "ip", "-o", "link"))
    text = (bundle / "config.json").read_text()
    joined = f'{{"type": "network", "path": "{path}"}}'
    (bundle / "config.json").write_text(text.replace('{"type": "network"}', joined))
    run(keeper, "web", str(bundle))
    with keeper.viewer("web") as viewer:
        output = shown(viewer).decode()
    assert "lo: <LOOPBACK,UP" in output
    assert keeper.call("list")[0]["pinned"]

    keeper.call("delete", name="web")
    keeper.call("unpin", name="web")
    os.close(fd)
    os.close(second)
    assert not os.path.exists(path)
    assert keeper.call("list") == []
    with pytest.raises(NotFoundError):
        keeper.call("unpin", name="web")


def test_pinned_namespaces_outlive_the_keeper(prefix: Prefix, keeper: KeeperClient) -> None:
    """The next keeper has the very same namespace; half-made pins are cleaned up."""
    result, (fd,) = keeper.answer(keeper.ask("pin", {"name": "web"}))
    prefix.kill_keeper()
    Path(prefix.paths.netns_dir, "half").touch()

    again = prefix.client()
    assert [entry["name"] for entry in again.call("list")] == ["web"]
    found, (second,) = again.answer(again.ask("pin", {"name": "web"}))

    assert found == result
    assert os.fstat(second).st_ino == os.fstat(fd).st_ino
    assert os.listdir(prefix.paths.netns_dir) == ["web"]
    os.close(fd)
    os.close(second)


def test_the_keeper_leaves_the_cgroup_of_a_service(tmp_path: Path) -> None:
    """procd kills the cgroup of a service at each restart: the keeper is not in it any more."""
    root = needs.cgroup2_mount()
    if not root:
        pytest.skip("cgroup v2 is not mounted")
    prefix = Prefix(tmp_path)
    service = Path(root, f"services/uxc-test-{os.getpid()}/instance1")
    had_services = Path(root, "services").exists()
    service.mkdir(parents=True)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = (
        "import os, socket, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "open(sys.argv[2], 'w').write('0')\n"
        "from uxc.keeper import spawn\n"
        "from uxc.paths import Paths\n"
        "sock = spawn.ensure(Paths(sys.argv[3]))\n"
        "there = socket.socket(fileno=int(sys.argv[4]))\n"
        "socket.send_fds(there, [b'x'], [sock.fileno()])\n"
    )
    try:
        arguments = [str(LIB), f"{service}/cgroup.procs", str(tmp_path), str(there.fileno())]
        subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, pass_fds=[there.fileno()]
        )
        _, (fd,), _, _ = socket.recv_fds(here, 16, 1)
        client = KeeperClient(socket.socket(fileno=fd))
        prefix.clients.append(client)
        prefix.pid = client.call("hello")["pid"]
        own = Path(f"/proc/{prefix.pid}/cgroup").read_text()
        assert f"0::/{prefix.paths.cgroup_parent}/keeper\n" in own
        assert Path(service, "cgroup.procs").read_text() == ""

        pid = run(client, "web", prefix.bundle("web", "sleep", "100"))
        Path(service, "cgroup.kill").write_text("1")
        time.sleep(0.05)
        assert alive(pid)
        assert client.call("list")[0]["status"] == "running"
    finally:
        prefix.end()
        here.close()
        there.close()
        service.rmdir()
        service.parent.rmdir()
        if not had_services:
            service.parent.parent.rmdir()

    assert not Path(root, prefix.paths.cgroup_parent).exists()
