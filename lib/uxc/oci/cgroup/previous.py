"""The limits a cgroup has before an update: to complete a wish from them, and to put them back."""

import errno
import posix

from uxc import files
from uxc.errors import system_failure
from uxc.oci.cgroup import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.cgroup.values import Limit
    from uxc.oci.spec_resources import Resources

# Files that hold a line for each device, and what a device without one gets.
_UNSET = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "blkio.weight_device": "default",
    "blkio.bfq.weight_device": "default",
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "rdma.max": "hca_handle=max hca_object=max",
    "net_prio.ifpriomap": "0",
}


def complete(wanted: "Resources", group: "Cgroup", layout: "Layout") -> None:
    """Add to an update what it leaves as it is but v2 cannot write alone; SystemFailure.

    v2 counts swap alone, where the specification has the sum with the memory limit; and it has no
    way to write a period without a quota.
    """
    memory, cpu = wanted.memory, wanted.cpu
    if memory is not None and memory.swap and memory.limit is None:
        if layout.version_of("memory") == 2:
            memory.limit = _number(f"{group.tracking}/memory.max")
        elif layout.version_of("memory") == 1:
            mount = layout.mount_of("memory")
            memory.limit = _number(f"{mount}/{group.relative}/memory.limit_in_bytes")
    if cpu is not None and cpu.period and not cpu.quota and layout.version_of("cpu") == 2:
        cpu.quota = _number(f"{group.tracking}/cpu.max")


def _number(path: str) -> "int | None":
    """Return the first number in a limit's file, -1 for none; None when there is no such file."""
    try:
        word = files.read_bytes(path).decode().split()[0]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise system_failure("read the limit", error) from None
    # v1 says "unlimited" as the largest number of whole pages.
    if word == "max" or int(word) >= (1 << 63) - (1 << 16):
        return -1
    return int(word)


class Values:
    """What the files that an update will write hold before it."""

    __slots__ = ("_old",)

    def __init__(self, writes: "list[Limit]", group: "Cgroup", layout: "Layout") -> None:
        """Read them; SystemFailure. What does not exist is not written to either."""
        self._old: list[tuple[str, str]] = []
        for limit in writes:
            mount = layout.unified if limit.version == 2 else layout.mount_of(limit.controller)
            for one in (limit, limit.instead):
                path = "" if one is None else f"{mount}/{group.relative}/{one.file}"
                if one is not None and posix.access(path, posix.F_OK):
                    self._keep(path, one)
                    break

    def _keep(self, path: str, limit: "Limit") -> None:
        try:
            text = files.read_bytes(path).decode()
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise system_failure("read the limit", error) from None
            # Written to, never read (memory.reclaim and its kind): there is nothing to put back.
            return
        unset = _UNSET.get(limit.file)
        words = limit.value.split()
        if unset is None:
            self._old.append((path, text.strip()))
            return
        # BFQ shows the weight of all devices with that word, and takes it without.
        device = words[0] if len(words) > 1 else "default"
        lines = [line for line in text.splitlines() if line.split()[:1] == [device]]
        line = lines[0] if lines else f"{device} {unset}"
        self._old.append((path, line if len(words) > 1 else line.removeprefix("default ")))

    def put_back(self) -> "list[str]":
        """Write the old values where they are not; return the files for which that failed.

        Two rounds: a limit may be held back by another one that is not yet as it was.
        """
        left = self._old[::-1]
        for _ in range(2):
            left = [(path, value) for path, value in left if not _restore(path, value)]
        return [path for path, _ in left]


def _restore(path: str, value: str) -> bool:
    try:
        if files.read_bytes(path).decode().strip() != value:
            # An empty write is none; a line end is how v2 is told "nothing".
            tree.write(path, value or "\n")
    except OSError:
        return False
    return True
