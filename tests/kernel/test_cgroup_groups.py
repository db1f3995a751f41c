"""Cgroups on the machine's own hierarchies, whatever they are: v2, v1 or both."""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from uxc.errors import ConflictError, SystemFailure
from uxc.linux import proc
from uxc.oci import spec
from uxc.oci.cgroup import group, layout, setup
from uxc.oci.cgroup.group import Cgroup
from uxc.oci.cgroup.layout import Layout
from uxc.oci.spec_resources import Resources

pytestmark = pytest.mark.vm

PARENT = f"uxctest-{os.getpid()}"
MIB = 1 << 20
KMSG = os.makedev(1, 11)


@pytest.fixture(params=["as it is", "v1 only"])
def here(request: pytest.FixtureRequest) -> Layout:
    """Return the machine's layout, then the same without its v2 tree."""
    found = layout.probe()
    if request.param == "as it is":
        return found
    if not (found.unified and found.tracker()):
        pytest.skip("this machine has no v1 hierarchies, or nothing else")
    return Layout("", found.v1)


def mounts(here: Layout) -> list[Path]:
    return [Path(mount) for mount in {here.unified, *here.v1.values()} if mount]


@pytest.fixture(autouse=True)
def _nothing_left(here: Layout) -> Iterator[None]:
    yield
    left = [mount / PARENT for mount in mounts(layout.probe()) if (mount / PARENT).exists()]
    for path in left:
        for directory, _, _ in os.walk(path, topdown=False):
            os.rmdir(directory)
    assert left == []


def planned(here: Layout, resources: dict[str, Any] | None = None, path: str = "") -> setup.Plan:
    document: dict[str, Any] = {"ociVersion": "1.0.0", "root": {"path": "x"}, "linux": {}}
    if resources is not None:
        document["linux"]["resources"] = resources
    linux = spec.parse(document).linux
    return setup.plan("c1", path, PARENT, linux.resources, here)


@pytest.fixture
def make(here: Layout) -> Iterator[Callable[..., Cgroup]]:
    """Return a function that creates cgroups, which are emptied and removed at the end."""
    made: list[Cgroup] = []

    def create(resources: dict[str, Any] | None = None, path: str = "") -> Cgroup:
        made.append(planned(here, resources, path).create())
        return made[-1]

    yield create
    for one in reversed(made):
        one.kill_all()
        while children:
            os.waitpid(children.pop(), 0)
        one.close()
        one.remove()


children: list[int] = []


def child(action: Callable[[], int] | None = None) -> tuple[int, int]:
    """Fork a process that waits for a byte, acts, and exits; return its pid and the pipe's end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            os.close(writer)
            os.read(reader, 1)
            status = action() if action else 0
        finally:
            os._exit(status)
    os.close(reader)
    children.append(pid)
    return pid, writer


def go_on(pid: int, writer: int) -> int:
    """Let the child act and return its exit code."""
    os.write(writer, b"x")
    os.close(writer)
    children.remove(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def errno_of(call: Callable[[], object]) -> Callable[[], int]:
    def action() -> int:
        try:
            call()
        except OSError as error:
            return error.errno
        return 0

    return action


def read(here: Layout, controller: str, file: str) -> str:
    mount = here.v1.get("blkio" if controller == "io" else controller, here.unified)
    return Path(mount, PARENT, "c/c1", file).read_text().strip()


def enter(one: Cgroup, pid: int, unified: bool = False) -> None:
    """Move another process in by the files that a container's process writes to itself."""
    for fd in one.entrances(unified):
        os.write(fd, str(pid).encode())
        os.close(fd)


def needs(here: Layout, *controllers: str) -> None:
    for controller in controllers:
        if not here.version_of(controller):
            pytest.skip(f"no controller {controller}")


def test_life(make: Callable[..., Cgroup], here: Layout) -> None:
    """A process that joined is known, killed and gone, and so is the cgroup."""
    one = make()
    pid, writer = child()
    enter(one, pid, unified=True)

    assert one.is_new
    assert one.processes() == [pid]
    one.kill_all()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    children.remove(pid)
    os.close(writer)
    one.remove()
    assert not any((mount / PARENT).exists() for mount in mounts(here))


def test_born_inside(make: Callable[..., Cgroup], here: Layout) -> None:
    """A process is cloned into the v2 cgroup by its descriptor."""
    if not here.unified:
        pytest.skip("v2 only")
    one = make()
    pid, pidfd = proc.clone(0, one.v2_fd)
    if pid == 0:
        try:
            time.sleep(60)
        finally:
            os._exit(0)
    children.append(pid)
    os.close(pidfd)

    assert one.processes() == [pid]


