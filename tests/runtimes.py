"""An OCI runtime driven by its command line, and the console socket that clients give it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OURS = str(Path(__file__).parents[1] / "bin/uxc-runtime")
RUNTIME = os.environ.get("OCI_RUNTIME", OURS)
NAME = Path(RUNTIME).name
TIMEOUT_S = 30

Config = dict[str, Any]


class Failed(Exception):
    """A command of the runtime answered other than 0."""


def until(true: Callable[[], Any], what: str = "it") -> Any:
    """Wait until ``true`` returns something that counts, and return it."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := true()):
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not come")
        time.sleep(0.01)
    return found


def processes_of(pid: int) -> set[int]:
    """Return the pids of all processes in the pid namespace of ``pid``."""
    return processes_in(os.readlink(f"/proc/{pid}/ns/pid"))


def processes_in(namespace: str) -> set[int]:
    """Return the pids of all processes in the pid namespace that readlink(1) shows so."""
    found = set()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.readlink(f"/proc/{name}/ns/pid") == namespace:
                found.add(int(name))
    return found


def status_of(text: str) -> dict[str, str]:
    """Return the fields of a /proc/PID/status."""
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


class Runtime:
    """The runtime under test with a state root of its own."""

    def __init__(self, directory: Path) -> None:
        """Keep state and output of containers in ``directory``."""
        self.directory = directory
        self.root = directory / "state"
        self._started: list[str] = []
        self._executed: list[int] = []

    def call(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run one command; its output is text."""
        how.setdefault("stdin", subprocess.DEVNULL)
        command = [RUNTIME, "--root", str(self.root), *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **how
        )

    def ok(self, *words: str) -> str:
        """Run one command that must succeed; return what it printed."""
        done = self.call(*words)
        if done.returncode:
            raise Failed(f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout

    def create(
        self, bundle: Path, name: str = "c", *options: str, fd3: int = -1, **how: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Create a container whose output goes to the file ``<name>.out``.

        A container keeps its streams open, so pipes here would never end. ``fd3`` becomes the
        descriptor 3 of the runtime.
        """
        out = self.directory / f"{name}.out"
        command = [RUNTIME, "--root", str(self.root), "create", "--bundle", str(bundle)]
        if fd3 >= 0:
            command = ["bash", "-c", f'exec 3<&{fd3} {fd3}<&-; exec "$@"', "bash", *command]
            how["pass_fds"] = (fd3,)
        # The first process is our child, as conmon and containerd's shim arrange it.
        with out.open("wb") as stream:
            done = subprocess.run(
                [*command, "--pid-file", str(self.pid_file(name)), *options, name],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                timeout=TIMEOUT_S,
                check=False,
                **how,
            )
        self._started.append(name)
        return done

    def created(self, bundle: Path, name: str = "c", *options: str, **how: Any) -> int:
        """Create a container that must come up; return the pid of its first process."""
        done = self.create(bundle, name, *options, **how)
        if done.returncode:
            raise Failed(self.output(name))
        return int(self.pid_file(name).read_text())

    def execute(self, *words: str, **how: Any) -> tuple[int, int]:
        """Execute a process, detached; return (exit code of the command, pid or 0).

        Its output goes to the file ``exec.out``, for the same reason as that of a container.
        """
        pid_file = self.directory / "exec.pid"
        pid_file.unlink(missing_ok=True)
        command = [RUNTIME, "--root", str(self.root), "exec", "--detach"]
        how.setdefault("stdin", subprocess.DEVNULL)
        with (self.directory / "exec.out").open("wb") as stream:
            done = subprocess.run(
                [*command, "--pid-file", str(pid_file), *words],
                stdout=stream,
                stderr=stream,
                timeout=TIMEOUT_S,
                check=False,
                **how,
            )
        pid = int(pid_file.read_text()) if pid_file.exists() else 0
        self._executed += [pid] if pid else []
        return done.returncode, pid

    def run(self, bundle: Path, name: str = "r", **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a container to its end; exit code and output are its program's."""
        self._started.append(name)
        return self.call("run", "--bundle", str(bundle), name, **how)

    def pid_file(self, name: str) -> Path:
        """Return where the pid of the container ``name`` is written."""
        return self.directory / f"{name}.pid"

    def output(self, name: str = "c") -> str:
        """Return what the container ``name`` has printed (and its create, when it failed)."""
        return (self.directory / f"{name}.out").read_text()

    def state(self, name: str = "c") -> Config:
        """Return the state of a container."""
        document: Config = json.loads(self.ok("state", name))
        return document

    def status(self, name: str = "c") -> str:
        """Return the status of a container."""
        return str(self.state(name)["status"])

    def wait(self, name: str = "c") -> int:
        """Reap the first process; return its exit code, 128+n for signal n."""
        pid = int(self.pid_file(name).read_text())
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def tidy(self) -> None:
        """Delete every container that a test made, those first that joined one made before.

        The first process of a pid namespace ends after the last one that joined it was reaped.
        """
        for pid in self._executed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _reap(pid)
        self._executed = []
        for name in reversed(self._started):
            self.call("delete", "--force", name)
            with contextlib.suppress(FileNotFoundError, ValueError):
                _reap(int(self.pid_file(name).read_text()))


def _reap(pid: int) -> None:
    """Wait for a child, if it is still ours, and for those that a runtime has left to us."""
    deadline = time.monotonic() + TIMEOUT_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline and not os.waitpid(pid, os.WNOHANG)[0]:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.001)


class ConsoleSocket:
    """A listener as conmon and the shim have one: takes the master of one terminal."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``."""
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(TIMEOUT_S)
        self.master = -1

    def receive(self) -> int:
        """Return the master's descriptor."""
        connection, _ = self._listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        self.master = fds[0]
        return self.master

    def read_until(self, text: str) -> str:
        """Read from the terminal until ``text`` was printed; return all that was."""
        seen = ""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in seen:
            assert time.monotonic() < deadline, seen
            try:
                seen += os.read(self.master, 4096).decode()
            except OSError:
                break
        assert text in seen
        return seen

    def close(self) -> None:
        """Close listener and master."""
        self._listener.close()
        if self.master >= 0:
            os.close(self.master)
