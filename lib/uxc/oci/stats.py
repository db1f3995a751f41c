"""What a container has used, from its cgroup and its network: the numbers of ``events``.

The object is runc's (its types/events.go), as containerd's shim decodes it. v2 has other files
and units; as in runc, its numbers are told in those of v1. A controller whose hierarchy the
container is not in counts nothing for it: its numbers are 0.
"""

import errno
import posix

from uxc import files
from uxc.errors import system_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.state import State

    Numbers = dict[str, int]

# "No limit" as v2's "max" is told, and the largest number that the decoders take.
_UNLIMITED = (1 << 64) - 1
_NS_PER_S = 1_000_000_000
_NS_PER_US = 1000
_CPUSET = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)
# v1's tables of block I/O, best first: with BFQ, without, and of this cgroup alone.
_V1_IO = (
    ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
)
_BYTES, _SERVICED = "ioServiceBytesRecursive", "ioServicedRecursive"
_V2_IO = {
    "rbytes": (_BYTES, "Read"),
    "wbytes": (_BYTES, "Write"),
    "rios": (_SERVICED, "Read"),
    "wios": (_SERVICED, "Write"),
}
# The columns of /proc/PID/net/dev, proc(5).
_NET = {
    "RxBytes": 0,
    "RxPackets": 1,
    "RxErrors": 2,
    "RxDropped": 3,
    "TxBytes": 8,
    "TxPackets": 9,
    "TxErrors": 10,
    "TxDropped": 11,
}


def read(state: "State", layout: "Layout") -> "dict[str, Any]":
    """Return the statistics of a container; SystemFailure when a file cannot be read."""
    cgroup = state.cgroup or {"path": "", "unified": "", "hierarchies": []}
    directories = _Directories(cgroup, layout)
    try:
        return {
            "cpu": _cpu(directories),
            "cpuset": _cpuset(directories),
            "memory": _memory(directories),
            "pids": _pids(directories),
            "blkio": _block_io(directories),
            "hugetlb": _hugetlb(directories),
            "intel_rdt": {},
            "network_interfaces": _network(state.pid),
        }
    except OSError as error:
        raise system_failure("read the statistics", error) from None


class _Directories:
    """Where the container's cgroup is for each controller."""

    __slots__ = ("_cgroup", "_layout", "unified")

    def __init__(self, cgroup: "dict[str, Any]", layout: "Layout") -> None:
        self._cgroup = cgroup
        self._layout = layout
        # With or without controllers, v2 counts CPU time.
        self.unified = f"{cgroup['unified']}/{cgroup['path']}" if cgroup["unified"] else ""

    def v1(self, controller: str) -> str:
        """Return the directory in the hierarchy of ``controller``, empty if it is in none."""
        mount = self._layout.v1.get(controller, "")
        return f"{mount}/{self._cgroup['path']}" if mount in self._cgroup["hierarchies"] else ""


def _text(directory: str, file: str) -> str:
    """Return the content of a cgroup's file, empty when there is none or the cgroup has gone."""
    try:
        return files.read_bytes(f"{directory}/{file}").decode() if directory else ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        # A controller that is compiled in, but off (pressure, memory with a boot option).
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def _number(directory: str, file: str) -> int:
    text = _text(directory, file).strip()
    return _UNLIMITED if text == "max" else int(text or "0")


def _pairs(directory: str, file: str) -> "Numbers":
    """Return a file of lines ``name number``."""
    words = _text(directory, file).split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=False)}


def _pressure(directory: str, file: str) -> "dict[str, Any]":
    """Return the pressure stall information of v2, as the member to add; empty without."""
    found: dict[str, Any] = {}
    for line in _text(directory, file).splitlines():
        kind, *words = line.split()
        values = dict(word.split("=", 1) for word in words)
        numbers: dict[str, int | float] = {"total": int(values.pop("total", "0"))}
        numbers.update({name: float(value) for name, value in values.items()})
        found[kind] = numbers
    return {"psi": found} if found else {}