def test_pids_limit(make: Callable[..., Cgroup], here: Layout) -> None:
    """A process inside cannot fork beyond the limit."""
    needs(here, "pids")
    one = make({"pids": {"limit": 1}})

    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    pid, writer = child(errno_of(fork))
    enter(one, pid, unified=True)

    assert go_on(pid, writer) == errno.EAGAIN


def test_pids_limit_of_zero(make: Callable[..., Cgroup], here: Layout) -> None:
    """Zero is a limit: the first process is let in, and it cannot fork."""
    needs(here, "pids")
    one = make({"pids": {"limit": 0}})

    assert read(here, "pids", "pids.max") == "max"
    one.settle()
    assert read(here, "pids", "pids.max") == "0"


def test_memory_limit(make: Callable[..., Cgroup], here: Layout) -> None:
    """A process that takes more memory than allowed is killed."""
    needs(here, "memory")
    resources = {"memory": {"limit": 24 * MIB, "swap": 24 * MIB}}
    one = make(resources)

    def take() -> int:
        return len(bytearray(os.urandom(1) * (64 * MIB))) == 0

    pid, writer = child(take)
    enter(one, pid, unified=True)

    assert go_on(pid, writer) == -signal.SIGKILL


def test_cpu_limits(make: Callable[..., Cgroup], here: Layout) -> None:
    """Shares, quota and period are in force as the kernel reports them."""
    needs(here, "cpu")
    make({"cpu": {"shares": 1024, "quota": 50000, "period": 100000, "burst": 1000}})

    if here.version_of("cpu") == 2:
        assert read(here, "cpu", "cpu.weight") == "100"
        assert read(here, "cpu", "cpu.max") == "50000 100000"
        assert read(here, "cpu", "cpu.max.burst") == "1000"
    else:
        assert read(here, "cpu", "cpu.shares") == "1024"
        assert read(here, "cpu", "cpu.cfs_quota_us") == "50000"
        assert read(here, "cpu", "cpu.cfs_burst_us") == "1000"


def test_idle_with_shares(make: Callable[..., Cgroup], here: Layout) -> None:
    """The specification's own example, idle beside shares, is taken."""
    needs(here, "cpu")
    make({"cpu": {"idle": 1, "shares": 1024}})

    assert read(here, "cpu", "cpu.idle") == "1"


def test_cpuset(make: Callable[..., Cgroup], here: Layout) -> None:
    """A process inside runs on the listed CPUs only; on v1, nodes come from the parent."""
    needs(here, "cpuset")
    last = max(os.sched_getaffinity(0))
    one = make({"cpu": {"cpus": str(last)}})
    pid, writer = child(lambda: 0 if os.sched_getaffinity(0) == {last} else 1)
    enter(one, pid, unified=True)

    assert go_on(pid, writer) == 0


def test_failing_limit(here: Layout) -> None:
    """A limit that the kernel refuses is an error with file, value and path; all is undone."""
    needs(here, "cpuset", "pids")
    with pytest.raises(SystemFailure) as caught:
        planned(here, {"pids": {"limit": 5}, "cpu": {"cpus": "4000"}}).create()

    assert caught.value.message.startswith("cannot write '4000' to /")
    assert "/cpuset.cpus (config.json: linux.resources.cpu.cpus): " in caught.value.message
    assert not any((mount / PARENT).exists() for mount in mounts(here))


def test_freezing(make: Callable[..., Cgroup]) -> None:
    """A frozen process does nothing until it is thawed; a signal waits for that, too."""
    one = make()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
            while True:
                os.write(writer, b"x")
                time.sleep(0.001)
        finally:
            os._exit(99)
    children.append(pid)
    enter(one, pid, unified=True)
    os.read(reader, 1)
    one.freeze()
    os.set_blocking(reader, False)
    while _has_more(reader):
        continue

    assert one.frozen()
    time.sleep(0.05)
    assert not _has_more(reader)
    one.kill_all(signal.SIGUSR1)
    time.sleep(0.05)
    assert one.frozen()
    one.thaw()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    children.remove(pid)
    os.close(reader)
    os.close(writer)


def _has_more(reader: int) -> bool:
    try:
        return bool(os.read(reader, 65536))
    except BlockingIOError:
        return False


