"""The cgroups of a process, as the files of the kernel show them, on v1 and v2 alike."""

from pathlib import Path

import pytest

import needs

# Controllers that v1 calls otherwise.
V1_NAMES = {"io": "blkio"}


def directories(pid: int) -> dict[str, Path]:
    """Return the cgroups of a process by v1 controller; the one in the v2 tree is called "2"."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else ["2"]:
            mount = needs.cgroup1_mount(name) if controllers else needs.cgroup2_mount()
            found[name] = Path(mount + path)
    return found


def version(controller: str) -> int:
    """Return which version has the controller (v2's name); skip the test when none has."""
    for number, name in ((2, controller), (1, V1_NAMES.get(controller, controller))):
        if not needs.missing(f"cgroup{number}-{name}"):
            return number
    pytest.skip(f"no {controller} controller here")


def read(pid: int, controller: str, file: str) -> str:
    """Return what a file of the process's cgroup holds."""
    name = "2" if version(controller) == 2 else V1_NAMES.get(controller, controller)
    return (directories(pid)[name] / file).read_text().strip()
