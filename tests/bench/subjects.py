"""What is measured: runtimes by their command line, and the manager by its open control socket."""

import os
from pathlib import Path
from typing import Protocol

from timing import call_ms, command_ms

from uxc.client import Client


class Subject(Protocol):
    """Something that runs containers; each step returns its time in milliseconds."""

    name: str

    def create(self) -> float:
        """Make the container; its program waits."""
        ...

    def start(self) -> float:
        """Let the program run."""
        ...

    def state(self) -> float:
        """Ask for the state."""
        ...

    def kill(self) -> float:
        """Kill the program, which may wait."""
        ...

    def wait(self) -> None:
        """Return when the program has ended."""
        ...

    def delete(self) -> float:
        """Take the container away."""
        ...

    def run(self) -> float | None:
        """Do it all in one; None where there is no such thing."""
        ...


class Command:
    """A runtime with runc's command line; a process for every step."""

    def __init__(self, program: str, directory: Path, bundle: Path) -> None:
        """Keep its state below ``directory``."""
        self.name = Path(program).name
        self._bundle = ("--bundle", str(bundle))
        self._pid_file = directory / f"{self.name}.pid"
        self._words = (program, "--root", str(directory / f"{self.name}.root"))

    def create(self) -> float:
        """Make the container."""
        return self._timed("create", *self._bundle, "--pid-file", str(self._pid_file))

    def start(self) -> float:
        """Let the program run."""
        return self._timed("start")

    def state(self) -> float:
        """Ask for the state."""
        return self._timed("state")

    def kill(self) -> float:
        """Kill the program."""
        return command_ms(*self._words, "kill", f"bench-{self.name}", "KILL")

    def wait(self) -> None:
        """Reap the program: an orphan of create's, it came to us, the nearest subreaper."""
        os.waitpid(int(self._pid_file.read_text()), 0)

    def delete(self) -> float:
        """Take the container away."""
        return self._timed("delete")

    def run(self) -> float:
        """Run the program in the foreground."""
        return self._timed("run", *self._bundle)

    def _timed(self, verb: str, *options: str) -> float:
        return command_ms(*self._words, verb, *options, f"bench-{self.name}")


class Socket:
    """The manager, asked over a connection that is open already, as LuCI or boot would."""

    name = "socket"

    def __init__(self, client: Client, container: str) -> None:
        """Use ``container``, which has its section."""
        self._client = client
        self._name = {"name": container}

    def create(self) -> float:
        """Make the container."""
        return self._timed("create")

    def start(self) -> float:
        """Let the program run."""
        return self._timed("start")

    def state(self) -> float:
        """Ask for the state."""
        return self._timed("state")

    def kill(self) -> float:
        """Kill the program."""
        return self._timed("kill", signal="KILL")

    def wait(self) -> None:
        """Wait for the manager to see the end."""
        self._client.request("wait", self._name)

    def delete(self) -> float:
        """Take the container away; the section stays for the next round."""
        return self._timed("delete", keep_section=True)

    def run(self) -> None:
        """Return None: there is no such request."""
        return

    def _timed(self, op: str, **more: object) -> float:
        arguments = {**self._name, **more}
        return call_ms(lambda: self._client.request(op, arguments))
