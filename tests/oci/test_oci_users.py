"""User namespaces: new ones with their maps, and joined ones."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import COUNT, HOST, Change, Maps, mapped, namespaces
from runtimes import Config, ConsoleSocket, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


def joined(pid: int, *kinds: str) -> Change:
    """Return a change that joins the namespaces of ``pid``, its user namespace among them."""
    files = {"network": "net"}
    return namespaces(**{kind: f"/proc/{pid}/ns/{files.get(kind, kind)}" for kind in kinds})


def test_ids_are_mapped(runtime: Runtime, owned: Bundle) -> None:
    """Root inside is somebody else outside, and the files of the image are its own."""
    where = owned("sh", "-c", "id -u; cat /proc/self/uid_map; stat -c %u /bin; sleep 60",
                  edit=mapped())  # fmt: skip
    pid = runtime.created(where)
    runtime.ok("start", "c")
    while runtime.output().count("\n") < 3:
        os.sched_yield()

    assert runtime.output().split() == ["0", "0", str(HOST), str(COUNT), "0"]
    assert os.stat(f"/proc/{pid}").st_uid == HOST


@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (1000, 7)])
def test_the_user_of_the_program_is_one_of_the_container(
    runtime: Runtime, owned: Bundle, uid: int, gid: int
) -> None:
    """User, groups and capabilities are meant inside."""

    def edit(config: Config) -> None:
        mapped()(config)
        user = {"uid": uid, "gid": gid, "additionalGids": [9]}
        config["process"]["user"] = user

    done = runtime.run(owned("sh", "-c", "id -u; id -g; id -G; grep CapEff /proc/self/status",
                             edit=edit))  # fmt: skip

    assert done.stderr == ""
    words = done.stdout.split()
    assert words[:2] == [str(uid), str(gid)]
    assert "9" in words[2:-2]
    assert (int(words[-1], 16) == 0) == (uid != 0)


def test_a_container_need_not_have_a_root(runtime: Runtime, owned: Bundle) -> None:
    """Where 0 is not mapped the container is built by the lowest id that is."""

    def edit(config: Config) -> None:
        mapped([(1000, HOST, 10)])(config)
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        # Devices, and file systems that want a root of their own, need one.
        config["mounts"] = [one for one in config["mounts"] if one["type"] == "proc"]

    done = runtime.run(owned("sh", "-c", "id -u; stat -c %u /bin", edit=edit))

    assert (done.stdout.split(), done.stderr) == (["1000", "1000"], "")


def test_maps_have_as_many_ranges_as_the_kernel_takes(runtime: Runtime, owned: Bundle) -> None:
    """More than the five lines of old kernels; neighbours become one line."""
    apart = [(number * 2, HOST + number * 3, 1) for number in range(200)]
    together = [(1000 + number, HOST + 1000 + number, 1) for number in range(500)]

    done = runtime.run(owned("cat", "/proc/self/uid_map", edit=mapped(apart + together)))

    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert sum(size for _, _, size in lines) == 700
    assert (0, HOST, 1) in lines


@pytest.mark.parametrize(
    ("maps", "text"),
    [
        ([(0, HOST, 10), (5, HOST + 100, 10)], "the kernel takes no ranges that overlap"),
        ([(number * 2, HOST + number * 3, 1) for number in range(400)], "are 400 separate ranges"),
    ],
)
@pytest.mark.ours
def test_maps_that_the_kernel_does_not_take_are_explained(
    refusal: Refusal, maps: Maps, text: str
) -> None:
    """The message names the property, and nothing is left."""
    assert f"config.json: linux.uidMappings: {text}" in refusal(mapped(maps))


def test_a_user_namespace_is_joined(runtime: Runtime, owned: Bundle) -> None:
    """As in a pod: further containers share user, network, ipc and host name of the first."""
    first = runtime.created(owned("sleep", "60", edit=mapped(), name="first"), "first")
    runtime.ok("start", "first")
    script = "id -u; for n in user net ipc uts; do readlink /proc/self/ns/$n; done"
    edit = joined(first, "user", "network", "ipc", "uts")

    done = runtime.run(owned("sh", "-c", script, edit=edit, name="second"))

    same = [os.readlink(f"/proc/{first}/ns/{name}") for name in ("user", "net", "ipc", "uts")]
    assert done.stdout.split() == ["0", *same], done.stderr


def test_a_namespace_of_the_host_is_joined_from_a_new_user_namespace(
    runtime: Runtime, owned: Bundle
) -> None:
    """It is joined before the user namespace is entered, which has no say in it."""

    def edit(config: Config) -> None:
        mapped()(config)
        joined(os.getpid(), "network")(config)

    done = runtime.run(owned("sh", "-c", "id -u; readlink /proc/self/ns/net", edit=edit))

    assert done.stdout.split() == ["0", os.readlink("/proc/self/ns/net")], done.stderr


def test_the_pid_namespace_of_a_pod_is_joined(runtime: Runtime, owned: Bundle) -> None:
    """The second container sees the first one's processes."""
    first = runtime.created(owned("sleep", "60", edit=mapped(), name="first"), "first")
    runtime.ok("start", "first")

    done = runtime.run(
        owned("cat", "/proc/1/comm", edit=joined(first, "user", "pid"), name="second")
    )

    assert done.stdout == "sleep\n", done.stderr


