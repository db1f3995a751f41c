"""The announcement's example, told step by step: each command and what it printed."""

import json
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence

from uxc.demo.router import ANNOUNCEMENT, DISK, LAN_ADDRESS, Router

NAME = "container1"
# The guest fetches its address itself; then whoever attaches gets a shell.
PROGRAM = "dhclient host0; exec bash -i"
LEASE_TIMEOUT_S = 30


class StepError(Exception):
    """A step did not do what it should; the message holds its output."""


class EndedError(Exception):
    """Somebody wants the story to end before it is told."""


class Story:
    """The steps, on one router."""

    def __init__(self, router: Router, ended: threading.Event) -> None:
        """Tell the story on ``router``; ``ended`` stops it between two steps."""
        self.router = router
        self._ended = ended

    def begin(self) -> None:
        """Play from an unconfigured router to a container that is on the network."""
        self._title("The router: lan is a bridge, and knows nothing of containers")
        self._run("uci", "export", "network")

        self._title("A cable from lan to the container, as the announcement has it")
        self._run("uci", "batch", text=ANNOUNCEMENT)
        self._run("uci", "show", "network.virt0")

        self._title("A Debian, debootstrapped, packed by umoci, unpacked by umoci")
        self._run("uxc", "create", NAME, str(DISK), "true")
        self._run("uci", "show", "uxc")
        self._run("uxc", "check")
        self._run("uxc", "list")

        self._title("It is wired, and its program waits for the word")
        self._inside("ip", "-brief", "link")
        self._run("uxc", "start", NAME)
        self._run("uxc", "list")
        self._run("uxc", "state", NAME)

        self._title("Its own DHCP client gets a lease from the router's dnsmasq")
        self._wait_for_lease()
        self._inside("ip", "addr")
        self._inside("cat", "/etc/os-release")
        self._inside("ping", "-c", "1", LAN_ADDRESS)

    def end(self) -> None:
        """Play from the running container to a router without one."""
        self._title("The end")
        # An interactive shell ignores the usual SIGTERM.
        self._run("uxc", "kill", NAME, "KILL")
        self._wait_for_end()
        self._run("uxc", "delete", NAME)
        self._run("uxc", "list")

    def _title(self, text: str) -> None:
        print(f"\n── {text}", flush=True)

    def _show(self, command: Sequence[str], output: str, where: str = "") -> None:
        lines = (f"$ {shlex.join(command)}{where}", *(f"  {line}" for line in output.splitlines()))
        print("\n".join(lines), flush=True)

    def _go_on(self) -> None:
        if self._ended.is_set():
            raise EndedError

    def _run(self, *command: str, text: str = "") -> None:
        self._go_on()
        done = self.router.run(*command, text=text)
        self._show(command, f"{text}{done.stdout}{done.stderr}")
        _check(command, done)

    def _inside(self, *command: str) -> None:
        """Run a command in the container's namespaces, and in its root file system."""
        self._go_on()
        done = self._enter(*command)
        self._show(command, f"{done.stdout}{done.stderr}", f"   # inside {NAME}")
        _check(command, done)

    def _enter(self, *command: str) -> "subprocess.CompletedProcess[str]":
        pid = str(self.router.state(NAME)["pid"])
        return self.router.run("nsenter", "--target", pid, "--all", *command)

    def _wait_for_lease(self) -> None:
        deadline = time.monotonic() + LEASE_TIMEOUT_S
        while time.monotonic() < deadline:
            self._go_on()
            links = json.loads(self._enter("ip", "-json", "addr", "show", "host0").stdout or "[]")
            if any(info["family"] == "inet" for link in links for info in link["addr_info"]):
                return
            time.sleep(0.1)
        raise StepError(f"no lease in {LEASE_TIMEOUT_S} s:\n{self.router.log('dnsmasq')}")

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + LEASE_TIMEOUT_S
        while self.router.state(NAME)["status"] != "stopped":
            if time.monotonic() > deadline:
                raise StepError(f"{NAME} does not end")
            time.sleep(0.02)


def _check(command: Sequence[str], done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        raise StepError(f"{shlex.join(command)}: exit status {done.returncode}")
