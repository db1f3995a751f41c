"""What a test may leave behind: links, mounts, processes and cgroups of this machine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

# The end of a process that was told to end, and of the namespaces it held, takes a moment.
PATIENCE_S = 3.0


def look() -> set[str]:
    """Return everything there is now, one line for each thing."""
    return {*_links(), *_mounts(), *_processes(), *_cgroups()}


def left_since(before: set[str]) -> list[str]:
    """Return what is there in addition to ``before``, and stays for longer than a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := look() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    return sorted(left)


def _links() -> Iterator[str]:
    for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]:
        yield f"link {line.partition(':')[0].strip()}"


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        yield f"mount {fields[0]} on {fields[4]}"


def _processes() -> Iterator[str]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                name = Path("/proc", entry, "comm").read_text().strip()
                state = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue  # it ended meanwhile
            # Zombies: the shell that is pid 1 here reaps what was orphaned, in its own time.
            if state != "Z":
                yield f"process {entry} ({name})"


def _cgroups() -> Iterator[str]:
    for tree in Path("/sys/fs/cgroup").glob("*"):
        if tree.is_dir() and not tree.is_symlink():
            # Only ours, and not those of another run beside this one.
            for group in tree.glob("uxc*"):
                if not _foreign(group):
                    yield f"cgroup {group}"


def _foreign(group: Path) -> bool:
    """Tell whether a process outside this pid namespace is in ``group`` (it shows as pid 0)."""
    try:
        return any(
            "0" in procs.read_text().split() for procs in group.rglob("cgroup.procs")
        )
    except OSError:
        return False  # it is being removed at this moment: look again