def test_killing_while_frozen(make: Callable[..., Cgroup]) -> None:
    """SIGKILL reaches frozen processes."""
    one = make()
    pid, writer = child()
    enter(one, pid, unified=True)
    one.freeze()
    one.kill_all()

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    children.remove(pid)
    os.close(writer)


def test_killing_without_a_freezer(make: Callable[..., Cgroup], here: Layout) -> None:
    """Where nothing can freeze, a family that goes on forking is killed all the same."""
    if here.unified or "pids" not in here.v1:
        pytest.skip("v1 only")
    plain = Layout("", {"pids": here.v1["pids"]})
    one = planned(plain).create()
    pid, writer = child(forking)
    enter(one, pid)
    os.write(writer, b"x")
    os.close(writer)
    time.sleep(0.05)
    assert not one.can_freeze
    one.kill_all()
    os.waitpid(pid, 0)
    children.remove(pid)
    one.remove()


def forking() -> int:
    """Pass life on to a child again and again, for two seconds at most."""
    for _ in range(400):
        if os.fork():
            os._exit(0)
        time.sleep(0.005)
    return 0


def test_gone_cgroup(make: Callable[..., Cgroup]) -> None:
    """A cgroup that somebody removed has no processes, is not frozen, and is no error."""
    one = make()
    os.rmdir(one.tracking)

    assert one.processes() == []
    assert not one.frozen()
    one.kill_all()
    one.kill_all(signal.SIGTERM)
    one.remove()


def test_cgroups_made_inside(make: Callable[..., Cgroup]) -> None:
    """Processes in cgroups that the container made are seen, killed, and their cgroups removed."""
    one = make()
    nested = Path(one.tracking, "a/b")
    nested.mkdir(parents=True)
    pid, writer = child()
    (nested / "cgroup.procs").write_text(str(pid))

    assert one.processes() == [pid]
    one.kill_all()
    os.waitpid(pid, 0)
    children.remove(pid)
    os.close(writer)
    one.remove()
    assert not Path(one.tracking).exists()


def test_shared_parents(here: Layout) -> None:
    """Parents stay while another container needs them, and go with the last, whoever made them."""
    first = planned(here, path=f"/{PARENT}/pod/one").create()
    second = planned(here, path=f"/{PARENT}/pod/two").create()
    first.close()
    first.remove()
    assert Path(second.tracking).exists()
    second.close()
    second.remove()

    assert not any((mount / PARENT).exists() for mount in mounts(here))


def test_foreign_parent_stays(here: Layout) -> None:
    """A parent that somebody else made is left when the container goes."""
    foreign = Path(here.unified or here.v1[here.tracker()], PARENT)
    foreign.mkdir()
    try:
        one = planned(here, path=f"/{PARENT}/x").create()
        one.close()
        one.remove()

        assert foreign.exists()
    finally:
        foreign.rmdir()


def test_existing_cgroup(here: Layout) -> None:
    """An empty cgroup that was there is used and left; one with processes or frozen is refused."""
    leaf = Path(here.unified or here.v1[here.tracker()], PARENT, "x")
    leaf.mkdir(parents=True)
    try:
        one = planned(here, path=f"/{PARENT}/x").create()
        assert not one.is_new
        pid, writer = child()
        enter(one, pid, unified=True)
        with pytest.raises(ConflictError, match=r"is not empty: processes in it: 1$"):
            planned(here, path=f"/{PARENT}/x").create()
        assert go_on(pid, writer) == 0
        one.freeze()
        with pytest.raises(ConflictError, match=r"is frozen$"):
            planned(here, path=f"/{PARENT}/x").create()
        one.thaw()
        one.close()
        one.remove()
        assert leaf.exists()
    finally:
        leaf.rmdir()
        leaf.parent.rmdir()


def test_busy_cgroup(make: Callable[..., Cgroup]) -> None:
    """Removing waits only so long, then says which cgroup is busy; later it works."""
    one = make()
    pid, _ = child()
    enter(one, pid, unified=True)
    started = time.monotonic()

    with pytest.raises(SystemFailure, match=r"^cannot remove the cgroup /.*busy$"):
        one.remove(patience_s=0.2)
    assert 0.2 <= time.monotonic() - started < 5


def test_removing_waits_for_the_dying(make: Callable[..., Cgroup]) -> None:
    """Removing right after the kill succeeds, as soon as the last process is reaped."""
    one = make()
    for _ in range(20):
        pid, writer = child()
        os.close(writer)
        enter(one, pid, unified=True)
    one.kill_all()
    one.remove()

    assert not Path(one.tracking).exists()