def _cpu(at: _Directories) -> "dict[str, Any]":
    accounts = at.v1("cpuacct")
    if not accounts:
        numbers = _pairs(at.unified, "cpu.stat")
        usage: dict[str, Any] = {
            "total": numbers.get("usage_usec", 0) * _NS_PER_US,
            "kernel": numbers.get("system_usec", 0) * _NS_PER_US,
            "user": numbers.get("user_usec", 0) * _NS_PER_US,
        }
        throttled = numbers.get("throttled_usec", 0) * _NS_PER_US
    else:
        tick_ns = _NS_PER_S // posix.sysconf("SC_CLK_TCK")
        split = _pairs(accounts, "cpuacct.stat")
        rows = [line.split() for line in _text(accounts, "cpuacct.usage_all").splitlines()[1:]]
        usage = {
            "total": _number(accounts, "cpuacct.usage"),
            "percpu": [int(word) for word in _text(accounts, "cpuacct.usage_percpu").split()],
            "percpu_user": [int(row[1]) for row in rows],
            "percpu_kernel": [int(row[2]) for row in rows],
            "kernel": split.get("system", 0) * tick_ns,
            "user": split.get("user", 0) * tick_ns,
        }
        numbers = _pairs(at.v1("cpu"), "cpu.stat")
        throttled = numbers.get("throttled_time", 0)
    return {
        "usage": usage,
        "throttling": {
            "periods": numbers.get("nr_periods", 0),
            "throttledPeriods": numbers.get("nr_throttled", 0),
            "throttledTime": throttled,
        },
        **_pressure(at.unified, "cpu.pressure"),
    }


def _cpuset(at: _Directories) -> "dict[str, Any]":
    directory = at.v1("cpuset")
    suffix = "" if directory else ".effective"
    found: dict[str, Any] = {
        key: _list(_text(directory or at.unified, f"cpuset.{key}{suffix}"))
        for key in ("cpus", "mems")
    }
    for name in _CPUSET:
        found[name] = _number(directory, f"cpuset.{name}")
    return found


