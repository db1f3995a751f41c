"""Podman and containerd kept below one directory, and a terminal to sit at."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import termios
import time
import zlib
from pathlib import Path
from typing import Any, Self

import needs
from uxc.paths import Paths

TIMEOUT_S = 60
IMAGE = "localhost/busybox"


class Failed(Exception):
    """A command answered another code than the one expected."""


def run(
    command: list[str], environment: dict[str, str], **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, output as text, standard input empty unless given."""
    if "input" not in how:
        how.setdefault("stdin", subprocess.DEVNULL)
    # Not where the caller is: conmon, told nothing else, leaves a file there that says why
    # a container ended.
    how.setdefault("cwd", environment["TMPDIR"])
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env=environment,
        **how,
    )


def expect(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return what was printed, without the last line's end; Failed if it ended with another."""
    if done.returncode != code:
        raise Failed(f"{done.args}: {done.returncode}, not {code}: {done.stderr}{done.stdout}")
    return done.stdout.rstrip("\r\n")


def until(is_so: Any, what: str) -> Any:
    """Wait until ``is_so()`` is true; return what it returned."""
    deadline = time.monotonic() + TIMEOUT_S / 2
    while not (seen := is_so()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return seen


def running(*words: str) -> list[int]:
    """Return the processes, of whatever container, that have these words as command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[:-1] == [word.encode() for word in words]:
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


# What a limit is called: its controller, and its file on v1 and on v2.
LIMITS = {
    "memory": ("memory", "memory.limit_in_bytes", "memory.max"),
    "reservation": ("memory", "memory.soft_limit_in_bytes", "memory.low"),
    "quota": ("cpu", "cpu.cfs_quota_us", "cpu.max"),
    "shares": ("cpu", "cpu.shares", "cpu.weight"),
    "cpus": ("cpuset", "cpuset.cpus", "cpuset.cpus"),
    "pids": ("pids", "pids.max", "pids.max"),
}


def read_limit(pid: int, name: str) -> int:
    """Return a limit of the cgroup in which ``pid`` is; on v2, shares are the weight."""
    controller, v1, v2 = LIMITS[name]
    # Not by what is mounted: the v2 tree may be hidden at this moment.
    paths = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        paths |= dict.fromkeys(kinds.split(","), path)
    if controller in paths:
        file = Path(f"{needs.cgroup1_mount(controller)}{paths[controller]}/{v1}")
    else:
        file = Path(f"{needs.cgroup2_mount()}{paths['']}/{v2}")
    return int(file.read_text().split()[0])


class Terminal:
    """A program with a terminal of its own, and somebody who types and reads."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        """Start ``command`` at a terminal of 24 lines and 80 columns."""
        self._master, slave = pty.openpty()
        self.seen = ""
        self.resize(24, 80)
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, lines: int, columns: int) -> None:
        """Give the terminal another size and tell the program."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        if hasattr(self, "_process"):
            self._process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        """Type ``text``."""
        os.write(self._master, text.encode())

    def read_until(self, text: str) -> str:
        """Read until ``text`` was printed since the last call; return all that was until then."""
        deadline = time.monotonic() + TIMEOUT_S / 2
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                self.seen += os.read(self._master, 4096).decode(errors="replace")
            except OSError:
                break  # the last program of the terminal has ended
        before, found, self.seen = self.seen.partition(text)
        assert found, f"ended without {text!r}: {before!r}"
        return before + found

    def wait(self) -> int:
        """Read to the end; return the exit code."""
        while True:
            try:
                if not os.read(self._master, 4096):
                    break
            except OSError:
                break
        return self._process.wait(TIMEOUT_S)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal."""
        self.close()

    def close(self) -> None:
        """End the program if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


class Store:
    """What is made once a session: configuration, images, the daemon."""

    def __init__(self, top: Path) -> None:
        """Lay out ``top``, an empty directory on a file system that overlays may use."""
        self.top = top
        self.rootfs = top / "rootfs"
        self.hooks = top / "hooks"
        for name in ("tmp", "graph", "run", "hooks", "networks", "volumes"):
            (top / name).mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(top),
            "TMPDIR": str(top / "tmp"),
            "CONTAINERS_CONF": str(top / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(top / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(top / "registries.conf"),
        }
        # The hard limits of a machine may be below what Podman asks for when told nothing.
        # Without a network unless a test wants one: it spares every run a quarter of a second.
        (top / "containers.conf").write_text(f"""
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
hooks_dir = ["{top}/hooks"]
image_copy_tmp_dir = "{top}/tmp"
runtime_supports_json = ["crun", "runc", "uxc-runtime"]
tmp_dir = "{top}/tmp/engine"
volume_path = "{top}/volumes"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
netns = "none"
[network]
network_backend = "netavark"
network_config_dir = "{top}/networks"
""")
        (top / "storage.conf").write_text(f"""
[storage]
driver = "overlay"
graphroot = "{top}/graph"
runroot = "{top}/run"
""")
        (top / "registries.conf").write_text("unqualified-search-registries = []\n")
        (top / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def tar(self) -> Path:
        """Return a tar file of the root file system."""
        path = self.top / "rootfs.tar"
        if not path.exists():
            subprocess.run(["tar", "-C", str(self.rootfs), "-cf", str(path), "."], check=True)
        return path

    def warm_up(self, runtime: str) -> None:
        """Run a container as Podman does, so that what is made once is there."""
        podman = Podman(self, runtime)
        if podman.call("image", "exists", IMAGE).returncode:
            policy = f"--signature-policy={self.top}/policy.json"
            podman("import", "--quiet", policy, str(self.tar()), IMAGE)
            # While one image is mounted, Podman does not unmount its storage at every command's
            # end, which would look as if a test had left the next mount behind.
            podman("image", "mount", IMAGE)
        podman("run", "--rm", "--network=bridge", IMAGE, "true")

    def close(self) -> None:
        """Undo what outlives containers."""
        run(["podman", "image", "unmount", "--all"], self.environment)
        remove_cgroups("libpod_parent/conmon")
        remove_cgroups("libpod_parent")
        # Podman hands no variable of ours on: the runtime keeps its own at their usual places.
        interpreter = Paths("").interpreter
        subprocess.run(["umount", interpreter], capture_output=True, check=False)


def remove_cgroups(name: str) -> None:
    """Remove what Podman, crun and runc leave in trees that they do not look into again."""
    for tree in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        # Another session on the machine may be using it.
        with contextlib.suppress(OSError):
            tree.rmdir()


class Podman:
    """Podman with one runtime; called with the words of a command line."""

    def __init__(self, store: Store, runtime: str) -> None:
        """Use ``store`` and the program ``runtime``."""
        self.store = store
        self.runtime = runtime
        self.environment = dict(store.environment)
        self._pods: list[str] = []

    def command(self, *words: str) -> list[str]:
        """Return the whole command line."""
        return ["podman", "--runtime", self.runtime, *words]

    def call(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes."""
        return run(self.command(*words), self.environment, **how)

    def __call__(self, *words: str, code: int = 0, **how: Any) -> str:
        """Run a command that must end with ``code``; return what it printed."""
        return expect(self.call(*words, **how), code)

    def run(self, *words: str, code: int = 0, **how: Any) -> str:
        """Run a container to its end: options, then the program's words after "--"."""
        options, program = list(words), ["true"]
        if "--" in words:
            at = words.index("--")
            options, program = options[:at], list(words[at + 1 :])
        return self("run", "--rm", *options, IMAGE, *program, code=code, **how)

    def start(self, *words: str, name: str = "c") -> str:
        """Start a container in the background; return its id."""
        options, program = list(words), ["sleep", "1000"]
        if "--" in words:
            at = words.index("--")
            options, program = options[:at], list(words[at + 1 :])
        return self("run", "--detach", "--name", name, *options, IMAGE, *program)

    def make_pod(self, *words: str) -> None:
        """Make the pod "p"."""
        self._pods.append(self("pod", "create", "--name=p", *words))

    def sit(self, *words: str) -> Terminal:
        """Run a command at a terminal."""
        return Terminal(self.command(*words), self.environment)

    def inspect(self, name: str = "c") -> dict[str, Any]:
        """Return what Podman says of a container."""
        document: dict[str, Any] = json.loads(self("container", "inspect", name))[0]
        return document

    def status(self, name: str = "c") -> str:
        """Return the status of a container."""
        return self("container", "inspect", "--format", "{{.State.Status}}", name)

    def pid(self, name: str = "c") -> int:
        """Return the process id of the first process."""
        return int(self("container", "inspect", "--format", "{{.State.Pid}}", name))

    def tidy(self) -> None:
        """Remove all pods, containers and volumes."""
        self("pod", "rm", "--force", "--all", "--time", "0")
        # Podman may find a mount busy that the end of another container frees.
        remove = ("rm", "--force", "--all", "--time", "0")
        until(lambda: self.call(*remove).returncode == 0, "the containers can be removed")
        self("volume", "rm", "--force", "--all")
        for pod in self._pods:
            remove_cgroups(f"libpod_parent/{pod}")


class Containerd:
    """A daemon of one's own with an image, and its client `ctr`."""

    IMAGE = "docker.io/library/busybox:latest"

    def __init__(self, store: Store, name: str = "containerd", path: str = "") -> None:
        """Start the daemon in a directory of ``store`` and import the image.

        ``path`` is a directory in which it looks for programs first.
        """
        self.store = store
        self.top = store.top / name
        self.top.mkdir()
        # Also the name of a cgroup, which other sessions on the machine must not share.
        self.namespace = f"{name}-{zlib.crc32(bytes(self.top)):08x}"
        self.environment = {
            **store.environment,
            "CONTAINERD_ADDRESS": str(self.top / "socket"),
            "CONTAINERD_NAMESPACE": self.namespace,
        }
        if path:
            self.environment["PATH"] = f"{path}:{self.environment['PATH']}"
        (self.top / "config.toml").write_text(f"""
version = 2
root = "{self.top}/root"
state = "{self.top}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{self.top}/socket"
[ttrpc]
  address = "{self.top}/ttrpc"
""")
        self._start()
        archive = self.top / "image.tar"
        write_oci_archive(archive, store.tar())
        self("images", "import", "--base-name=docker.io/library/busybox", str(archive))

    def _start(self) -> None:
        with (self.top / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                ["containerd", "--config", str(self.top / "config.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.top,
            )
        until(lambda: self.call("version").returncode == 0, "containerd answers")

    def restart(self) -> None:
        """End the daemon and start another; containers have their shims and go on."""
        self._end()
        self._start()

    def _end(self) -> None:
        self._daemon.terminate()
        self._daemon.wait(TIMEOUT_S)

    def call(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run `ctr`, whatever comes."""
        return run(["ctr", *words], self.environment, **how)

    def __call__(self, *words: str, code: int = 0, **how: Any) -> str:
        """Run `ctr`, which must end with ``code``; return what it printed."""
        return expect(self.call(*words, **how), code)

    def close(self) -> None:
        """End the daemon."""
        self._end()
        for tree in Path("/sys/fs/cgroup").glob(f"*/{self.namespace}"):
            # On a tmpfs, where crun makes directories that are no cgroups.
            if not (tree / "notify_on_release").exists() and not (tree / "cgroup.events").exists():
                shutil.rmtree(tree)
            else:
                tree.rmdir()
        shutil.rmtree(self.top)


class Ctr:
    """`ctr` with one runtime."""

    def __init__(self, daemon: Containerd, runtime: str) -> None:
        """Use ``daemon`` and the program ``runtime``."""
        self.daemon = daemon
        self.runtime = runtime
        self.call, self.ok = daemon.call, daemon.__call__

    def words(self, *options: str, name: str = "c", image: bool = True) -> list[str]:
        """Return the words of `run`: options, then the program's words after "--"."""
        program = ["true"]
        if "--" in options:
            at = options.index("--")
            options, program = options[:at], list(options[at + 1 :])
        what = [self.daemon.IMAGE] if image else []
        with_us = ["--runtime=io.containerd.runc.v2", f"--runc-binary={self.runtime}"]
        return ["run", *with_us, *options, *what, name, *program]

    def run(self, *options: str, name: str = "c", code: int = 0, **how: Any) -> str:
        """Run a container to its end."""
        return self.ok(*self.words("--rm", *options, name=name), code=code, **how)

    def start(self, *options: str, name: str = "c") -> int:
        """Start a container in the background; return the pid of its first process."""
        if "--" not in options:
            options = (*options, "--", "sleep", "1000")
        self.ok(*self.words("--detach", "--null-io", *options, name=name))
        return self.tasks()[name][0]

    def exec(self, *words: str, name: str = "c", code: int = 0, **how: Any) -> str:
        """Run another process in a container."""
        options, program = [], list(words)
        if "--" in words:
            at = words.index("--")
            options, program = list(words[:at]), list(words[at + 1 :])
        identity = f"e{time.monotonic_ns()}"
        command = ["tasks", "exec", f"--exec-id={identity}", *options, name, *program]
        return self.ok(*command, code=code, **how)

    def sit(self, *words: str) -> Terminal:
        """Run `ctr` at a terminal."""
        return Terminal(["ctr", *words], self.daemon.environment)

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Return process id and status of every task by its name."""
        lines = [line.split() for line in self.ok("tasks", "list").split("\n")[1:]]
        return {name: (int(pid), status) for name, pid, status in lines}

    def status(self, name: str = "c") -> str:
        """Return the status of a container's task."""
        return self.tasks()[name][1]

    def delete(self, name: str = "c") -> None:
        """End a container and remove it."""
        self.ok("tasks", "delete", "--force", name)
        self.ok("containers", "delete", name)

    def tidy(self) -> None:
        """Remove all containers."""
        for name in self.tasks():
            self.ok("tasks", "delete", "--force", name)
        for name in self.ok("containers", "list", "--quiet").split():
            self.ok("containers", "delete", name)


def write_oci_archive(path: Path, layer: Path) -> None:
    """Write an image of one layer as the image-layout specification has it, in a tar file."""
    content = layer.read_bytes()
    blobs: dict[str, bytes] = {}

    def put(kind: str, blob: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(blob).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = blob
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(blob)}

    def as_json(value: Any) -> bytes:
        return json.dumps(value).encode()

    layers = [put("layer.v1.tar", content)]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put("config.v1+json", as_json(config)),
        "layers": layers,
    }
    index = put("manifest.v1+json", as_json(manifest))
    index["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    blobs["oci-layout"] = as_json({"imageLayoutVersion": "1.0.0"})
    blobs["index.json"] = as_json({"schemaVersion": 2, "manifests": [index]})
    with tarfile.open(path, "w") as archive:
        for name, blob in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(blob)
            archive.addfile(member, io.BytesIO(blob))
