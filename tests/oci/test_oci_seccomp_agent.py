"""Seccomp notifications: the listener goes to who listens, and its answers count."""

import errno
import fcntl
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Refusal = Callable[..., str]

# linux/seccomp.h: struct seccomp_notif has 80 bytes, seccomp_notif_resp 24.
NOTIF_RECV = 0xC0502100
NOTIF_SEND = 0xC0182101
# What the agent answers every call with.
ANSWER = errno.EXDEV
TEXT = os.strerror(ANSWER).lower()


class Agent:
    """Takes one listener, and answers every notification with an error."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``."""
        self.path = path
        self.state: dict[str, Any] = {}
        self.seen: list[int] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(20)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            text, fds, _, _ = socket.recv_fds(connection, 1 << 16, 1)
        self.state = json.loads(text)
        while True:
            notification = bytearray(80)
            try:
                fcntl.ioctl(fds[0], NOTIF_RECV, notification)
                number, _pid, _flags, call = struct.unpack_from("=QIIi", notification)
                self.seen.append(call)
                fcntl.ioctl(fds[0], NOTIF_SEND, struct.pack("=QqiI", number, 0, -ANSWER, 0))
            except OSError:
                # ENOENT: nobody is left whom the filter holds.
                os.close(fds[0])
                return

    def join(self) -> None:
        """Wait for the end of the last process under the filter."""
        self._thread.join(20)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """Return an agent that listens."""
    return Agent(tmp_path / "agent")


def notifying(path: object, *names: str, **more: object) -> Callable[[Config], object]:
    """Return a change to a filter that notifies of the system calls ``names``."""

    def edit(config: Config) -> None:
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(path),
            "listenerMetadata": "who asked",
            "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}],
            **more,
        }

    return edit


@pytest.mark.parametrize("privileged", [True, False])
def test_the_agent_answers(
    runtime: Runtime, bundle: Bundle, agent: Agent, privileged: bool
) -> None:
    """With the listener comes the state of the container; what the agent says is the result."""

    def edit(config: Config) -> None:
        notifying(agent.path, "mkdir", "mkdirat")(config)
        config["process"]["noNewPrivileges"] = not privileged

    pid = runtime.created(bundle("sh", "-c", "mkdir /x; echo code $?", edit=edit))
    runtime.ok("start", "c")
    runtime.wait()
    agent.join()

    assert TEXT in runtime.output().lower()
    assert runtime.output().endswith("code 1\n")
    assert len(agent.seen) == 1
    assert "seccompFd" in agent.state["fds"]
    assert agent.state["pid"] == pid
    assert agent.state["metadata"] == "who asked"
    assert agent.state["state"]["id"] == "c"
    assert agent.state["state"]["status"] == "creating"


@pytest.mark.ours
def test_an_execve_may_be_notified(runtime: Runtime, bundle: Bundle, agent: Agent) -> None:
    """It happens at start then, when the agent answers, and not at create."""
    runtime.created(bundle("true", edit=notifying(agent.path, "execve")))
    assert not agent.seen

    runtime.ok("start", "c")
    runtime.wait()
    agent.join()

    assert len(agent.seen) == 1
    assert TEXT in runtime.output().lower()


@pytest.mark.ours
def test_nobody_listens(refusal: Refusal, tmp_path: Path) -> None:
    """Then there is no container."""
    text = refusal(notifying(tmp_path / "nobody", "mkdir"))

    assert f"connect to the seccomp agent {tmp_path}/nobody" in text


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"listenerPath": ""}, "listenerPath"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction"),
        ({"syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]}, "syscalls[0].names"),
    ],
)
@pytest.mark.ours
def test_what_cannot_be_notified_is_refused(
    refusal: Refusal, tmp_path: Path, change: Config, where: str
) -> None:
    """With its JSON path."""
    assert f"linux.seccomp.{where}" in refusal(notifying(tmp_path / "s", "mkdir", **change))
