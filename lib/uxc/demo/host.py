"""What is on this machine at a moment, to show that nothing was left behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

# The end of a process that was told to end, and of the namespaces it held, takes a moment.
PATIENCE_S = 3.0
# Linux, include/linux/sched.h: a thread of the kernel; these come and go as it likes.
_PF_KTHREAD = 0x00200000


def look() -> set[str]:
    """Return the links, mounts, processes and cgroups there are, one line for each."""
    return {*_links(), *_mounts(), *_processes(), *_cgroups()}


def left_since(before: set[str], patience_s: float = PATIENCE_S) -> list[str]:
    """Return what is there in addition to ``before`` and stays for ``patience_s`` seconds."""
    deadline = time.monotonic() + patience_s
    while (left := look() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    return sorted(left)


def _links() -> Iterator[str]:
    for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]:
        yield f"link {line.partition(':')[0].strip()}"


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        number, _, _, _, target, *_ = line.split()
        yield f"mount {number} on {target}"


def _processes() -> Iterator[str]:
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            name = Path("/proc", entry, "comm").read_text().strip()
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        # A zombie has ended; when its parent asks for the exit code is the parent's affair.
        if fields[0] != "Z" and not int(fields[6]) & _PF_KTHREAD:
            yield f"process {entry} ({name})"


def _cgroups() -> Iterator[str]:
    for tree in Path("/sys/fs/cgroup").iterdir():
        if tree.is_dir() and not tree.is_symlink():
            # The names that paths.cgroup_parent gives; other software has its own.
            for group in tree.glob("uxc*"):
                if not _is_foreign(group):
                    yield f"cgroup {group}"


def _is_foreign(group: Path) -> bool:
    """Tell whether a process outside this pid namespace is in ``group`` (it shows as pid 0)."""
    try:
        return any("0" in procs.read_text().split() for procs in group.rglob("cgroup.procs"))
    except OSError:
        return False  # it is being removed at this moment: look again