def test_record(make: Callable[..., Cgroup], here: Layout) -> None:
    """Another process does the same with the record as the creator with its object."""
    needs(here, "pids")
    one = make({"pids": {"limit": 9}})
    pid, writer = child()
    enter(one, pid, unified=True)
    again = group.load(one.record())

    assert again.processes() == [pid]
    assert again.record() == one.record()
    again.kill_all()
    os.waitpid(pid, 0)
    children.remove(pid)
    os.close(writer)
    again.remove()
    assert not any((mount / PARENT).exists() for mount in mounts(here))


def test_device_rules(make: Callable[..., Cgroup], tmp_path: Path) -> None:
    """Denied devices cannot be opened, listed and default ones can, and nodes can be made."""
    node = tmp_path / "kmsg"
    os.mknod(node, 0o600 | 0o020000, KMSG)
    denying = [{"allow": False, "access": "rwm"}]
    allowing = [*denying, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]

    def outcome(rules: list[dict[str, Any]], flags: int, path: str) -> int:
        one = make({"devices": rules})
        pid, writer = child(errno_of(lambda: os.open(path, flags)))
        enter(one, pid, unified=True)
        status = go_on(pid, writer)
        one.close()
        one.remove()
        return status

    assert outcome(denying, os.O_RDONLY, str(node)) == errno.EPERM
    assert outcome(denying, os.O_RDWR, "/dev/null") == 0
    assert outcome(allowing, os.O_RDONLY, str(node)) == 0
    assert outcome(allowing, os.O_RDWR, str(node)) == errno.EPERM


def test_update(make: Callable[..., Cgroup], here: Layout) -> None:
    """Limits change while processes run, also of controllers that create did not need."""
    needs(here, "pids", "memory")
    one = make({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}})
    pid, writer = child()
    enter(one, pid, unified=True)
    both = {"memory": {"limit": 128 * MIB, "swap": 128 * MIB}, "pids": {"limit": 7}}
    for step in (both, {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}):
        setup.update(one, Resources(step, "resources.json: "), here)
    file = "memory.max" if here.version_of("memory") == 2 else "memory.limit_in_bytes"

    assert read(here, "memory", file) == str(32 * MIB)
    assert read(here, "pids", "pids.max") == "7"
    assert read(here, "pids", "cgroup.procs") == str(pid)
    os.close(writer)


def test_unified_file(here: Layout) -> None:
    """A file of v2 by its name is written, where v2 has its controller or it is the tree's own."""
    if not here.unified:
        pytest.skip("v2 only")
    one = planned(here, {"unified": {"cgroup.max.depth": "3"}}).create()
    try:
        assert Path(one.tracking, "cgroup.max.depth").read_text().strip() == "3"
    finally:
        one.close()
        one.remove()


def test_controllers_are_handed_down(here: Layout) -> None:
    """Every parent on the way hands the needed controllers on, those that were there as well."""
    if here.version_of("memory") != 2:
        pytest.skip("v2 only")
    top = Path(here.unified, PARENT)
    top.mkdir()
    try:
        one = planned(here, {"memory": {"limit": 64 * MIB}}, f"/{PARENT}/a/b").create()
        one.close()

        assert "memory" in (top / "cgroup.subtree_control").read_text().split()
        assert (top / "a/b/memory.max").read_text().strip() == str(64 * MIB)
        one.remove()
        assert list(top.glob("*/")) == []
    finally:
        top.rmdir()


def test_parent_with_processes(here: Layout) -> None:
    """A parent that cannot hand controllers on, since it has processes, is named with a hint."""
    if here.version_of("memory") != 2:
        pytest.skip("v2 only")
    top = Path(here.unified, PARENT)
    top.mkdir()
    pid, writer = child()
    try:
        (top / "cgroup.procs").write_text(str(pid))
        with pytest.raises(SystemFailure) as caught:
            planned(here, {"memory": {"limit": 64 * MIB}}, f"/{PARENT}/a").create()

        assert caught.value.message == (
            f"cannot enable memory in {top}/cgroup.subtree_control: device or resource busy"
        )
        assert "processes live in that cgroup" in caught.value.hint
        assert list(top.glob("*/")) == []
    finally:
        go_on(pid, writer)
        top.rmdir()


def test_many_at_once(here: Layout) -> None:
    """Containers that come and go beside each other do not take each other's parents away."""
    pids = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for _ in range(25):
                    one = setup.plan(f"c{number}", "", PARENT, None, here).create()
                    one.close()
                    one.remove()
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)

    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 6
