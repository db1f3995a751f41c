"""NOTIFY_SOCKET: a service in a container says that it is ready, and its supervisor hears it."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtimes import RUNTIME, Runtime

Bundle = Callable[..., Path]


class Supervisor:
    """What systemd is to a service: a socket for messages, named in the environment."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(10)
        self.environment = {**os.environ, "NOTIFY_SOCKET": str(path)}

    def receive(self) -> str:
        """Return everything up to the barrier, which is answered as systemd does."""
        seen = ""
        while True:
            data, fds, _, _ = socket.recv_fds(self.sock, 4096, 1)
            for fd in fds:
                os.close(fd)
            if data == b"BARRIER=1":
                return seen
            seen += data.decode()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Return a supervisor."""
    made = Supervisor(tmp_path / "supervisor")
    yield made
    made.sock.close()


def start(runtime: Runtime, supervisor: Supervisor) -> "subprocess.Popen[bytes]":
    """Begin to start the container for the supervisor."""
    command = [RUNTIME, "--root", str(runtime.root), "start", "c"]
    return subprocess.Popen(command, env=supervisor.environment)


def say(pid: int, *messages: bytes) -> None:
    """Send messages to the socket that the container sees, as a process inside would."""
    path = f"/proc/{pid}/root/run/notify/notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        for message in messages:
            sock.sendto(message, path)


def wait_for_socket(pid: int) -> None:
    """Wait until start listens."""
    deadline = time.monotonic() + 10
    while not Path(f"/proc/{pid}/root/run/notify/notify.sock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.ours
def test_ready_is_told_with_the_pid_on_the_host(
    runtime: Runtime, bundle: Bundle, supervisor: Supervisor
) -> None:
    """start returns after it; a pid that the container names is one of its own, and not told."""
    pid = runtime.created(bundle("sleep", "60"), env=supervisor.environment)
    starting = start(runtime, supervisor)
    wait_for_socket(pid)

    say(pid, b"STATUS=loading", b"MAINPID=1\nREADY=1\n")
    told = supervisor.receive()

    assert sorted(told.split()) == [f"MAINPID={pid}", "READY=1"]
    assert starting.wait(10) == 0
    assert runtime.status() == "running"


def test_the_program_finds_the_socket(
    runtime: Runtime, bundle: Bundle, supervisor: Supervisor
) -> None:
    """In its environment, and behind it one that it can write to, below a mount that it cannot."""
    script = (
        "echo $NOTIFY_SOCKET; [ -S $NOTIFY_SOCKET ] && [ -w $NOTIFY_SOCKET ] && echo there;"
        "touch /run/notify/x 2>/dev/null || echo fixed"
    )
    runtime.created(bundle("sh", "-c", script), env=supervisor.environment)

    # Its end without a word ends start as well.
    assert start(runtime, supervisor).wait(20) == 0
    assert runtime.output().split() == ["/run/notify/notify.sock", "there", "fixed"]


@pytest.mark.ours
def test_start_waits_for_nobody_who_was_not_announced(
    runtime: Runtime, bundle: Bundle, supervisor: Supervisor
) -> None:
    """A container that was created without a supervisor has no socket to be ready on."""
    runtime.created(bundle("sleep", "60"))

    assert start(runtime, supervisor).wait(10) == 0
    assert runtime.status() == "running"


@pytest.mark.ours
def test_run_is_what_the_supervisor_watches(
    runtime: Runtime, bundle: Bundle, supervisor: Supervisor
) -> None:
    """As long as run stays, its pid is the service's; the exit code comes through as always."""
    where = bundle("sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; exit 3")
    command = [RUNTIME, "--root", str(runtime.root), "run", "--bundle", str(where)]
    command += ["--pid-file", str(runtime.pid_file("c")), "c"]
    with subprocess.Popen(command, env=supervisor.environment, stdin=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 10
        while not runtime.pid_file("c").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pid = int(runtime.pid_file("c").read_text())
        wait_for_socket(pid)
        say(pid, b"READY=1")

        assert f"MAINPID={run.pid}" in supervisor.receive()

        (where / "rootfs/go").touch()
        assert run.wait(20) == 3
    assert not list(runtime.root.glob("*"))


def test_delete_removes_the_socket(
    runtime: Runtime, bundle: Bundle, supervisor: Supervisor
) -> None:
    """Nothing of it stays in the state directory."""
    runtime.created(bundle("true"), env=supervisor.environment)
    start(runtime, supervisor).wait(20)
    runtime.wait()
    runtime.ok("delete", "c")

    assert not list(runtime.root.glob("*"))
