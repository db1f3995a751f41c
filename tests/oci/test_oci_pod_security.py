"""Attacks from a neighbour that shares pid and user namespace, and has all power in the latter."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreterattack import PYTHON, add_python
from runtimes import Config, Runtime, until
from spying import SPY

pytestmark = pytest.mark.ours

Bundle = Callable[..., Path]

# What capabilities(7) lists up to Linux 5.9, without the two that only the host's own can use.
ALL = [
    "CAP_" + name
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_ADMIN "
        "NET_RAW IPC_LOCK IPC_OWNER SYS_CHROOT SYS_PTRACE SYS_ADMIN SYS_BOOT SYS_NICE "
        "SYS_RESOURCE MKNOD LEASE SETFCAP PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
]
# The worst case: root inside is root outside, for all that only compares numbers.
SAME, OTHER = 0, 100_000


def powerful(config: Config) -> None:
    """Give the program every capability."""
    sets = ("bounding", "permitted", "effective")
    config["process"]["capabilities"] = dict.fromkeys(sets, ALL)


def neighbour(pid: int, frozen: bool) -> Callable[[Config], object]:
    """Return a change to a container that shares the user and pid namespaces of ``pid``."""

    def edit(config: Config) -> None:
        spaces = [one for one in config["linux"]["namespaces"] if one["type"] != "pid"]
        spaces += [{"type": kind, "path": f"/proc/{pid}/ns/{kind}"} for kind in ("user", "pid")]
        config["linux"]["namespaces"] = spaces
        if not frozen:
            config["annotations"] = {"org.openwrt.uxc.frozen-at-exec": "false"}

    return edit


@pytest.fixture(params=[SAME, OTHER])
def spy(runtime: Runtime, bundle: Bundle, tmp_path: Path, request: pytest.FixtureRequest) -> int:
    """Return the pid of a container that looks at everybody who comes."""
    ranges = [{"containerID": 0, "hostID": request.param, "size": 65_536}]

    def edit(config: Config) -> None:
        powerful(config)
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"].update(uidMappings=ranges, gidMappings=ranges)

    where = bundle("/python", "-I", "-S", "/spy.py", str(tmp_path), edit=edit, name="spy")
    rootfs = where / "rootfs"
    add_python(rootfs)
    shutil.copy(PYTHON, rootfs / "python")
    (rootfs / "spy.py").write_text(SPY)
    pid = runtime.created(where, "spy")
    runtime.ok("start", "spy")
    until(lambda: "ready" in runtime.output("spy"), "the spy")
    return pid


def findings(runtime: Runtime, tmp_path: Path) -> str:
    """End the spy and return what it found, after a look at whether it could look at all."""
    (tmp_path / "spy/rootfs/stop").touch()
    until(lambda: "done" in runtime.output("spy"), "the end of the spy")
    seen = runtime.output("spy")
    words = {line.split()[0]: line.split()[1:] for line in seen.splitlines()}
    assert any("python" in name for name in words["denied"]), f"it saw nobody come: {seen}"
    assert "/bin/busybox" in words["allowed"], f"it cannot look at all: {seen}"
    return seen


@pytest.mark.parametrize("frozen", [True, False])
def test_who_makes_a_neighbour_shows_nothing(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, spy: int, frozen: bool
) -> None:
    """Nothing of the host can be reached through the first process before it is the program."""
    where = str(bundle("sleep", "0.05", edit=neighbour(spy, frozen)))
    for _ in range(12):
        done = runtime.call("run", "--bundle", where, "c")
        assert done.returncode == 0, done.stderr

    assert "BROKEN" not in findings(runtime, tmp_path)


def test_who_executes_in_the_container_shows_nothing(
    runtime: Runtime, tmp_path: Path, spy: int
) -> None:
    """Nor through a process that joins, whose user namespace is the spy's from the beginning."""
    for _ in range(20):
        done = runtime.call("exec", "spy", "sleep", "0.05")
        assert done.returncode == 0, done.stderr

    assert "BROKEN" not in findings(runtime, tmp_path)
