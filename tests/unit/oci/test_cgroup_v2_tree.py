"""Creating on a cgroup v2 tree as routers have it: a fake one, for every machine to test."""

import errno
import os
import posix
from pathlib import Path
from typing import Any

import pytest

from uxc.errors import InvalidError, MissingError, SystemFailure
from uxc.oci.cgroup import setup, tree
from uxc.oci.cgroup.group import Cgroup
from uxc.oci.cgroup.layout import Layout
from uxc.oci.spec_resources import Resources

# What the kernel puts into every cgroup, and into one whose parent hands a controller on.
ALWAYS = ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control", "cgroup.events")
FILES = {
    "memory": ("memory.max", "memory.low"),
    "pids": ("pids.max",),
    "cpu": ("cpu.weight", "cpu.max"),
    "io": ("io.weight", "io.max"),
}


class Tree:
    """A directory that answers as cgroup2 does; ``written`` has all writes below it, in order."""

    def __init__(self, top: Path, controllers: str) -> None:
        self.top = top
        self.written: list[str] = []
        self.failing: dict[str, int] = {}
        for name in ALWAYS:
            (top / name).write_text("")
        (top / "cgroup.controllers").write_text(controllers)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)
        handed = Path(path, "../cgroup.subtree_control").read_text()
        for name in (*ALWAYS, *(file for word in handed.split() for file in FILES[word])):
            Path(path, name).write_text("")
        Path(path, "cgroup.controllers").write_text(handed)

    def rmdir(self, path: str) -> None:
        if any(entry.is_dir() for entry in Path(path).iterdir()):
            raise OSError(errno.EBUSY, "busy", path)
        for entry in Path(path).iterdir():
            entry.unlink()
        os.rmdir(path)

    def write(self, path: str, value: str) -> None:
        short = str(Path(path).relative_to(self.top))
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if (number := self.failing.get(f"{short}={value}", 0)) != 0:
            raise OSError(number, os.strerror(number), path)
        self.written.append(f"{short}={value}")
        if path.endswith("cgroup.subtree_control"):
            names = [word.removeprefix("+") for word in value.split()]
            Path(path).write_text(" ".join([Path(path).read_text(), *names]).strip())
            for child in Path(path).parent.glob("*/"):
                (child / "cgroup.controllers").write_text(Path(path).read_text())
                for name in (file for word in names for file in FILES[word]):
                    (child / name).write_text("")

    @property
    def directories(self) -> list[str]:
        return sorted(str(path.relative_to(self.top)) for path in self.top.rglob("*/"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    made = Tree(tmp_path, "cpu io memory pids")
    monkeypatch.setattr(posix, "mkdir", made.mkdir)
    monkeypatch.setattr(posix, "rmdir", made.rmdir)
    monkeypatch.setattr(tree, "write", made.write)
    return made


def create(fake: Tree, resources: dict[str, Any], path: str = "") -> Cgroup:
    limits = Resources(resources, "resources.json: ")
    one = setup.plan("web", path, "uxc", limits, Layout(str(fake.top), {})).create()
    one.close()
    return one


def test_order_of_writes(fake: Tree) -> None:
    """Controllers are handed down from the root on; then the limits of the leaf are written."""
    create(fake, {"memory": {"limit": 5}, "pids": {"limit": 7}})

    assert fake.written == [
        "cgroup.subtree_control=+cpu +io +memory +pids",
        "uxc/cgroup.subtree_control=+cpu +io +memory +pids",
        "uxc/c/cgroup.subtree_control=+cpu +io +memory +pids",
        "uxc/c/web/memory.max=5",
        "uxc/c/web/pids.max=7",
    ]


def test_second_container(fake: Tree) -> None:
    """What is handed down already is not written again."""
    create(fake, {"pids": {"limit": 7}}, "/uxc/c/other")
    fake.written.clear()
    create(fake, {"pids": {"limit": 8}})

    assert fake.written == ["uxc/c/web/pids.max=8"]


def test_without_limits(fake: Tree) -> None:
    """A container without limits has every controller: what it uses is counted."""
    create(fake, {})

    assert fake.written == [
        "cgroup.subtree_control=+cpu +io +memory +pids",
        "uxc/cgroup.subtree_control=+cpu +io +memory +pids",
        "uxc/c/cgroup.subtree_control=+cpu +io +memory +pids",
    ]


def test_removal(fake: Tree) -> None:
    """After the last container nothing of ours is left in the tree."""
    one, two = create(fake, {"pids": {"limit": 7}}), create(fake, {}, "/uxc/c/other")
    one.remove()
    assert fake.directories == ["uxc", "uxc/c", "uxc/c/other"]
    two.remove()
    assert fake.directories == []


def test_general_weight(fake: Tree) -> None:
    """Without the BFQ scheduler's file the general weight is written."""
    create(fake, {"blockIO": {"weight": 500}})

    assert fake.written[-1] == "uxc/c/web/io.weight=default 4950"


def test_kernel_without_swap(fake: Tree) -> None:
    """No swap at all is true where the kernel has none; a limit on some swap is an error."""
    create(fake, {"memory": {"limit": 5, "swap": 5}}).remove()
    with pytest.raises(SystemFailure) as caught:
        create(fake, {"memory": {"limit": 5, "swap": 6}})

    assert caught.value.message == (
        f"cannot write '1' to {fake.top}/uxc/c/web/memory.swap.max"
        " (resources.json: memory.swap): no such file or directory"
    )
    assert fake.directories == []


def test_refused_limit(fake: Tree) -> None:
    """A limit that the kernel refuses undoes everything, also the parents made for it."""
    fake.failing["uxc/c/web/memory.max=5"] = errno.ERANGE
    with pytest.raises(SystemFailure) as caught:
        create(fake, {"pids": {"limit": 7}, "memory": {"limit": 5}})

    assert caught.value.message.startswith(
        f"cannot write '5' to {fake.top}/uxc/c/web/memory.max (resources.json: memory.limit): "
    )
    assert fake.directories == []


def test_limits_that_depend_on_each_other(fake: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel refuses at first is tried again after the other limits."""
    refused_once = ["uxc/c/web/memory.low=9"]
    really = fake.write

    def write(path: str, value: str) -> None:
        line = f"{Path(path).relative_to(fake.top)}={value}"
        if line in refused_once:
            refused_once.remove(line)
            raise OSError(errno.EINVAL, "Invalid argument", path)
        really(path, value)

    monkeypatch.setattr(tree, "write", write)
    create(fake, {"memory": {"limit": 10, "reservation": 9}})

    assert fake.written[-2:] == ["uxc/c/web/memory.max=10", "uxc/c/web/memory.low=9"]


def test_a_controller_nobody_needs_fails(fake: Tree) -> None:
    """One that cannot be handed on does not stop a container that does not need it."""
    fake.failing["cgroup.subtree_control=+cpu +io +memory +pids"] = errno.EINVAL
    create(fake, {"pids": {"limit": 7}})

    assert fake.written[0] == "cgroup.subtree_control=+pids"
    assert fake.written[-1] == "uxc/c/web/pids.max=7"


def test_controller_not_given(fake: Tree) -> None:
    """A controller that the kernel lacks is refused by path; one that a parent lacks, by place."""
    with pytest.raises(InvalidError, match=r"^resources.json: cpu.cpus: this machine's kernel"):
        create(fake, {"cpu": {"cpus": "0"}})
    fake.mkdir(str(fake.top / "poor"), 0o755)
    fake.write(f"{fake.top}/cgroup.subtree_control", "+cpu +io +memory +pids")
    (fake.top / "poor/cgroup.controllers").write_text("pids")
    with pytest.raises(MissingError) as caught:
        create(fake, {"memory": {"limit": 5}}, "/poor/web")

    message = f"the cgroup {fake.top}/poor was not given the controller memory"
    assert caught.value.message == message
    assert fake.directories == ["poor"]
