"""What resources become in the files of cgroup v1 and v2, and where the files are."""

from typing import Any

import pytest

from uxc.errors import InvalidError
from uxc.oci.cgroup import layout, limits, place, values
from uxc.oci.cgroup.layout import Layout
from uxc.oci.spec_resources import Resources

V2_MOUNT = "/sys/fs/cgroup"
V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
MORE_V1 = ("hugetlb", "net_cls", "net_prio", "rdma")


def v2(*controllers: str) -> Layout:
    here = Layout(V2_MOUNT, {})
    here._controllers = controllers or ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")
    return here


def v1(*more: str) -> Layout:
    return Layout("", {name: f"{V2_MOUNT}/{name}" for name in (*V1_CONTROLLERS, *more)})


def writes(resources: dict[str, Any], here: Layout) -> list[str]:
    """Return the planned writes as ``file=value``."""
    planned, _ = limits.plan(Resources(resources, "resources.json: "), here)
    return [f"{limit.file}={limit.value}" for limit in planned]


def warnings(resources: dict[str, Any], here: Layout) -> list[str]:
    return limits.plan(Resources(resources, "resources.json: "), here)[1]


def refusal(resources: dict[str, Any], here: Layout) -> str:
    with pytest.raises(InvalidError) as caught:
        limits.plan(Resources(resources, "resources.json: "), here)
    return caught.value.message


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (256, 35),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (4096, 303),
        (262143, 10000),
        (262144, 10000),
        (2**64 - 1, 10000),
    ],
)
def test_cpu_weight(shares: int, weight: int) -> None:
    """Shares become the weight that runc and crun compute: the defaults of both versions meet."""
    assert values.cpu_weight(shares) == weight


def test_cpu_weight_grows() -> None:
    """More shares never mean a smaller weight, and every weight is one that the kernel takes."""
    weights = [values.cpu_weight(shares) for shares in range(2, 5000)]

    assert weights == sorted(weights)
    assert weights[0] == 1
    assert weights[-1] < 10000


@pytest.mark.parametrize(("weight", "io"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_io_weight(weight: int, io: int) -> None:
    """The range 10 to 1000 is stretched over 1 to 10000."""
    assert values.io_weight(weight) == io


V2_TABLE: list[tuple[dict[str, Any], list[str]]] = [
    ({"memory": {"limit": 100}}, ["memory.max=100"]),
    ({"memory": {"limit": -1}}, ["memory.max=max"]),
    ({"memory": {"limit": 0, "reservation": 0, "swap": 0}}, []),
    ({"memory": {"reservation": 50}}, ["memory.low=50"]),
    ({"memory": {"limit": 100, "swap": 150}}, ["memory.max=100", "memory.swap.max=50"]),
    ({"memory": {"limit": 100, "swap": 100}}, ["memory.max=100", "memory.swap.max=0"]),
    ({"memory": {"limit": 100, "swap": -1}}, ["memory.max=100", "memory.swap.max=max"]),
    ({"memory": {"limit": -1, "swap": 0}}, ["memory.max=max", "memory.swap.max=max"]),
    ({"memory": {"useHierarchy": True, "disableOOMKiller": False}}, []),
    ({"cpu": {"shares": 1024}}, ["cpu.weight=100"]),
    ({"cpu": {"quota": 50000}}, ["cpu.max=50000"]),
    ({"cpu": {"quota": 50000, "period": 100000}}, ["cpu.max=50000 100000"]),
    ({"cpu": {"quota": -1, "period": 100000}}, ["cpu.max=max 100000"]),
    ({"cpu": {"period": 200000}}, ["cpu.max=max 200000"]),
    ({"cpu": {"quota": 5000, "burst": 1000}}, ["cpu.max=5000", "cpu.max.burst=1000"]),
    ({"cpu": {"idle": 1, "shares": 1024}}, ["cpu.idle=1"]),
    ({"cpu": {"idle": 0, "shares": 1024}}, ["cpu.idle=0", "cpu.weight=100"]),
    ({"cpu": {"realtimeRuntime": 0, "realtimePeriod": 0}}, []),
    ({"cpu": {"cpus": "0-1", "mems": "0"}}, ["cpuset.cpus=0-1", "cpuset.mems=0"]),
    ({"pids": {"limit": 10}}, ["pids.max=10"]),
    ({"pids": {"limit": 0}}, ["pids.max=0"]),
    ({"pids": {"limit": -1}}, ["pids.max=max"]),
    ({"blockIO": {"weight": 500}}, ["io.bfq.weight=500"]),
    (
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]}},
        ["io.max=8:0 rbps=600"],
    ),
    (
        {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]}},
        ["io.max=8:16 wiops=max"],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
        ["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"],
    ),
    (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}},
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
    ),
    ({"network": {}}, []),
    (
        {"unified": {"io.max": "8:0 rbps=1\n8:16 rbps=2", "memory.high": "5"}},
        ["io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.high=5"],
    ),
]


