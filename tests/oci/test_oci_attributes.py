"""How the kernel treats the program: scheduler, ioPriority, personality, memoryPolicy."""

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import linux, process
from runtimes import Config, Runtime
from uxc.linux import const

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

# proc_pid_stat(5), counted from the state, which is the third field.
NICE, PRIORITY, POLICY = 19 - 3, 40 - 3, 41 - 3
IOPRIO_WHO_PROCESS = 1
IOPRIO_GET = {"x86_64": 252, "generic": 31}.get(const.ABI, 0)


def stat(pid: int) -> list[int]:
    """Return the numbers of a /proc/PID/stat, from the state's place on."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


@pytest.mark.ours
@pytest.mark.parametrize(
    ("scheduler", "wanted"),
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, (0, 7, 0)),
        ({"policy": "SCHED_OTHER", "nice": -7}, (0, -7, 0)),
        ({"policy": "SCHED_BATCH", "nice": 3}, (3, 3, 0)),
        ({"policy": "SCHED_IDLE"}, (5, 0, 0)),
    ],
)
def test_the_scheduler_is_set(
    runtime: Runtime, bundle: Bundle, scheduler: Config, wanted: tuple[int, int, int]
) -> None:
    """Policy and nice value are the program's, also for a user without privileges."""
    user = {"uid": 1000, "gid": 1000}
    runtime.created(bundle("sleep", "1000", edit=process(scheduler=scheduler, user=user)))
    runtime.ok("start", "c")

    found = stat(int(runtime.pid_file("c").read_text()))

    assert (found[POLICY], found[NICE], found[PRIORITY]) == wanted


@pytest.mark.vm
@pytest.mark.ours
def test_a_real_time_scheduler(runtime: Runtime, bundle: Bundle) -> None:
    """SCHED_RR with its priority and reset on fork, where the machine has real time to give."""

    def edit(config: Config) -> None:
        config["process"]["scheduler"] = {
            "policy": "SCHED_RR",
            "priority": 42,
            "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        }
        if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
            cpu = config["linux"].setdefault("resources", {}).setdefault("cpu", {})
            cpu.update(realtimeRuntime=1000, realtimePeriod=1_000_000)

    where = bundle("sleep", "1000", edit=edit)
    done = runtime.create(where)
    if done.returncode:
        # No real time for groups on this machine, but then it is said.
        assert re.search(r"apply process.scheduler: operation not permitted|rt_", runtime.output())
        pytest.skip("this machine gives the container's cgroup no real time")

    pid = int(runtime.pid_file("c").read_text())

    assert stat(pid)[POLICY] == os.SCHED_RR
    assert os.sched_getscheduler(pid) == os.SCHED_RR | os.SCHED_RESET_ON_FORK
    assert os.sched_getparam(pid).sched_priority == 42


@pytest.mark.ours
def test_a_policy_that_the_kernel_lacks_is_an_error(refusal: Refusal) -> None:
    """SCHED_ISO has a name in the specification, but no Linux has it."""
    said = refusal(process(scheduler={"policy": "SCHED_ISO"}))

    assert "cannot apply process.scheduler: invalid argument" in said


@pytest.mark.ours
def test_a_wrong_scheduler_is_refused(refusal: Refusal) -> None:
    """Values that contradict each other are named by their path, before anything is made."""
    said = refusal(process(scheduler={"policy": "SCHED_OTHER", "priority": 1}))

    assert "config.json: process.scheduler.priority: needs the policy" in said


@pytest.mark.ours
@pytest.mark.skipif(not IOPRIO_GET, reason="the number of ioprio_get is not known here")
@pytest.mark.parametrize(
    ("name", "number"),
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)],
)
def test_the_io_priority_is_set(runtime: Runtime, bundle: Bundle, name: str, number: int) -> None:
    """Class and level are the program's."""
    edit = process(ioPriority={"class": name, "priority": 3})
    pid = runtime.created(bundle("sleep", "1000", edit=edit))
    runtime.ok("start", "c")

    found = ctypes.CDLL(None).syscall(IOPRIO_GET, IOPRIO_WHO_PROCESS, pid)

    assert found >> 13 == number
    if name != "IOPRIO_CLASS_IDLE":
        assert found & 7 == 3


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the name of another machine")
@pytest.mark.parametrize(("domain", "wanted"), [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_the_personality_is_set(sh: Sh, domain: str, wanted: str) -> None:
    """LINUX32 shows a 32-bit machine, LINUX the real one."""
    assert sh("uname -m", edit=linux(personality={"domain": domain})) == f"{wanted}\n"


@pytest.mark.ours
def test_flags_of_a_personality_are_refused(refusal: Refusal) -> None:
    """The specification has no flags so far: whatever is there is wrong."""
    said = refusal(linux(personality={"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}))

    assert "config.json: linux.personality.flags[0]: is not supported" in said


@pytest.mark.ours
@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="a kernel without NUMA")
@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        (
            {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "interleave=static:0",
        ),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
def test_the_memory_policy_is_set(sh: Sh, policy: Config, wanted: str) -> None:
    """The program's memory comes from where the policy says."""
    text = sh("cat /proc/self/numa_maps", edit=linux(memoryPolicy=policy))

    assert f" {wanted} " in text


@pytest.mark.ours
def test_a_node_that_is_not_there_is_an_error(refusal: Refusal) -> None:
    """The kernel refuses it, and the property is named."""
    said = refusal(linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "1000"}))

    assert "cannot apply linux.memoryPolicy: invalid argument" in said


@pytest.mark.ours
def test_the_affinity_is_none_of_the_first_process(runtime: Runtime, bundle: Bundle) -> None:
    """execCPUAffinity is for programs that join: create takes it and leaves the CPUs alone."""
    before = os.sched_getaffinity(0)
    edit = process(execCPUAffinity={"initial": "0", "final": "0"})

    pid = runtime.created(bundle("sleep", "1000", edit=edit))

    assert os.sched_getaffinity(pid) == before


@pytest.mark.ours
def test_a_wrong_affinity_is_refused(refusal: Refusal) -> None:
    """A list that is none is found at create, not at the first exec."""
    said = refusal(process(execCPUAffinity={"initial": "0,x"}))

    assert "config.json: process.execCPUAffinity.initial: must be a list" in said
