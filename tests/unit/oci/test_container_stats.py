"""Statistics out of cgroup files: v2 told in v1's terms, v1 as it is, hybrid from both."""

import os
from pathlib import Path
from typing import Any

import pytest

from uxc.oci import stats
from uxc.oci.cgroup.layout import Layout
from uxc.oci.state import State

UNLIMITED = (1 << 64) - 1


def container(hierarchies: list[Path], unified: str) -> State:
    """Return a container whose cgroup is called c; its network is ours, so it has none."""
    state = State("/nowhere", "c")
    state.pid = os.getpid()
    state.cgroup = {
        "path": "c",
        "unified": unified,
        "hierarchies": [str(one) for one in hierarchies],
        "made": [],
    }
    return state


def fill(directory: Path, **texts: str) -> None:
    """Write cgroup files; a double underscore is a dot, a single one stays."""
    (directory / "c").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / "c" / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def v2(tmp_path: Path) -> dict[str, Any]:
    """Return the statistics of a container in a v2 tree with all controllers."""
    fill(
        tmp_path,
        cpu__stat="usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\n"
        "throttled_usec 7",
        cpu__pressure="some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0",
        cpuset__cpus__effective="0-2,5",
        cpuset__mems__effective="0",
        memory__stat="anon 1\nfile 4096\nkernel 17\nsock 3",
        memory__current="5000",
        memory__max="10000",
        memory__peak="6000",
        memory__events="low 0\nmax 3\noom_kill 1",
        memory__swap__current="100",
        memory__swap__max="max",
        pids__current="4",
        pids__max="max",
        io__stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16",
        hugetlb__2MB__current="2097152",
        hugetlb__2MB__max="max",
        hugetlb__2MB__events="max 6",
    )
    return stats.read(container([tmp_path], str(tmp_path)), Layout(str(tmp_path), {}))


def test_v2_counts_cpu_time_in_microseconds(v2: dict[str, Any]) -> None:
    """Nanoseconds are what the decoders expect."""
    assert v2["cpu"]["usage"] == {"total": 30_000, "user": 20_000, "kernel": 10_000}
    assert v2["cpu"]["throttling"] == {"periods": 5, "throttledPeriods": 2, "throttledTime": 7000}
    assert v2["cpu"]["psi"]["some"] == {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 9}
    assert (v2["cpuset"]["cpus"], v2["cpuset"]["mems"]) == ([0, 1, 2, 5], [0])


def test_v2_counts_swap_alone(v2: dict[str, Any]) -> None:
    """v1's numbers are the sum of memory and swap; "max" is the largest number."""
    memory = v2["memory"]

    assert memory["usage"] == {"limit": 10000, "usage": 5000, "max": 6000, "failcnt": 3}
    assert memory["swap"] == {"limit": UNLIMITED, "usage": 5100, "max": 0, "failcnt": 0}
    assert (memory["cache"], memory["kernel"]["usage"]) == (4096, 17)
    assert memory["raw"]["anon"] == 1


def test_v2_has_one_table_of_block_io(v2: dict[str, Any]) -> None:
    """v1 has one for bytes and one for operations, with a line for each direction."""
    assert v2["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 1},
            {"major": 8, "minor": 0, "op": "Write", "value": 2},
        ],
        "ioServicedRecursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 3},
            {"major": 8, "minor": 0, "op": "Write", "value": 4},
        ],
    }


def test_the_rest_of_v2(v2: dict[str, Any]) -> None:
    """No limit of processes is told as 0; huge pages have a failure count in their events."""
    assert v2["pids"] == {"current": 4, "limit": 0}
    assert v2["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 6}}
    assert v2["intel_rdt"] == {}
    assert v2["network_interfaces"] == []


def test_v1_is_told_as_it_is(tmp_path: Path) -> None:
    """Each controller from its own hierarchy."""
    cpu, memory, pids, block = (tmp_path / name for name in ("cpu", "memory", "pids", "blkio"))
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    fill(
        cpu,
        cpuacct__stat="user 3\nsystem 2",
        cpuacct__usage="77",
        cpuacct__usage_percpu="70 7",
        cpuacct__usage_all="cpu user system\n0 60 10\n1 5 2",
        cpu__stat="nr_periods 5\nnr_throttled 2\nthrottled_time 7",
    )
    fill(
        memory,
        memory__stat="cache 9\nrss 1",
        memory__limit_in_bytes="10000",
        memory__usage_in_bytes="5000",
        memory__max_usage_in_bytes="6000",
        memory__failcnt="3",
        memory__memsw__usage_in_bytes="5100",
    )
    fill(pids, pids__current="4", pids__max="40")
    fill(
        block,
        blkio__throttle__io_service_bytes_recursive="8:0 Read 1\n8:0 Write 2\nTotal 3",
        blkio__throttle__io_serviced_recursive="8:0 Read 5\nTotal 5",
    )
    layout = Layout(
        "",
        {
            "cpu": str(cpu),
            "cpuacct": str(cpu),
            "memory": str(memory),
            "pids": str(pids),
            "blkio": str(block),
        },
    )

    found = stats.read(container([cpu, memory, pids, block], ""), layout)

    assert found["cpu"]["usage"] == {
        "total": 77,
        "percpu": [70, 7],
        "percpu_user": [60, 5],
        "percpu_kernel": [10, 2],
        "user": 3 * tick_ns,
        "kernel": 2 * tick_ns,
    }
    assert found["cpu"]["throttling"]["throttledTime"] == 7
    assert found["memory"]["usage"] == {"limit": 10000, "usage": 5000, "max": 6000, "failcnt": 3}
    assert found["memory"]["swap"]["usage"] == 5100
    assert found["memory"]["cache"] == 9
    assert found["pids"] == {"current": 4, "limit": 40}
    assert found["blkio"]["ioServiceBytesRecursive"][1]["value"] == 2
    assert len(found["blkio"]["ioServicedRecursive"]) == 1


def test_hybrid_takes_each_from_where_it_is(tmp_path: Path) -> None:
    """CPU time from v2, memory from v1; what the container is in no hierarchy of, is 0."""
    unified, memory = tmp_path / "unified", tmp_path / "memory"
    fill(unified, cpu__stat="usage_usec 30", cgroup__procs="1\n2\n3")
    fill(memory, memory__usage_in_bytes="5000")
    (tmp_path / "pids").mkdir()
    layout = Layout(str(unified), {"memory": str(memory), "pids": str(tmp_path / "pids")})

    found = stats.read(container([unified, memory], str(unified)), layout)

    assert found["cpu"]["usage"]["total"] == 30_000
    assert found["memory"]["usage"]["usage"] == 5000
    assert found["pids"] == {"current": 3, "limit": 0}
    assert found["blkio"] == {}


def test_a_container_that_has_gone_counts_nothing(tmp_path: Path) -> None:
    """Its end between two looks is no error."""
    state = container([tmp_path], str(tmp_path))
    state.pid = 0

    found = stats.read(state, Layout(str(tmp_path), {}))

    assert found["cpu"]["usage"]["total"] == 0
    assert found["network_interfaces"] == []