@pytest.mark.parametrize(("resources", "expected"), V2_TABLE, ids=[str(row[0]) for row in V2_TABLE])
def test_files_of_v2(resources: dict[str, Any], expected: list[str]) -> None:
    """Each resource is written to the files of v2 that mean the same."""
    assert writes(resources, v2()) == expected


V1_TABLE: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"memory": {"swap": 150, "reservation": 50, "limit": 100, "swappiness": 0}},
        [
            "memory.limit_in_bytes=100",
            "memory.memsw.limit_in_bytes=150",
            "memory.soft_limit_in_bytes=50",
            "memory.swappiness=0",
        ],
    ),
    ({"memory": {"disableOOMKiller": True}}, ["memory.oom_control=1"]),
    (
        {"cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 0}},
        [
            "cpu.shares=512",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "cpu.cfs_burst_us=0",
        ],
    ),
    ({"cpu": {"idle": 1, "shares": 512}}, ["cpu.idle=1"]),
    (
        {"cpu": {"realtimeRuntime": 5, "realtimePeriod": 10}},
        ["cpu.rt_period_us=10", "cpu.rt_runtime_us=5"],
    ),
    ({"cpu": {"cpus": "0"}}, ["cpuset.cpus=0"]),
    ({"pids": {"limit": -1}}, ["pids.max=max"]),
    ({"blockIO": {"weight": 10}}, ["blkio.bfq.weight=10"]),
    (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}},
        ["blkio.bfq.weight_device=8:0 500"],
    ),
    (
        {"blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 6}]}},
        ["blkio.throttle.read_iops_device=8:0 6"],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]},
        ["hugetlb.2MB.limit_in_bytes=1", "hugetlb.2MB.rsvd.limit_in_bytes=1"],
    ),
    (
        {"network": {"classID": 7, "priorities": [{"name": "eth0", "priority": 5}]}},
        ["net_cls.classid=7", "net_prio.ifpriomap=eth0 5"],
    ),
    ({"rdma": {"mlx": {"hcaObjects": 1}}}, ["rdma.max=mlx hca_object=1"]),
]


@pytest.mark.parametrize(("resources", "expected"), V1_TABLE, ids=[str(row[0]) for row in V1_TABLE])
def test_files_of_v1(resources: dict[str, Any], expected: list[str]) -> None:
    """Each resource is written to v1's files as it is, in the order that the kernel wants."""
    assert writes(resources, v1(*MORE_V1)) == expected


REFUSED: list[tuple[dict[str, Any], Layout, str]] = [
    (
        {"memory": {"limit": 100, "swap": 99}},
        v2(),
        "memory.swap: must not be below the memory limit 100: it is the sum of both",
    ),
    (
        {"memory": {"swap": 99}},
        v1(),
        "memory.swap: needs a memory limit: it is the sum of memory and swap",
    ),
    (
        {"memory": {"disableOOMKiller": True}},
        v2(),
        "memory.disableOOMKiller: cgroup v2 cannot switch the OOM killer off",
    ),
    (
        {"cpu": {"realtimeRuntime": 5}},
        v2(),
        "cpu.realtimeRuntime: cgroup v2 has no limit for real-time scheduling",
    ),
    ({"blockIO": {"weight": 5}}, v2(), "blockIO.weight: must be a number from 10 to 1000"),
    (
        {"blockIO": {"leafWeight": 10}},
        v1(),
        "blockIO.leafWeight: the kernel has no leaf weights since Linux 5.0",
    ),
    (
        {"network": {"classID": 1}},
        v2(),
        "network.classID: needs the controller net_cls of cgroup v1",
    ),
    (
        {"pids": {"limit": 5}},
        v2("memory"),
        "pids.limit: this machine's kernel has no controller 'pids' of cgroup v2",
    ),
    (
        {"unified": {"memory.high": "1"}},
        v1(),
        "unified[\"memory.high\"]: this machine's kernel has no controller 'memory' of cgroup v2",
    ),
]


