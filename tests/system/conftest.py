"""A manager under a private prefix, driven by its programs as a user would."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepers import KeeperClient, Prefix
from rootfs import busybox
from uxc import protocol
from uxc.demo import host
from uxc.paths import Paths

TOP = Path(__file__).parents[2]
PATIENCE_S = 15.0


def wait_until(what: str, is_there: Callable[[], object]) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_there():
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE_S} s"
        time.sleep(0.02)


class Machine:
    """One prefix with its configuration, its manager and its bundles."""

    def __init__(self, directory: Path) -> None:
        """Lay out an empty configuration; no manager runs yet."""
        self.directory = directory
        self.prefix = directory / "root"
        self.paths = Paths(str(self.prefix))
        self.environment = {
            "PATH": f"{TOP}/bin:{os.environ['PATH']}",
            "UXC_PREFIX": str(self.prefix),
            "LANG": "C.UTF-8",
        }
        self.manager: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []
        (self.prefix / "etc/config").mkdir(parents=True)
        (self.prefix / "tmp").mkdir()
        self.configure()

    def configure(self, uxc: str = "\n", network: str = "") -> None:
        """Replace both configuration files."""
        (self.prefix / "etc/config/uxc").write_text(uxc)
        (self.prefix / "etc/config/network").write_text(network)

    @property
    def config(self) -> str:
        """What /etc/config/uxc says."""
        return (self.prefix / "etc/config/uxc").read_text()

    @property
    def log(self) -> str:
        """What the managers have logged so far."""
        return (self.directory / "manager.log").read_text()

    def start_manager(self) -> None:
        """Start a manager and wait until it answers."""
        with (self.directory / "manager.log").open("ab") as log:
            self.manager = subprocess.Popen(
                ["uxc-manager", "--debug"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        wait_until("the manager", self._answers)

    def _answers(self) -> bool:
        assert self.manager is not None
        assert self.manager.poll() is None, self.log
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.paths.control_socket) == 0

    def kill_manager(self) -> None:
        """Kill the manager as the kernel would for want of memory."""
        assert self.manager is not None
        self.manager.send_signal(signal.SIGKILL)
        self.manager.wait()
        self.manager = None

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program on the machine."""
        return subprocess.run(
            words,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def uxc(self, *words: str) -> str:
        """Run uxc; it must succeed and complain of nothing. Return what it printed."""
        done = self.run("uxc", *words)
        assert (done.returncode, done.stderr) == (0, ""), f"uxc {words}: {done.stderr}"
        return done.stdout

    def refused(self, *words: str) -> str:
        """Run uxc; it must fail with one clear line and at most a hint. Return the line."""
        done = self.run("uxc", *words)
        lines = done.stderr.splitlines()
        assert done.returncode != 0, f"uxc {words} did not fail"
        assert done.stdout == ""
        assert lines
        assert lines[0].startswith("uxc: ")
        assert len(lines) <= 2, done.stderr
        assert len(lines) == 1 or lines[1].startswith("  (")
        return lines[0]

    def state(self, name: str) -> dict[str, Any]:
        """Return what ``uxc state`` says."""
        found: dict[str, Any] = json.loads(self.uxc("state", name))
        return found

    def status(self, name: str) -> str:
        """Return the status of ``name``."""
        return str(self.state(name)["status"])

    def listed(self) -> dict[str, dict[str, Any]]:
        """Return ``uxc list --json`` by name."""
        return {entry["name"]: entry for entry in json.loads(self.uxc("list", "--json"))}

    def bundle(self, *args: str, name: str = "bundle", **changes: Any) -> Path:
        """Make a bundle that runs ``args``; ``changes`` are members of config.json."""
        directory = self.directory / name
        busybox.make_bundle(directory, *args)
        if changes:
            self.edit(directory, lambda config: config.update(changes))
        return directory

    @staticmethod
    def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the config.json of ``bundle``."""
        path = bundle / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    def connect(self) -> "Connection":
        """Return an open connection to the control socket; it is closed at the end."""
        self._connections.append(Connection(self.paths.control_socket))
        return self._connections[-1]

    def files(self) -> dict[str, bytes]:
        """Return every file and directory of the prefix, with the content of configurations."""
        return {
            str(path.relative_to(self.prefix)): path.read_bytes()
            if path.is_file() and "config" in path.parts
            else b""
            for path in self.prefix.rglob("*")
        }

    def look(self) -> set[str]:
        """Return what is on the host, without our residents and other people's cgroups."""
        return {line for line in host.look() if self._is_ours(line)}

    def left_since(self, before: set[str]) -> list[str]:
        """Return what is on the host in addition to ``before`` and stays for a while."""
        deadline = time.monotonic() + host.PATIENCE_S
        while (left := self.look() - before) and time.monotonic() < deadline:
            time.sleep(0.02)
        return sorted(left)

    def _is_ours(self, line: str) -> bool:
        if line.startswith("cgroup "):
            return f"/{self.paths.cgroup_parent}" in line
        return "(uxc-manager)" not in line and "(uxc-keeper)" not in line

    def close(self) -> None:
        """End everything, whatever state a failed test has left it in."""
        for connection in self._connections:
            connection.close()
        if self.manager is None or self.manager.poll() is not None:
            if not os.path.lexists(self.paths.keeper_socket):
                return
            self.start_manager()
        assert self.manager is not None
        for name in json.loads(self.run("uxc", "list", "--json").stdout or "[]"):
            self.run("uxc", "delete", "--force", name["name"])
        done = self.run("uxc", "shutdown", "--keeper")
        if done.returncode:
            self.manager.send_signal(signal.SIGTERM)
        self.manager.wait(timeout=PATIENCE_S)


class Connection:
    """A client of the control socket that may do everything wrong."""

    def __init__(self, path: str) -> None:
        """Connect."""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(path)
        self._received = b""
        self._number = 0

    def send(self, op: str, **args: Any) -> int:
        """Send a request; return its number."""
        self._number += 1
        self.socket.sendall(protocol.encode_line(protocol.request(self._number, op, args)))
        return self._number

    def receive(self) -> dict[str, Any] | None:
        """Return the next message; None at the end."""
        while b"\n" not in self._received:
            data = self.socket.recv(1 << 16)
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return protocol.decode(line, "test")

    def ask(self, op: str, **args: Any) -> Any:
        """Send a request and return its result, or raise its error."""
        number = self.send(op, **args)
        while True:
            message = self.receive()
            assert message is not None, "the manager closed the connection"
            if message.get("id") == number:
                return protocol.result_of(message)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[Prefix]:
    """Give a prefix for a keeper without a manager, and leave nothing of it behind."""
    prefix = Prefix(tmp_path)
    yield prefix
    prefix.end()


@pytest.fixture
def keeper(prefix: Prefix) -> KeeperClient:
    """Give a connection to a keeper."""
    return prefix.client()


@pytest.fixture
def unmanaged(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which no manager runs."""
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.close()


@pytest.fixture
def machine(unmanaged: Machine) -> Machine:
    """A machine with a manager."""
    unmanaged.start_manager()
    return unmanaged


@pytest.fixture
def patience() -> Callable[[str, Callable[[], object]], None]:
    """Wait for something that must come."""
    return wait_until