def test_a_terminal_belongs_to_the_mapped_root(
    runtime: Runtime, owned: Bundle, console: ConsoleSocket
) -> None:
    """The user may open its own terminal again."""

    def edit(config: Config) -> None:
        mapped()(config)
        config["process"]["terminal"] = True

    where = owned("sh", "-c", "stat -c %u $(tty); echo again >/dev/console; sleep 60", edit=edit)
    runtime.created(where, "c", "--console-socket", str(console.path))
    console.receive()
    runtime.ok("start", "c")

    assert console.read_until("again").split() == ["0", "again"]


def test_limits_are_set_in_a_user_namespace(runtime: Runtime, owned: Bundle) -> None:
    """Where nobody may raise one from inside."""

    def edit(config: Config) -> None:
        mapped()(config)
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 111}]

    done = runtime.run(owned("sh", "-c", "ulimit -Sn; ulimit -Hn", edit=edit))

    assert done.stdout.split() == ["99", "111"], done.stderr


def start(runtime: Runtime, where: Path) -> int:
    """Create and start the container ``c``; return the pid of its first process."""
    pid = runtime.created(where)
    runtime.ok("start", "c")
    return pid


NO_ROOT = [(5, HOST + 5, 1000)]


@pytest.mark.parametrize(("maps", "user"), [(None, 0), (None, 1000), (NO_ROOT, 7)])
def test_an_executed_process_is_in_the_user_namespace(
    runtime: Runtime, owned: Bundle, maps: Maps | None, user: int
) -> None:
    """It has the ids of the container, with and without a root there, and no others."""

    def edit(config: Config) -> None:
        mapped(maps)(config)
        config["process"]["user"] = {"uid": user, "gid": user, "additionalGids": [user + 1]}

    first = start(runtime, owned("sleep", "1000", edit=edit))
    code, pid = runtime.execute("c", "sleep", "1000")

    assert code == 0, runtime.output("exec")
    lines = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert lines["Uid"].split() == [str(HOST + user)] * 4
    assert lines["Gid"].split() == [str(HOST + user)] * 4
    assert lines["Groups"].split() == [str(HOST + user + 1)]
    for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{first}/ns/{name}")
    # The kernel shows the bounding set as it was given up, not those of the host.
    assert (
        lines["CapBnd"]
        == dict(
            line.split(":\t") for line in Path(f"/proc/{first}/status").read_text().splitlines()
        )["CapBnd"]
    )


def test_an_executed_process_writes_as_the_containers_root(runtime: Runtime, owned: Bundle) -> None:
    """What it makes belongs to the mapped root; what is the host's it cannot change."""
    where = owned("sleep", "1000", edit=mapped())
    start(runtime, where)
    secret = where / "rootfs/secret"
    secret.write_text("of the host")
    secret.chmod(0o600)

    done = runtime.call("exec", "c", "sh", "-c", "id -u; touch /made; cat /secret")

    assert done.stdout == "0\n"
    assert "Permission denied" in done.stderr
    assert (where / "rootfs/made").stat().st_uid == HOST


@pytest.mark.vm
@pytest.mark.ours
def test_an_executed_process_has_the_limits_of_the_object(runtime: Runtime, owned: Bundle) -> None:
    """Root of the host sets them and the score, where it may: above those of the caller."""
    with Path("/proc/self/status").open() as status:
        held = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # CAP_SYS_RESOURCE, which root of the machine may lack.
    raised = hard + 1000 if held >> 24 & 1 and hard < 1_000_000 else hard
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 6, "hard": raised},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]

    def edit(config: Config) -> None:
        mapped()(config)
        config["process"].update(rlimits=limits, oomScoreAdj=123)

    start(runtime, owned("sleep", "1000", edit=edit))

    script = "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj"
    text = runtime.ok("exec", "c", "sh", "-c", script)

    assert text.split() == ["6", str(raised), "123"]


def test_an_executed_process_gets_a_terminal_of_its_user(
    runtime: Runtime, owned: Bundle, console: ConsoleSocket
) -> None:
    """The terminal is from the container's devpts and belongs to the program's user."""
    start(runtime, owned("sleep", "1000", edit=mapped()))
    words = ("--tty", "--console-socket", str(console.path), "--user", "1000", "c")

    code, _ = runtime.execute(*words, "sh", "-c", "stat -c %u $(tty); echo all; sleep 1000")

    assert code == 0, runtime.output("exec")
    console.receive()
    assert "1000" in console.read_until("all")
    assert os.fstat(console.master).st_rdev == os.makedev(5, 2)


def test_a_joined_user_namespace_is_joined_by_exec_too(runtime: Runtime, owned: Bundle) -> None:
    """Also when it is another container's that was made before."""
    holder = runtime.created(owned("sleep", "1000", edit=mapped(), name="holder"), "holder")
    runtime.ok("start", "holder")
    edit = joined(holder, "user", "network", "ipc", "uts")
    first = start(runtime, owned("sleep", "1000", edit=edit, name="other"))

    _, pid = runtime.execute("c", "sleep", "1000")

    for name in ("user", "mnt", "net"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{first}/ns/{name}")
    assert os.stat(f"/proc/{pid}").st_uid == HOST
