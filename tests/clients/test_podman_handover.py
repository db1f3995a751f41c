"""What Podman hands over: hooks, seccomp profiles, open files, a socket to tell readiness on."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import IMAGE, TIMEOUT_S, Podman, Store, until

pytestmark = pytest.mark.needs("podman")

# The machine's Python inside a container, for what busybox cannot do.
LIBRARIES = [name for name in ("lib", "lib64") if Path("/usr", name).exists()]
HOSTS_PYTHON = ("-v=/usr:/usr:ro", *(f"-v=/usr/{name}:/{name}:ro" for name in LIBRARIES))


PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_KILL_PROCESS"},
    ],
}


def test_a_seccomp_profile(podman: Podman, tmp_path: Path) -> None:
    """A profile of one's own replaces Podman's; without one no filter is there."""
    (tmp_path / "profile.json").write_text(json.dumps(PROFILE))
    shown = podman.run(
        f"--security-opt=seccomp={tmp_path}/profile.json",
        "--",
        "sh",
        "-c",
        "mkdir /tmp/x 2>&1; chmod 700 /tmp; echo $?; grep Seccomp: /proc/self/status",
    )
    assert "No space left on device" in shown
    assert shown.split("\n")[-2:] == ["159", "Seccomp:\t2"]
    shown = podman.run(
        "--security-opt=seccomp=unconfined", "--", "grep", "Seccomp:", "/proc/self/status"
    )

    assert shown == "Seccomp:\t0"


# move_pages(2) of no pages succeeds for everybody whom nobody forbids it.
MOVE_NO_PAGES = """
import ctypes, os
number = {"x86_64": 279}.get(os.uname().machine, 239)
print(ctypes.CDLL(None, use_errno=True).syscall(number, 0, 0, 0, 0, 0, 0), ctypes.get_errno())
"""


def test_podmans_own_profile(podman: Podman) -> None:
    """Podman's default profile is in force: 19 rules, by the libseccomp of the machine."""
    python = ("--", "/usr/bin/python3", "-I", "-S", "-c", MOVE_NO_PAGES)

    assert podman.run("--security-opt=seccomp=unconfined", *HOSTS_PYTHON, *python) == "0 0"
    assert podman.run(*HOSTS_PYTHON, *python) == "-1 1"


def test_descriptors_are_passed_on(podman: Podman, tmp_path: Path) -> None:
    """`--preserve-fds` gives the container open files at the same numbers; others stay out."""
    (tmp_path / "file").write_text("passed\n")
    command = podman.command(
        "run", "--rm", "--preserve-fds=1", IMAGE, "sh", "-c", "cat <&3; ls /proc/self/fd"
    )
    with (tmp_path / "file").open() as stream:
        # To 3 in a shell, since subprocess keeps numbers as they are.
        fd = stream.fileno()
        done = subprocess.run(
            ["bash", "-c", f'exec 3<&{fd} {fd}<&-; exec "$@"', "sh", *command],
            pass_fds=(fd,),
            env=podman.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )

    # The last is the directory that ls itself reads.
    assert done.stdout.split() == ["passed", "0", "1", "2", "3", "4"]


@contextmanager
def _notified(podman: Podman, path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(TIMEOUT_S / 2)
        podman.environment["NOTIFY_SOCKET"] = str(path)
        yield listener


READY = """
import os, socket, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


def test_readiness_is_told(podman: Podman, tmp_path: Path) -> None:
    """With `--sdnotify=container` the program itself says when it is ready."""
    with _notified(podman, tmp_path / "notify") as listener:
        podman.start(
            "--sdnotify=container", *HOSTS_PYTHON, "--", "/usr/bin/python3", "-I", "-S", "-c", READY
        )
        told = b""
        while b"READY=1" not in told:
            told += listener.recv(4096) + b"\n"

    assert podman.status() == "running"


def _hook(store: Store, name: str, stage: str, script: str) -> None:
    hook = {
        "version": "1.0.0",
        "hook": {"path": "/bin/sh", "args": ["sh", "-c", script]},
        "when": {"always": True},
        "stages": [stage],
    }
    (store.hooks / f"{name}.json").write_text(json.dumps(hook))


STAGES = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")


@pytest.fixture
def hooks(store: Store, tmp_path: Path) -> Iterator[Path]:
    """Let hooks at the stages write the state that they are given into files."""
    for stage in STAGES:
        # The host's path, also seen by createContainer: that one runs before the root is changed.
        _hook(store, stage, stage, f"cat >{tmp_path}/{stage}")
    yield tmp_path
    for path in store.hooks.iterdir():
        path.unlink()


def test_hooks(podman: Podman, hooks: Path) -> None:
    """Hooks run at their stages with the state of the container."""
    podman("run", "--name=c", IMAGE, "true")
    container = podman.inspect()["Id"]
    podman("rm", "c")
    until(lambda: (hooks / "poststop").exists(), "the last hook")

    told = {stage: json.loads((hooks / stage).read_text()) for stage in STAGES}
    assert {state["id"] for state in told.values()} == {container}
    assert [told[stage]["status"] for stage in STAGES[3:]] == ["running", "stopped"]
    assert told["createRuntime"]["pid"] > 0


@pytest.mark.parametrize("stage", ["prestart", "createContainer"])
def test_a_failing_hook_fails_the_container(podman: Podman, store: Store, stage: str) -> None:
    """When a hook before the start fails, nothing runs and nothing is left."""
    _hook(store, "fails", stage, "exit 3")
    try:
        podman.run("--", "echo", "ran", code=126)
    finally:
        (store.hooks / "fails.json").unlink()

    assert podman("ps", "--all", "--quiet") == ""
