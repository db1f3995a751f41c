"""The limits of ``linux.resources`` as the kernel has them, and what they do to a program."""

import os
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgroupfiles import directories, read, version
from runtimes import Config, Failed, Runtime

pytestmark = pytest.mark.vm

Bundle = Callable[..., Path]
MIB = 1 << 20


def limiting(resources: Config) -> Callable[[Config], None]:
    """Return an edit that adds ``resources`` to those there are."""

    def edit(config: Config) -> None:
        config["linux"]["resources"].update(resources)

    return edit


# Controller, resources, then the file and its content on v2 and on v1; None: has no such file.
LIMITS: dict[str, tuple[str, Config, dict[int, tuple[str, str] | None]]] = {
    "memory": (
        "memory",
        {"memory": {"limit": 64 * MIB}},
        {
            2: ("memory.max", str(64 * MIB)),
            1: ("memory.limit_in_bytes", str(64 * MIB)),
        },
    ),
    "no memory limit": (
        "memory",
        {"memory": {"limit": -1}},
        {2: ("memory.max", "max"), 1: ("memory.limit_in_bytes", "9223372036854771712")},
    ),
    "reservation": (
        "memory",
        {"memory": {"reservation": 32 * MIB}},
        {
            2: ("memory.low", str(32 * MIB)),
            1: ("memory.soft_limit_in_bytes", str(32 * MIB)),
        },
    ),
    "swap": (
        "memory",
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
        {
            2: ("memory.swap.max", str(32 * MIB)),
            1: ("memory.memsw.limit_in_bytes", str(96 * MIB)),
        },
    ),
    "no swap": (
        "memory",
        {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
        {2: ("memory.swap.max", "0"), 1: ("memory.memsw.limit_in_bytes", str(64 * MIB))},
    ),
    "swap without end": (
        "memory",
        {"memory": {"limit": 64 * MIB, "swap": -1}},
        {
            2: ("memory.swap.max", "max"),
            1: ("memory.memsw.limit_in_bytes", "9223372036854771712"),
        },
    ),
    "shares": (
        "cpu",
        {"cpu": {"shares": 2048}},
        {2: ("cpu.weight", "174"), 1: ("cpu.shares", "2048")},
    ),
    "quota": (
        "cpu",
        {"cpu": {"quota": 50000, "period": 200000}},
        {2: ("cpu.max", "50000 200000"), 1: ("cpu.cfs_quota_us", "50000")},
    ),
    "period alone": (
        "cpu",
        {"cpu": {"period": 50000}},
        {2: ("cpu.max", "max 50000"), 1: ("cpu.cfs_period_us", "50000")},
    ),
    "burst": (
        "cpu",
        {"cpu": {"quota": 50000, "period": 100000, "burst": 20000}},
        {2: ("cpu.max.burst", "20000"), 1: ("cpu.cfs_burst_us", "20000")},
    ),
    "idle": ("cpu", {"cpu": {"idle": 1}}, {2: ("cpu.idle", "1"), 1: ("cpu.idle", "1")}),
    "cpus": (
        "cpuset",
        {"cpu": {"cpus": "0", "mems": "0"}},
        {2: ("cpuset.cpus", "0"), 1: ("cpuset.cpus", "0")},
    ),
    "nodes": (
        "cpuset",
        {"cpu": {"mems": "0"}},
        {2: ("cpuset.mems", "0"), 1: ("cpuset.mems", "0")},
    ),
    "pids": ("pids", {"pids": {"limit": 7}}, {2: ("pids.max", "7"), 1: ("pids.max", "7")}),
    "pids without end": (
        "pids",
        {"pids": {"limit": -1}},
        {2: ("pids.max", "max"), 1: None},
    ),
    "huge pages": (
        "hugetlb",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        {
            2: ("hugetlb.2MB.max", str(4 * MIB)),
            1: ("hugetlb.2MB.limit_in_bytes", str(4 * MIB)),
        },
    ),
    "huge pages reserved": (
        "hugetlb",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        {
            2: ("hugetlb.2MB.rsvd.max", str(4 * MIB)),
            1: ("hugetlb.2MB.rsvd.limit_in_bytes", str(4 * MIB)),
        },
    ),
    "unified": (
        "memory",
        {"unified": {"memory.high": str(48 * MIB)}},
        {2: ("memory.high", str(48 * MIB)), 1: None},
    ),
    "unified group kill": (
        "memory",
        {"unified": {"memory.oom.group": "1"}},
        {2: ("memory.oom.group", "1"), 1: None},
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_reaches_the_kernel(name: str, runtime: Runtime, bundle: Bundle) -> None:
    """Each limit is in the file of the kernel that enforces it, in that version's unit."""
    controller, resources, places = LIMITS[name]
    place = places[version(controller)]
    if place is None:
        pytest.skip(f"cgroup v{version(controller)} has no such limit")
    pid = runtime.created(bundle("true", edit=limiting(resources)))

    assert read(pid, controller, place[0]) == place[1]


def test_all_limits_at_once(runtime: Runtime, bundle: Bundle) -> None:
    """What Podman sends for a container with many options is taken as one."""
    resources: Config = {
        "memory": {"limit": 64 * MIB, "swap": 128 * MIB, "reservation": 32 * MIB},
        "cpu": {"shares": 512, "quota": 20000, "period": 100000, "cpus": "0"},
        "pids": {"limit": 2048},
    }
    versions = {name: version(name) for name in ("memory", "cpu", "cpuset", "pids")}
    pid = runtime.created(bundle("true", edit=limiting(resources)))

    assert read(pid, "pids", "pids.max") == "2048"
    if set(versions.values()) == {2}:
        assert read(pid, "memory", "memory.low") == str(32 * MIB)
        assert read(pid, "memory", "memory.swap.max") == str(64 * MIB)
        assert read(pid, "cpu", "cpu.max") == "20000 100000"
        assert read(pid, "cpuset", "cpuset.cpus.effective") == "0"


@pytest.fixture
def disk() -> str:
    """Return the number of a block device, as in 8:0."""
    for device in sorted(Path("/sys/block").iterdir()):
        if (device / "size").read_text().strip() != "0":
            return (device / "dev").read_text().strip()
    # Where no disk is, a loop device is made; it stays, as such devices do.
    if not Path("/dev/loop-control").exists():
        pytest.skip("no block device here")
    os.close(os.open("/dev/loop-control", os.O_RDWR))
    return next(path for path in Path("/sys/block").glob("loop*/dev")).read_text().strip()


def test_rates_of_a_disk(runtime: Runtime, bundle: Bundle, disk: str) -> None:
    """Bytes and operations a second, for reading and writing, are limits of one device."""
    major, minor = map(int, disk.split(":"))

    def rate(value: int) -> list[Config]:
        return [{"major": major, "minor": minor, "rate": value}]

    block = {
        "throttleReadBpsDevice": rate(MIB),
        "throttleWriteBpsDevice": rate(2 * MIB),
        "throttleReadIOPSDevice": rate(100),
        "throttleWriteIOPSDevice": rate(200),
    }
    io = version("io")
    pid = runtime.created(bundle("true", edit=limiting({"blockIO": block})))

    if io == 2:
        want = f"{disk} rbps={MIB} wbps={2 * MIB} riops=100 wiops=200"
        assert read(pid, "io", "io.max") == want
    else:
        path = directories(pid)["blkio"]
        assert (path / "blkio.throttle.read_bps_device").read_text().strip() == f"{disk} {MIB}"
        assert (path / "blkio.throttle.write_iops_device").read_text().strip() == f"{disk} 200"


REFUSED: dict[str, tuple[str, Config, str]] = {
    "swap below memory": (
        "memory",
        {"memory": {"limit": 64 * MIB, "swap": 32 * MIB}},
        "memory.swap",
    ),
    "swap without memory": ("memory", {"memory": {"swap": 32 * MIB}}, "memory.swap"),
    "a processor that is not there": ("cpuset", {"cpu": {"cpus": "4000"}}, "cpuset.cpus"),
    "a burst above the quota": (
        "cpu",
        {"cpu": {"quota": 10000, "period": 100000, "burst": 20000}},
        "burst",
    ),
    "a period beyond a second": ("cpu", {"cpu": {"quota": 1000, "period": 2000000}}, "2000000"),
    "a page size that is not there": (
        "hugetlb",
        {"hugepageLimits": [{"pageSize": "3MB", "limit": MIB}]},
        "3MB",
    ),
    "a device that is not there": (
        "io",
        {"blockIO": {"throttleReadBpsDevice": [{"major": 4095, "minor": 7, "rate": MIB}]}},
        "4095:7",
    ),
    "a file that is not there": (
        "memory",
        {"unified": {"memory.nothing": "1"}},
        "memory.nothing",
    ),
    "a controller that is not there": (
        "memory",
        {"unified": {"nothing.max": "1"}},
        "nothing",
    ),
    "a value that makes no sense": ("memory", {"unified": {"memory.high": "much"}}, "memory.high"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_limit_that_cannot_be_is_an_error(name: str, refusal: Callable[..., str]) -> None:
    """What the kernel refuses, or what contradicts itself, fails the create and leaves nothing."""
    controller, resources, word = REFUSED[name]
    version(controller)

    assert word in refusal(limiting(resources))


@pytest.mark.ours
@pytest.mark.needs("cgroup2-memory")
@pytest.mark.parametrize(
    ("memory", "file"),
    [({"swappiness": 60}, "swappiness"), ({"kernel": 64 * MIB}, "kernel")],
)
def test_what_v2_lost_is_ignored_with_a_word(
    memory: Config, file: str, runtime: Runtime, bundle: Bundle
) -> None:
    """Settings that clients go on sending and v2 has no file for are named in a warning."""
    runtime.created(bundle("true", edit=limiting({"memory": {"limit": 64 * MIB, **memory}})))

    assert re.search(rf"linux\.resources\.memory\.{file}: ignored", runtime.output())


@pytest.mark.ours
@pytest.mark.needs("cgroup2-memory")
@pytest.mark.parametrize(
    ("resources", "path"),
    [
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 100000}}, "cpu.realtimeRuntime"),
        ({"blockIO": {"leafWeight": 100}}, "blockIO.leafWeight"),
        ({"network": {"classID": 7}}, "network.classID"),
    ],
)
def test_what_v2_cannot_do_is_refused(
    resources: Config, path: str, refusal: Callable[..., str]
) -> None:
    """A limit that v2 has no means for fails the create, and the message has its JSON path."""
    assert f"linux.resources.{path}: " in refusal(limiting(resources))


@pytest.mark.needs("cgroup2-memory")
def test_what_changes_nothing_is_taken(runtime: Runtime, bundle: Bundle) -> None:
    """Settings that ask for what is so anyway are no error: Docker sends them."""
    resources = {
        "memory": {"disableOOMKiller": False},
        "cpu": {"realtimeRuntime": 0, "realtimePeriod": 0},
        "blockIO": {},
        "hugepageLimits": [],
        "network": {},
        "rdma": {},
    }

    assert runtime.created(bundle("true", edit=limiting(resources)))


def test_more_memory_than_allowed_ends_a_program(runtime: Runtime, bundle: Bundle) -> None:
    """A program that takes more memory than its limit is killed."""
    version("memory")
    resources = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    # tail keeps the last line, and this one has no end.
    script = "tail /dev/zero; echo $?"
    done = runtime.run(bundle("sh", "-c", script, edit=limiting(resources)))

    assert "137" in done.stdout


def test_more_processes_than_allowed_cannot_be(sh: Callable[..., str]) -> None:
    """A fork beyond the limit fails, inside the container only."""
    version("pids")
    script = "exec 2>&1; for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all"
    with pytest.raises(Failed, match="can't fork"):
        sh(script, limiting({"pids": {"limit": 4}}))


def test_a_limit_of_no_process_lets_the_first_one_be(runtime: Runtime, bundle: Bundle) -> None:
    """Zero is a limit, too: the program runs, and cannot fork."""
    version("pids")
    script = "echo alone; true | true; echo $?"
    runtime.created(bundle("sh", "-c", script, edit=limiting({"pids": {"limit": 0}})))
    runtime.ok("start", "c")
    runtime.wait()

    assert runtime.output().startswith("alone\n")
    assert "fork" in runtime.output()


def test_a_quota_holds_a_program_back(runtime: Runtime, bundle: Bundle) -> None:
    """A program that never rests gets no more time than its quota."""
    version("cpu")
    resources = {"cpu": {"quota": 10000, "period": 100000}}
    pid = runtime.created(bundle("sh", "-c", "while :; do :; done", edit=limiting(resources)))
    runtime.ok("start", "c")
    before, started = _cpu_seconds(pid), time.monotonic()
    time.sleep(2)
    share = (_cpu_seconds(pid) - before) / (time.monotonic() - started)

    assert share < 0.25
    assert "nr_throttled 0" not in read(pid, "cpu", "cpu.stat")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_program_stays_on_its_processors(sh: Callable[..., str]) -> None:
    """A program sees the processors it was given and no others."""
    version("cpuset")
    allowed = sh("grep Cpus_allowed_list: /proc/self/status", limiting({"cpu": {"cpus": "0"}}))

    assert allowed.split() == ["Cpus_allowed_list:", "0"]


@pytest.mark.needs("sys-resource")
def test_a_score_below_zero(sh: Callable[..., str]) -> None:
    """A program may be kept from the OOM killer by who is allowed to."""

    def edit(config: Config) -> None:
        config["process"]["oomScoreAdj"] = -500

    assert sh("cat /proc/self/oom_score_adj", edit) == "-500\n"


@pytest.mark.needs("sys-resource")
def test_limits_above_the_runtimes_own(runtime: Runtime, bundle: Bundle) -> None:
    """A hard limit can be higher than the one that the runtime has itself."""

    def edit(config: Config) -> None:
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 2048, "soft": 1024}]

    directory = bundle("sh", "-c", "ulimit -Sn; ulimit -Hn", edit=edit)
    few = (resource.RLIMIT_NOFILE, (512, 512))
    done = runtime.run(directory, preexec_fn=lambda: resource.setrlimit(*few))

    assert done.stdout == "1024\n2048\n"
