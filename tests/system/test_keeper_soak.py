"""The keeper over many containers: it stays as small as it was. ``UXC_ROUNDS`` says how many."""

import os
from pathlib import Path

import pytest

from keepers import KeeperClient, Prefix, shown, wait_until

ROUNDS = int(os.environ.get("UXC_ROUNDS", "40"))
WARM_UP = 30
# The allocator's pools fill up in the beginning; what leaks does so with every cycle.
GROWTH_KIB = 64 + ROUNDS // 20

pytestmark = pytest.mark.timeout(120 + ROUNDS)


def private_kib(pid: int) -> int:
    """Return the memory that is the process's own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def children(pid: int) -> list[str]:
    """Return the children of a process, with their states."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit():
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found.append(f"{name} {fields[0]}")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_cycles_leave_the_keeper_as_it_was(prefix: Prefix, keeper: KeeperClient) -> None:
    """Descriptors, memory, children, and files: as before the first of many."""
    plain = prefix.bundle("plain", "true")
    shell = prefix.bundle("shell", "echo", "hi", terminal=True)
    hangs = prefix.bundle("hangs", "sleep", "1000")
    wrong = prefix.bundle("wrong", "no-such-program")

    def cycle(number: int) -> None:
        if number % 10 == 9:
            with pytest.raises(Exception, match="no-such-program"):
                keeper.call("create", name="web", bundle=wrong)
            return
        bundle = (plain, shell, hangs)[number % 3]
        keeper.call("create", name="web", bundle=bundle)
        if bundle is shell:
            with keeper.viewer("web") as viewer:
                keeper.call("start", name="web")
                shown(viewer)
        elif number % 2:
            keeper.call("start", name="web")
        keeper.call("delete", name="web", force=True)
        keeper.events.clear()

    for number in range(WARM_UP):
        cycle(number)
    wait_until(lambda: not children(prefix.pid), "the end of all children")
    files = prefix.files()
    fds = sorted(os.listdir(f"/proc/{prefix.pid}/fd"))
    before = private_kib(prefix.pid)
    for number in range(ROUNDS):
        cycle(number)

    wait_until(lambda: not children(prefix.pid), "the end of all children")
    assert sorted(os.listdir(f"/proc/{prefix.pid}/fd")) == fds
    assert prefix.files() == files
    grown = private_kib(prefix.pid) - before
    print(f"{before} KiB, {grown} KiB more after {ROUNDS} cycles")  # noqa: T201
    assert grown <= GROWTH_KIB
