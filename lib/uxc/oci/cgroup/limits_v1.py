"""The files of cgroup v1 that a ``resources`` object asks to be written, in order; pure.

The specification's numbers are v1's own, so most are written as they are. Signatures are those of
``limits_v2``.
"""

from uxc.oci.cgroup.values import Limit, check_block_weight, check_swap, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_resources import CPU, BlockIO, HugepageLimit, Memory, NetworkClass


def memory(wanted: "Memory", where: str, warnings: "list[str]") -> "list[Limit]":
    """Return the writes for memory limits; InvalidError."""
    check_swap(wanted, where)
    writes = []
    # In this order: the kernel keeps limit <= memsw at every moment, and memsw starts unlimited.
    for value, key, file in (
        (wanted.limit, "limit", "memory.limit_in_bytes"),
        (wanted.swap, "swap", "memory.memsw.limit_in_bytes"),
        (wanted.reservation, "reservation", "memory.soft_limit_in_bytes"),
        (wanted.kernel_tcp, "kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ):
        if value:
            writes.append(Limit(1, "memory", file, value, f"{where}.{key}"))
    if wanted.kernel is not None and wanted.kernel != -1:
        # The kernel took the limit away in 5.16 and swallows writes to the file that remained.
        warnings.append(f"{where}.kernel: ignored: the kernel has no such limit any more")
    if wanted.swappiness is not None:
        origin = f"{where}.swappiness"
        writes.append(Limit(1, "memory", "memory.swappiness", wanted.swappiness, origin))
    if wanted.disable_oom_killer:
        origin = f"{where}.disableOOMKiller"
        writes.append(Limit(1, "memory", "memory.oom_control", 1, origin))
    return writes


def cpu(wanted: "CPU", where: str, warnings: "list[str]") -> "list[Limit]":
    """Return the writes for CPU time."""
    del warnings
    writes = []
    if wanted.idle is not None:
        writes.append(Limit(1, "cpu", "cpu.idle", wanted.idle, f"{where}.idle"))
    if wanted.shares and wanted.idle != 1:
        # The kernel refuses shares for an idle cgroup: it has the fewest already.
        writes.append(Limit(1, "cpu", "cpu.shares", wanted.shares, f"{where}.shares"))
    # The period first: a quota is checked against it.
    for value, key, file in (
        (wanted.period, "period", "cpu.cfs_period_us"),
        (wanted.quota, "quota", "cpu.cfs_quota_us"),
        (wanted.burst, "burst", "cpu.cfs_burst_us"),
        (wanted.realtime_period, "realtimePeriod", "cpu.rt_period_us"),
        (wanted.realtime_runtime, "realtimeRuntime", "cpu.rt_runtime_us"),
    ):
        if value or (value is not None and key == "burst"):
            writes.append(Limit(1, "cpu", file, value, f"{where}.{key}"))
    return writes


def pids(limit: int, where: str) -> "list[Limit]":
    """Return the write for the number of tasks; 0 is a limit, too."""
    value = "max" if limit == -1 else limit
    return [Limit(1, "pids", "pids.max", value, f"{where}.limit")]


def block_io(wanted: "BlockIO", where: str) -> "list[Limit]":
    """Return the writes for block I/O; InvalidError."""
    writes = []
    if wanted.leaf_weight:
        refuse(where, "leafWeight", "the kernel has no leaf weights since Linux 5.0")
    if wanted.weight:
        check_block_weight(wanted.weight, where, "weight")
        origin = f"{where}.weight"
        plain = Limit(1, "io", "blkio.weight", wanted.weight, origin)
        writes.append(Limit(1, "io", "blkio.bfq.weight", wanted.weight, origin, instead=plain))
    for index, device in enumerate(wanted.weight_devices):
        path = f"{where}.weightDevice[{index}]"
        if device.leaf_weight:
            refuse(path, "leafWeight", "the kernel has no leaf weights since Linux 5.0")
        if device.weight:
            check_block_weight(device.weight, path, "weight")
            value = f"{device.major}:{device.minor} {device.weight}"
            origin = f"{path}.weight"
            plain = Limit(1, "io", "blkio.weight_device", value, origin)
            file = "blkio.bfq.weight_device"
            writes.append(Limit(1, "io", file, value, origin, instead=plain))
    for devices, key, file in (
        (wanted.throttle_read_bps, "throttleReadBpsDevice", "read_bps_device"),
        (wanted.throttle_write_bps, "throttleWriteBpsDevice", "write_bps_device"),
        (wanted.throttle_read_iops, "throttleReadIOPSDevice", "read_iops_device"),
        (wanted.throttle_write_iops, "throttleWriteIOPSDevice", "write_iops_device"),
    ):
        for index, limited in enumerate(devices):
            value = f"{limited.major}:{limited.minor} {limited.rate}"
            origin = f"{where}.{key}[{index}]"
            writes.append(Limit(1, "io", f"blkio.throttle.{file}", value, origin))
    return writes


def hugetlb(wanted: "list[HugepageLimit]", where: str) -> "list[Limit]":
    """Return the writes for huge pages: on use, and on reservation where the kernel counts it."""
    writes = []
    for index, limit in enumerate(wanted):
        file = f"hugetlb.{limit.page_size}"
        origin = f"{where}[{index}]"
        writes.append(Limit(1, "hugetlb", f"{file}.limit_in_bytes", limit.limit, origin))
        reserved = f"{file}.rsvd.limit_in_bytes"
        writes.append(Limit(1, "hugetlb", reserved, limit.limit, origin, optional=True))
    return writes


def network(wanted: "NetworkClass", where: str) -> "list[Limit]":
    """Return the writes for network classes."""
    writes = []
    if wanted.class_id:
        origin = f"{where}.classID"
        writes.append(Limit(1, "net_cls", "net_cls.classid", wanted.class_id, origin))
    for index, entry in enumerate(wanted.priorities):
        value = f"{entry.name} {entry.priority}"
        origin = f"{where}.priorities[{index}]"
        writes.append(Limit(1, "net_prio", "net_prio.ifpriomap", value, origin))
    return writes