def _list(text: str) -> "list[int]":
    """Return the numbers in a list such as ``0-3,7``."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _memory(at: _Directories) -> "dict[str, Any]":
    directory = at.v1("memory")
    if not directory:
        return _memory_v2(at.unified)
    raw = _pairs(directory, "memory.stat")
    return {
        "cache": raw.get("cache", 0),
        "usage": _memory_v1(directory, "memory"),
        "swap": _memory_v1(directory, "memory.memsw"),
        "kernel": _memory_v1(directory, "memory.kmem"),
        "kernelTCP": _memory_v1(directory, "memory.kmem.tcp"),
        "raw": raw,
    }


def _memory_v1(directory: str, what: str) -> "Numbers":
    return {
        "limit": _number(directory, f"{what}.limit_in_bytes"),
        "usage": _number(directory, f"{what}.usage_in_bytes"),
        "max": _number(directory, f"{what}.max_usage_in_bytes"),
        "failcnt": _number(directory, f"{what}.failcnt"),
    }


def _memory_v2(directory: str) -> "dict[str, Any]":
    raw = _pairs(directory, "memory.stat")
    usage = _memory_entry_v2(directory, "memory")
    swap = _memory_entry_v2(directory, "memory.swap")
    # v1 counts the sum of memory and swap; its highest value is not the sum of the two highest.
    swap["usage"] += usage["usage"]
    swap["limit"] = min(swap["limit"] + usage["limit"], _UNLIMITED)
    swap["max"] = 0
    return {
        "cache": raw.get("file", 0),
        "usage": usage,
        "swap": swap,
        "kernel": {"limit": 0, "usage": raw.get("kernel", 0), "max": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "usage": raw.get("sock", 0), "max": 0, "failcnt": 0},
        "raw": raw,
        **_pressure(directory, "memory.pressure"),
    }


def _memory_entry_v2(directory: str, what: str) -> "Numbers":
    return {
        "limit": _number(directory, f"{what}.max"),
        "usage": _number(directory, f"{what}.current"),
        "max": _number(directory, f"{what}.peak"),
        "failcnt": _pairs(directory, f"{what}.events").get("max", 0),
    }


def _pids(at: _Directories) -> "Numbers":
    directory = at.v1("pids") or at.unified
    limit = _number(directory, "pids.max")
    current = _text(directory, "pids.current").strip()
    return {
        # Without the controller the processes are still known.
        "current": int(current) if current else len(_text(at.unified, "cgroup.procs").split()),
        # As runc tells "no limit".
        "limit": 0 if limit == _UNLIMITED else limit,
    }


def _block_io(at: _Directories) -> "dict[str, Any]":
    directory = at.v1("blkio")
    if not directory:
        return {**_block_io_v2(at.unified), **_pressure(at.unified, "io.pressure")}
    for file, serviced in _V1_IO:
        table = _v1_table(directory, file)
        if table:
            return {_BYTES: table, _SERVICED: _v1_table(directory, serviced)}
    return {}


def _v1_table(directory: str, file: str) -> "list[dict[str, Any]]":
    """Return the lines ``major:minor operation number``; the last one, a total, is left out."""
    rows = [line.split() for line in _text(directory, file).splitlines()]
    return [_entry(row[0], row[1], int(row[2])) for row in rows if len(row) == 3]


def _block_io_v2(directory: str) -> "dict[str, Any]":
    found: dict[str, Any] = {}
    for line in _text(directory, "io.stat").splitlines():
        device, *words = line.split()
        for word in words:
            name, _, number = word.partition("=")
            if name in _V2_IO:
                table, operation = _V2_IO[name]
                found.setdefault(table, []).append(_entry(device, operation, int(number)))
    return found


def _entry(device: str, operation: str, value: int) -> "dict[str, Any]":
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


def _hugetlb(at: _Directories) -> "dict[str, Any]":
    directory = at.v1("hugetlb")
    found: dict[str, Any] = {}
    for size in _page_sizes(directory, ".failcnt"):
        # What is reserved counts where the kernel knows it: a page is promised before it is used.
        prefix = f"hugetlb.{size}"
        if posix.access(f"{directory}/{prefix}.rsvd.usage_in_bytes", posix.F_OK):
            prefix += ".rsvd"
        found[size] = {
            "usage": _number(directory, f"{prefix}.usage_in_bytes"),
            "max": _number(directory, f"{prefix}.max_usage_in_bytes"),
            "failcnt": _number(directory, f"{prefix}.failcnt"),
        }
    for size in _page_sizes(at.unified, ".events"):
        prefix = f"hugetlb.{size}"
        reserved = _text(at.unified, f"{prefix}.rsvd.current")
        found[size] = {
            "usage": int(reserved or _number(at.unified, f"{prefix}.current")),
            "failcnt": _pairs(at.unified, f"{prefix}.events").get("max", 0),
        }
    return found


def _page_sizes(directory: str, suffix: str) -> "list[str]":
    """Return the sizes, such as ``2MB``, that a cgroup has a file ``hugetlb.SIZE<suffix>`` for."""
    try:
        names = posix.listdir(directory) if directory else []
    except FileNotFoundError:
        return []
    parts = [name.split(".") for name in names if name.startswith("hugetlb.")]
    return sorted(part[1] for part in parts if len(part) == 3 and f".{part[2]}" == suffix)


def _network(pid: int) -> "list[dict[str, Any]]":
    """Return the counters of the interfaces in the container's network, if it has one of its own.

    runc leaves the list empty; loopback says nothing about a network.
    """
    try:
        if posix.stat(f"/proc/{pid}/ns/net").st_ino == posix.stat("/proc/self/ns/net").st_ino:
            return []
        text = files.read_bytes(f"/proc/{pid}/net/dev").decode(errors="replace")
    except OSError as error:
        # It has ended since: EINVAL is what the kernel says of the network of a dead process.
        if error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
            return []
        raise
    found = []
    for line in text.splitlines()[2:]:
        name, _, numbers = line.rpartition(":")
        columns = numbers.split()
        if name.strip() != "lo":
            counters = {key: int(columns[at]) for key, at in _NET.items()}
            found.append({"Name": name.strip(), **counters})
    return found
