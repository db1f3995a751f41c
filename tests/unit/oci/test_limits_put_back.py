"""An update that fails midway: what the limits' files hold is put back, line by line."""

from pathlib import Path

import pytest

from uxc.oci.cgroup import previous
from uxc.oci.cgroup.group import Cgroup
from uxc.oci.cgroup.layout import Layout
from uxc.oci.cgroup.values import Limit
from uxc.oci.spec_resources import Resources


class Tree:
    """A v2 tree with one cgroup, whose files hold what was written last."""

    def __init__(self, top: Path, controllers: str) -> None:
        """Make the tree below ``top``."""
        (top / "c").mkdir()
        (top / "cgroup.controllers").write_text(controllers)
        self.top = top
        self.group = Cgroup("c", str(top), [str(top)], [])
        self.layout = Layout(str(top), {})

    def put(self, **texts: str) -> None:
        """Write files of the cgroup; a double underscore is a dot."""
        for name, text in texts.items():
            (self.top / "c" / name.replace("__", ".")).write_text(text)

    def get(self, name: str) -> str:
        """Read a file of the cgroup."""
        return (self.top / "c" / name).read_text()

    def values(self, *limits: tuple[str, str]) -> previous.Values:
        """Note what the files of ``limits`` hold."""
        writes = [Limit(2, name.partition(".")[0], name, value, "") for name, value in limits]
        return previous.Values(writes, self.group, self.layout)


def _write(path: str, value: str) -> None:
    # A write to one of the kernel's files replaces all of it.
    Path(path).write_text(value)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Return a tree with the common controllers."""
    monkeypatch.setattr(previous.tree, "write", _write)
    return Tree(tmp_path, "cpu memory io pids")


def test_plain_values_come_back(tree: Tree) -> None:
    """Also an empty one: v2's way to say that no CPU is named."""
    tree.put(memory__max="max\n", cpu__max="max 100000\n", cpuset__cpus="\n")
    values = tree.values(("memory.max", "5"), ("cpu.max", "7 9"), ("cpuset.cpus", "0"))
    tree.put(memory__max="5\n", cpu__max="7 9\n", cpuset__cpus="0\n")

    assert values.put_back() == []
    assert (tree.get("memory.max"), tree.get("cpu.max")) == ("max", "max 100000")
    assert tree.get("cpuset.cpus").strip() == ""


def test_a_device_gets_its_own_line_back(tree: Tree) -> None:
    """A file with a line for each device takes one line at a time."""
    tree.put(io__max="8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=7\n")
    values = tree.values(("io.max", "8:0 rbps=5"))
    tree.put(io__max="8:0 rbps=5\n")

    assert values.put_back() == []
    assert tree.get("io.max") == "8:0 rbps=1 wbps=max riops=max wiops=max"


def test_a_device_without_a_line_has_no_limit_again(tree: Tree) -> None:
    """What was not there is said to be unlimited."""
    tree.put(io__max="")
    values = tree.values(("io.max", "8:0 rbps=5"))
    tree.put(io__max="8:0 rbps=5\n")

    values.put_back()

    assert tree.get("io.max") == "8:0 rbps=max wbps=max riops=max wiops=max"


def test_the_weight_of_all_devices_comes_back_as_it_is_written(tree: Tree) -> None:
    """BFQ shows it with a word that it is not written with."""
    tree.put(io__bfq__weight="default 100\n8:0 50\n")
    values = tree.values(("io.bfq.weight", "200"))
    tree.put(io__bfq__weight="default 200\n")

    values.put_back()

    assert tree.get("io.bfq.weight") == "100"


def test_what_did_not_change_is_not_written(tree: Tree) -> None:
    """A limit that was refused is as it was, and so is its file."""
    tree.put(pids__max="max\n")

    values = tree.values(("pids.max", "4"), ("missing.file", "1"))

    assert values.put_back() == []
    assert tree.get("pids.max") == "max\n"


def test_what_cannot_be_put_back_is_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller tells the user which limits are not as they were."""
    tree.put(pids__max="max\n", memory__max="max\n")
    values = tree.values(("pids.max", "4"), ("memory.max", "4"))
    tree.put(pids__max="4\n", memory__max="4\n")

    def refuse(path: str, value: str) -> None:
        if path.endswith("pids.max"):
            raise OSError(22, "Invalid argument", path)
        _write(path, value)

    monkeypatch.setattr(previous.tree, "write", refuse)

    assert values.put_back() == [f"{tree.top}/c/pids.max"]
    assert tree.get("memory.max") == "max"


def test_a_sum_with_swap_is_completed_by_the_limit_in_force(tree: Tree) -> None:
    """v2 takes swap alone, so the memory limit must be known."""
    tree.put(memory__max="1000\n")
    wanted = Resources({"memory": {"swap": 3000}}, "update: ")

    previous.complete(wanted, tree.group, tree.layout)

    assert wanted.memory is not None
    assert wanted.memory.limit == 1000


@pytest.mark.parametrize(("text", "quota"), [("max 100000", -1), ("5000 100000", 5000)])
def test_a_period_alone_keeps_the_quota(tree: Tree, text: str, quota: int) -> None:
    """v2 writes both in one file, the quota first."""
    tree.put(cpu__max=text)
    wanted = Resources({"cpu": {"period": 50000}}, "update: ")

    previous.complete(wanted, tree.group, tree.layout)

    assert wanted.cpu is not None
    assert wanted.cpu.quota == quota
