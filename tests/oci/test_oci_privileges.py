"""What a program has when it begins, whichever way it came to its execve, and cannot regain."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreterattack import PYTHON, add_python
from runtimes import RUNTIME, TIMEOUT_S, Config, Runtime

Bundle = Callable[..., Path]

KILL = "CAP_KILL"
KILL_MASK, NO_MASK = 1 << 5, 0
PARKED = "org.openwrt.uxc.frozen-at-exec"

STATUS = "for line in open('/proc/self/status'):\n if line.startswith('Cap'): print(line, end='')"


def parked(config: Config) -> None:
    """Have the program opened at start and not at create."""
    config["annotations"] = {PARKED: "false"}


def hooked(config: Config) -> None:
    """Have a program run between create and start."""
    config["hooks"] = {"startContainer": [{"path": "/bin/true", "args": ["true"]}]}


def with_users(config: Config) -> None:
    """Give the container a user namespace."""
    config["linux"]["namespaces"].append({"type": "user"})
    whole = [{"containerID": 0, "hostID": 0, "size": 65_536}]
    config["linux"].update(uidMappings=whole, gidMappings=whole)


def filtered(config: Config) -> None:
    """Load a filter, which takes a capability that the program does not get."""
    config["process"]["noNewPrivileges"] = False
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }


def without_mounts(config: Config) -> None:
    """Share the mount namespace of the maker."""
    spaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [one for one in spaces if one["type"] != "mount"]
    config["linux"].update(maskedPaths=[], readonlyPaths=[])


WAYS = [parked, hooked, with_users, filtered, without_mounts]


def listed(output: str) -> "list[str]":
    """Return the descriptors that ls(1) shows: the streams, and the directory that it reads."""
    return sorted(output.split())


@pytest.mark.ours
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("entered", ["created", "executed"])
def test_no_descriptor_is_left_open(
    runtime: Runtime, bundle: Bundle, way: Callable[[Config], object], entered: str
) -> None:
    """Neither one of ours nor one that our caller let us inherit (CVE-2016-9962, 2024-21626)."""
    words = ("ls", "/proc/self/fd")
    leaked = [os.open("/", os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY)]

    def call(*command: str) -> str:
        done = subprocess.run(
            [RUNTIME, "--root", str(runtime.root), *command], pass_fds=leaked,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        if entered == "created":
            seen = call("run", "--bundle", str(bundle(*words, edit=way)), "c")
        else:
            runtime.created(bundle("sleep", "60", edit=way))
            runtime.ok("start", "c")
            seen = call("exec", "c", *words)
    finally:
        for fd in leaked:
            os.close(fd)

    assert listed(seen) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("entered", ["created", "executed"])
@pytest.mark.parametrize("kind", ["set-id", "file capabilities"])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_program_regains_what_the_bounding_set_holds(
    runtime: Runtime, bundle: Bundle, kind: str, entered: str, allowed: bool
) -> None:
    """And nothing of it with noNewPrivileges; inheritable sets are empty all the same."""

    def edit(config: Config) -> None:
        process = config["process"]
        process["user"] = {"uid": 1000, "gid": 1000}
        process["noNewPrivileges"] = not allowed
        process["capabilities"] = {"bounding": [KILL], "permitted": [], "effective": []}

    attack = ("/python", "-I", "-S", "-c", STATUS)
    where = bundle(*(attack if entered == "created" else ("sleep", "60")), edit=edit)
    rootfs = where / "rootfs"
    add_python(rootfs)
    shutil.copy(PYTHON, rootfs / "python")
    if kind == "set-id":
        (rootfs / "python").chmod(0o4755)
    else:
        # linux/capability.h: revision 2, permitted KILL, effective.
        value = (0x02000001).to_bytes(4, "little") + KILL_MASK.to_bytes(4, "little") + bytes(12)
        os.setxattr(rootfs / "python", "security.capability", value)

    if entered == "created":
        done = runtime.run(where)
    else:
        runtime.created(where)
        runtime.ok("start", "c")
        done = runtime.call("exec", "c", *attack)

    assert done.returncode == 0, done.stderr
    wanted = KILL_MASK if allowed else NO_MASK
    sets = {line.split(":")[0]: int(line.split()[1], 16) for line in done.stdout.splitlines()}
    assert sets == {
        "CapInh": 0, "CapPrm": wanted, "CapEff": wanted, "CapBnd": KILL_MASK, "CapAmb": 0,
    }  # fmt: skip


@pytest.mark.ours
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("entered", ["created", "executed"])
def test_the_sets_are_exact_whichever_way(
    runtime: Runtime, bundle: Bundle, way: Callable[[Config], object], entered: str
) -> None:
    """Nothing of what the way took is left, in any set (CVE-2022-27650, 2022-29162)."""

    def edit(config: Config) -> None:
        sets = ("bounding", "permitted", "effective")
        config["process"]["capabilities"] = {key: [KILL] for key in sets}
        way(config)

    attack = ("grep", "^Cap", "/proc/self/status")
    where = bundle(*(attack if entered == "created" else ("sleep", "60")), edit=edit)
    if entered == "created":
        done = runtime.run(where)
    else:
        runtime.created(where)
        runtime.ok("start", "c")
        done = runtime.call("exec", "c", *attack)

    assert done.returncode == 0, done.stderr
    masks = [int(line.split()[1], 16) for line in done.stdout.splitlines()]
    assert masks == [0, KILL_MASK, KILL_MASK, KILL_MASK, 0]