@pytest.mark.parametrize(("resources", "here", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_limits_that_cannot_be(resources: dict[str, Any], here: Layout, message: str) -> None:
    """What contradicts itself or cannot be enforced is refused with its path, never left out."""
    assert refusal(resources, here) == f"resources.json: {message}"


def test_habitual_settings_are_warned_about() -> None:
    """Settings that clients send by habit and v2 lacks are ignored with a warning each."""
    habits = {"memory": {"limit": 5, "kernel": 5, "kernelTCP": -1, "swappiness": 60}}

    assert writes(habits, v2()) == ["memory.max=5"]
    assert warnings(habits, v2()) == [
        "resources.json: memory.kernel: ignored: cgroup v2 has no such limit",
        "resources.json: memory.swappiness: ignored: cgroup v2 has no such limit",
    ]


def test_no_limit_without_the_controller() -> None:
    """Asking for no limit is fine where nothing could enforce one."""
    assert writes({"pids": {"limit": -1}}, v2("memory")) == []


def test_hybrid_machine() -> None:
    """Each limit goes to the version that has its controller."""
    here = Layout(f"{V2_MOUNT}/unified", {"memory": f"{V2_MOUNT}/memory"})
    here._controllers = ("pids",)

    assert writes({"memory": {"limit": 5}, "pids": {"limit": 6}}, here) == [
        "memory.limit_in_bytes=5",
        "pids.max=6",
    ]


HYBRID = """\
23 1 254:0 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /.. /mnt/outside rw - cgroup cgroup rw,memory
36 31 0:32 / /sys/fs/cgroup/me\\040mory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
42 31 0:38 / /srv/copy rw,relatime - cgroup2 cgroup2 rw
"""


def test_layout_of_a_hybrid_machine() -> None:
    """Hierarchies are found by controller; co-mounted ones share a mount point."""
    here = layout.parse(HYBRID)

    assert here.unified == "/sys/fs/cgroup/unified"
    assert here.v1 == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/me mory",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert here.tracker() == "memory"


def test_layout_of_a_router() -> None:
    """A machine with v2 only has no v1 hierarchies, whatever else is mounted."""
    here = layout.parse("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")

    assert (here.unified, here.v1, here.tracker()) == ("/sys/fs/cgroup", {}, "")


@pytest.mark.parametrize(
    ("cgroups_path", "expected"),
    [
        ("", "uxc/c/web"),
        ("/a/b", "a/b"),
        ("//a/./b/", "a/b"),
        ("a/b", "uxc/a/b"),
        ("system.slice:podman:abc", "system.slice/podman-abc.scope"),
        (":podman:abc", "system.slice/podman-abc.scope"),
        ("user-1000.slice:p:abc", "user.slice/user-1000.slice/p-abc.scope"),
        ("-.slice:p:abc", "p-abc.scope"),
        ("machine.slice::pod.slice", "machine.slice/pod.slice"),
        ("/with:two:colons", "with:two:colons"),
    ],
)
def test_place(cgroups_path: str, expected: str) -> None:
    """Absolute paths are taken from the root, others from our parent, triples as systemd would."""
    assert place.relative_path("web", cgroups_path, "uxc") == expected


@pytest.mark.parametrize(
    "wrong", ["/", "/..", "/a/../b", ".", "a-b:p:n", "a--b.slice:p:n", "s.slice:p:"]
)
def test_places_that_are_none(wrong: str) -> None:
    """The root of a hierarchy and what leads out of it are no places for a container."""
    with pytest.raises(InvalidError, match=r"^config.json: linux.cgroupsPath: "):
        place.relative_path("web", wrong, "uxc")
