"""The files of cgroup v2 that a ``resources`` object asks to be written, in order; pure.

Every function gets the part of the object for one controller, the JSON path of that part and the
list for warnings, and returns the writes. What v2 cannot do is refused with its path, except for
settings that clients send habitually and the specification calls not recommended: a warning.
"""

from uxc.oci.cgroup.values import (
    Limit,
    check_block_weight,
    cpu_weight,
    io_weight,
    or_max,
    refuse,
    swap_alone,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_resources import CPU, BlockIO, HugepageLimit, Memory, NetworkClass, Rdma


def memory(wanted: "Memory", where: str, warnings: "list[str]") -> "list[Limit]":
    """Return the writes for memory limits; InvalidError."""
    writes = []
    if wanted.reservation:
        origin = f"{where}.reservation"
        writes.append(Limit(2, "memory", "memory.low", or_max(wanted.reservation), origin))
    swap = swap_alone(wanted, where)
    if wanted.limit:
        origin = f"{where}.limit"
        writes.append(Limit(2, "memory", "memory.max", or_max(wanted.limit), origin))
    if swap is not None:
        # A kernel without swap has no such file; "no swap at all" is true there without it.
        none_wanted = swap in ("0", "max")
        origin = f"{where}.swap"
        writes.append(Limit(2, "memory", "memory.swap.max", swap, origin, optional=none_wanted))
    if wanted.disable_oom_killer:
        refuse(where, "disableOOMKiller", "cgroup v2 cannot switch the OOM killer off")
    for value, key in (
        (wanted.kernel, "kernel"),
        (wanted.kernel_tcp, "kernelTCP"),
        (wanted.swappiness, "swappiness"),
    ):
        if value is not None and value != -1:
            warnings.append(f"{where}.{key}: ignored: cgroup v2 has no such limit")
    return writes


def cpu(wanted: "CPU", where: str, warnings: "list[str]") -> "list[Limit]":
    """Return the writes for CPU time; InvalidError."""
    writes = []
    if wanted.realtime_runtime or wanted.realtime_period:
        key = "realtimeRuntime" if wanted.realtime_runtime else "realtimePeriod"
        refuse(where, key, "cgroup v2 has no limit for real-time scheduling")
    if wanted.idle is not None:
        writes.append(Limit(2, "cpu", "cpu.idle", wanted.idle, f"{where}.idle"))
    if wanted.shares and wanted.idle != 1:
        # The kernel refuses a weight for an idle cgroup: it has the lowest already.
        origin = f"{where}.shares"
        writes.append(Limit(2, "cpu", "cpu.weight", cpu_weight(wanted.shares), origin))
    if wanted.quota or wanted.period:
        words = [or_max(wanted.quota or -1)]
        if wanted.period:
            words.append(str(wanted.period))
        origin = f"{where}.quota" if wanted.quota else f"{where}.period"
        writes.append(Limit(2, "cpu", "cpu.max", " ".join(words), origin))
    if wanted.burst is not None:
        writes.append(Limit(2, "cpu", "cpu.max.burst", wanted.burst, f"{where}.burst"))
    return writes


def pids(limit: int, where: str) -> "list[Limit]":
    """Return the write for the number of tasks; 0 is a limit, too."""
    return [Limit(2, "pids", "pids.max", or_max(limit), f"{where}.limit")]


def block_io(wanted: "BlockIO", where: str) -> "list[Limit]":
    """Return the writes for block I/O; InvalidError."""
    writes = []
    if wanted.leaf_weight:
        refuse(where, "leafWeight", "the kernel has no leaf weights since Linux 5.0")
    if wanted.weight:
        check_block_weight(wanted.weight, where, "weight")
        origin = f"{where}.weight"
        general = Limit(2, "io", "io.weight", f"default {io_weight(wanted.weight)}", origin)
        writes.append(Limit(2, "io", "io.bfq.weight", wanted.weight, origin, instead=general))
    for index, device in enumerate(wanted.weight_devices):
        path = f"{where}.weightDevice[{index}]"
        if device.leaf_weight:
            refuse(path, "leafWeight", "the kernel has no leaf weights since Linux 5.0")
        if device.weight:
            check_block_weight(device.weight, path, "weight")
            name = f"{device.major}:{device.minor}"
            origin = f"{path}.weight"
            general = Limit(2, "io", "io.weight", f"{name} {io_weight(device.weight)}", origin)
            value = f"{name} {device.weight}"
            writes.append(Limit(2, "io", "io.bfq.weight", value, origin, instead=general))
    for devices, key, word in (
        (wanted.throttle_read_bps, "throttleReadBpsDevice", "rbps"),
        (wanted.throttle_write_bps, "throttleWriteBpsDevice", "wbps"),
        (wanted.throttle_read_iops, "throttleReadIOPSDevice", "riops"),
        (wanted.throttle_write_iops, "throttleWriteIOPSDevice", "wiops"),
    ):
        for index, limited in enumerate(devices):
            # v1 lifts a limit with 0, v2 with max.
            value = f"{limited.major}:{limited.minor} {word}={limited.rate or 'max'}"
            writes.append(Limit(2, "io", "io.max", value, f"{where}.{key}[{index}]"))
    return writes


def hugetlb(wanted: "list[HugepageLimit]", where: str) -> "list[Limit]":
    """Return the writes for huge pages: on use, and on reservation where the kernel counts it."""
    writes = []
    for index, limit in enumerate(wanted):
        file = f"hugetlb.{limit.page_size}"
        origin = f"{where}[{index}]"
        writes.append(Limit(2, "hugetlb", f"{file}.max", limit.limit, origin))
        reserved = f"{file}.rsvd.max"
        writes.append(Limit(2, "hugetlb", reserved, limit.limit, origin, optional=True))
    return writes


def rdma(wanted: "dict[str, Rdma]", where: str, version: int = 2) -> "list[Limit]":
    """Return the writes for RDMA devices; v1 has the same file."""
    writes = []
    for name, limits in wanted.items():
        words = [name]
        if limits.hca_handles is not None:
            words.append(f"hca_handle={limits.hca_handles}")
        if limits.hca_objects is not None:
            words.append(f"hca_object={limits.hca_objects}")
        writes.append(Limit(version, "rdma", "rdma.max", " ".join(words), f'{where}["{name}"]'))
    return writes


def network(wanted: "NetworkClass", where: str) -> "list[Limit]":
    """Refuse network classes, which v2 has not; InvalidError."""
    if wanted.class_id:
        refuse(where, "classID", "needs the controller net_cls of cgroup v1")
    if wanted.priorities:
        refuse(where, "priorities", "needs the controller net_prio of cgroup v1")
    return []


def unified(wanted: "dict[str, str]", where: str) -> "list[Limit]":
    """Return the writes for files of v2 by name; a file such as io.max takes a line at a time."""
    return [
        Limit(2, name.partition(".")[0], name, line, f'{where}["{name}"]')
        for name, value in wanted.items()
        for line in value.splitlines() or [""]
    ]
