"""A real keeper below a prefix of its own, and a client that talks to it packet by packet."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rootfs import busybox
from uxc import protocol
from uxc.keeper import spawn
from uxc.paths import Paths

PATIENCE_S = 10.0


class KeeperClient:
    """One connection, blocking; events and answers that come before they are wanted are kept."""

    def __init__(self, sock: Any) -> None:
        """Talk over ``sock``."""
        sock.settimeout(PATIENCE_S)
        self.sock = sock
        self.events: list[dict[str, Any]] = []
        self.answers: dict[int, tuple[dict[str, Any], list[int]]] = {}
        self.number = 0

    def ask(self, op: str, args: dict[str, Any], fds: tuple[int, ...] = ()) -> int:
        """Send a request and return its number."""
        self.number += 1
        protocol.send_packet(self.sock, protocol.request(self.number, op, args), fds)
        return self.number

    def answer(self, number: int) -> tuple[Any, list[int]]:
        """Wait for the answer to request ``number``; raise the error that it holds."""
        while number not in self.answers:
            self._receive()
        message, fds = self.answers.pop(number)
        return protocol.result_of(message), fds

    def _receive(self) -> None:
        message, fds = protocol.receive_packet(self.sock, "the keeper")
        if message is None:
            raise EOFError("the keeper has ended")
        if "id" in message:
            self.answers[message["id"]] = message, fds
        else:
            self.events.append(message)

    def call(self, op: str, fds: tuple[int, ...] = (), **args: Any) -> Any:
        """Send a request, wait for its answer, and return the result."""
        result, received = self.answer(self.ask(op, args, fds))
        protocol.close_all(received)
        return result

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event about the container ``name``."""
        while True:
            for event in self.events:
                if event["name"] == name:
                    self.events.remove(event)
                    return event
            self._receive()

    def viewer(self, name: str, read_only: bool = False) -> socket.socket:
        """Attach to a container and return the viewer's end."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self.call("attach", (there.fileno(),), name=name, read_only=read_only)
        here.settimeout(PATIENCE_S)
        return here

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


class Prefix:
    """A prefix with a keeper that is started on demand, and bundles."""

    def __init__(self, top: Path) -> None:
        """Use the directory ``top``."""
        self.top = top
        self.paths = Paths(str(top))
        self.rootfs = busybox.make_rootfs(top / "rootfs")
        self.clients: list[KeeperClient] = []
        self.pid = 0

    def client(self) -> KeeperClient:
        """Return a new connection; the first one starts the keeper."""
        client = KeeperClient(spawn.ensure(self.paths, PATIENCE_S))
        self.clients.append(client)
        self.pid = client.call("hello")["pid"]
        return client

    def bundle(self, name: str, *args: str, **process: Any) -> str:
        """Return a bundle that runs ``args``; ``process`` changes its process object."""
        directory = self.top / "bundle" / name
        directory.mkdir(parents=True, exist_ok=True)
        config = busybox.make_config(*args)
        config["process"].update(process)
        config["root"]["path"] = str(self.rootfs)
        (directory / "config.json").write_text(json.dumps(config))
        return str(directory)

    def kill_keeper(self) -> None:
        """SIGKILL the keeper and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_gone(self.pid)

    @staticmethod
    def wait_gone(pid: int) -> None:
        """Wait until process ``pid`` runs no code any more."""
        wait_until(lambda: not alive(pid), f"process {pid} ends")

    def files(self) -> set[str]:
        """Return what lies below the prefix's run-time directory, without the empty ground."""
        run = Path(self.paths.run)
        ground = {"containers", "netns", "output", "seccomp", "keeper.lock"}
        found = {str(path.relative_to(run)) for path in run.rglob("*")}
        return found - ground

    def end(self) -> None:
        """Remove every container and let the keeper end."""
        last = self.client()
        for entry in last.call("list"):
            if entry["status"] != "uninitialized":
                last.call("delete", name=entry["name"], force=True)
            if entry["pinned"]:
                last.call("unpin", name=entry["name"])
        last.call("shutdown")
        for client in self.clients:
            client.close()
        self.wait_gone(self.pid)


def alive(pid: int) -> bool:
    """Tell whether process ``pid`` is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def hang(prefix: Prefix, keeper: KeeperClient, name: str) -> int:
    """Create a container whose builder waits for ever to read its layer; return the request."""
    bundle = prefix.bundle(name, "true")
    os.mkfifo(Path(bundle) / "overlay.json")
    return keeper.ask("create", {"name": name, "bundle": bundle})


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll ``condition`` until it holds, for some seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def shown(viewer: socket.socket, until: bytes = b"") -> bytes:
    """Read a viewer's packets until ``until`` was printed, or until the end; return the output.

    The exit packet, if there is one, stands at the end as ``<x CODE>``.
    """
    seen = b""
    while not until or until not in seen:
        packet = viewer.recv(1 << 17)
        if not packet:
            break
        seen += packet[1:] if packet[:1] in b"oe" else b"<x %s>" % packet[1:]
    return seen
