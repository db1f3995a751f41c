"""config.json's namespaces, and what belongs to them: names, settings, clocks."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs import namespaces
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}


def own(name: str) -> str:
    """Return the namespace that this process is in."""
    return os.readlink(f"/proc/self/ns/{name}")


@pytest.fixture
def other() -> Iterator[int]:
    """Return the pid of a process in namespaces of its own."""
    process = subprocess.Popen(
        ["unshare", "-n", "-i", "-u", "-C", "-p", "--fork", "--kill-child", "sleep", "60"],
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (text := children.read_text()):
        os.sched_yield()
    yield int(text)
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_a_listed_namespace_is_new(sh: Sh, kind: str) -> None:
    """The container is in one of its own."""
    assert sh(f"readlink /proc/self/ns/{KINDS[kind]}").strip() != own(KINDS[kind])


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid"])
def test_a_namespace_that_is_not_listed_is_the_callers(sh: Sh, kind: str) -> None:
    """What is left out is shared with the runtime."""

    def edit(config: Config) -> None:
        namespaces(**{kind: None})(config)
        if kind == "network":
            # sysfs of another network namespace cannot be mounted without owning it.
            config["mounts"] = [one for one in config["mounts"] if one["type"] != "sysfs"]
        config["linux"]["maskedPaths"] = []
        config["linux"]["readonlyPaths"] = []

    assert sh(f"readlink /proc/self/ns/{KINDS[kind]}", edit=edit).strip() == own(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_is_joined_by_its_path(sh: Sh, other: int, kind: str) -> None:
    """The container is in the very namespace that the path names."""
    path = f"/proc/{other}/ns/{KINDS[kind]}"

    found = sh(f"readlink /proc/self/ns/{KINDS[kind]}", edit=namespaces(**{kind: path}))

    assert found.strip() == os.readlink(path)


@pytest.mark.ours
def test_a_namespace_of_another_type_is_refused(refusal: Refusal, other: int) -> None:
    """Joining it would leave the container where it must not be."""
    said = refusal(namespaces(network=f"/proc/{other}/ns/uts"))

    assert "linux.namespaces" in said
    assert "is no net namespace" in said


def test_a_missing_path_is_refused(refusal: Refusal) -> None:
    """The path is named."""
    assert "/no/such/ns" in refusal(namespaces(network="/no/such/ns"))


@pytest.mark.ours
def test_the_runtime_stays_where_it_is(runtime: Runtime, bundle: Bundle, other: int) -> None:
    """Joining a pid namespace moves only the container: children of ours stay with us."""
    pid = runtime.created(bundle("true", edit=namespaces(pid=f"/proc/{other}/ns/pid")))

    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{other}/ns/pid")


def test_the_program_is_the_first_process(sh: Sh) -> None:
    """In a pid namespace of its own it is pid 1 and sees nobody else's."""
    assert sh("echo $$; ls /proc | grep '^[0-9]' | sort -n | head -1").split() == ["1", "1"]


def test_the_loopback_is_up(sh: Sh) -> None:
    """A new network namespace has lo, up and with its address."""
    assert "inet 127.0.0.1/8" in sh("ip addr show lo up")


@pytest.mark.ours
def test_a_joined_network_is_left_as_it_is(sh: Sh, other: int) -> None:
    """Whoever made the namespace decides what is up in it."""
    text = sh("ip addr show lo", edit=namespaces(network=f"/proc/{other}/ns/net"))

    assert "UP" not in text


def test_the_host_name_is_the_containers(sh: Sh) -> None:
    """hostname is set inside and nowhere else."""
    before = os.uname().nodename

    assert sh("hostname") == "guest\n"
    assert os.uname().nodename == before


@pytest.mark.ours
def test_the_domain_name_is_the_containers(sh: Sh) -> None:
    """domainname (1.1) is set inside."""
    text = sh(
        "cat /proc/sys/kernel/domainname",
        edit=lambda config: config.update(domainname="example.net"),
    )

    assert text == "example.net\n"


def test_a_host_name_needs_a_namespace(refusal: Refusal) -> None:
    """It would be the host's."""

    def edit(config: Config) -> None:
        namespaces(uts=None)(config)
        config["hostname"] = "host"

    assert "hostname" in refusal(edit).lower()


def test_settings_are_made_in_their_namespaces(sh: Sh) -> None:
    """sysctl sets what is namespaced."""
    settings = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1048576", "fs.mqueue.msg_max": "7"}
    text = sh(
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax fs/mqueue/msg_max",
        edit=lambda config: config["linux"].update(sysctl=settings),
    )

    assert text.split() == ["1", "1048576", "7"]


@pytest.mark.parametrize("key", ["kernel.core_pattern", "vm.swappiness", "kernel.panic"])
def test_settings_of_the_host_are_refused(refusal: Refusal, key: str) -> None:
    """One that is not namespaced would change the host for everybody."""
    before = (Path("/proc/sys") / key.replace(".", "/")).read_text()

    said = refusal(lambda config: config["linux"].update(sysctl={key: "1"}))

    assert key in said
    assert (Path("/proc/sys") / key.replace(".", "/")).read_text() == before


def test_settings_need_their_namespace(refusal: Refusal) -> None:
    """net.* without a network namespace is the host's."""

    def edit(config: Config) -> None:
        namespaces(network=None)(config)
        config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}

    assert "net.ipv4.ip_forward" in refusal(edit)


@pytest.mark.ours
@pytest.mark.parametrize(
    ("kind", "name", "values", "path"),
    [
        ("uts", "uts", {"hostname": "x"}, "hostname"),
        ("uts", "uts", {"hostname": None, "domainname": "x"}, "domainname"),
        ("network", "net", {"sysctl": {"net.ipv4.ip_forward": "1"}}, "linux.sysctl"),
        ("ipc", "ipc", {"sysctl": {"kernel.shmmax": "1"}}, "linux.sysctl"),
    ],
)
def test_a_namespace_of_the_host_is_not_changed(
    refusal: Refusal, kind: str, name: str, values: Config, path: str
) -> None:
    """Joining the runtime's own namespace by its path is no way to set what is the host's."""

    def edit(config: Config) -> None:
        config["hostname"] = None
        namespaces(**{kind: None})(config)
        config["linux"]["namespaces"].append(
            {"type": kind, "path": f"/proc/{os.getpid()}/ns/{name}"}
        )
        (config["linux"] if "sysctl" in values else config).update(values)

    said = refusal(edit)

    assert f"config.json: {path}" in said
    assert f"is the runtime's own {name} namespace" in said


def test_the_cgroup_namespace_hides_the_path(sh: Sh) -> None:
    """Its root is the container's own cgroup."""
    lines = [line.split(":", 2) for line in sh("cat /proc/self/cgroup").splitlines()]

    unified = [path for number, _, path in lines if number == "0"]
    assert unified in (["/"], [])


@pytest.mark.ours
def test_clocks_have_their_offsets(sh: Sh) -> None:
    """A time namespace shifts the monotonic and the boot time clock."""

    def edit(config: Config) -> None:
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}}

    host = float(Path("/proc/uptime").read_text().split()[0])

    assert float(sh("cat /proc/uptime", edit=edit).split()[0]) > host + 999_000


@pytest.mark.ours
@pytest.mark.parametrize(
    ("path", "seconds", "problem"),
    [
        # No clock runs before the boot.
        ("", -(1 << 40), "cannot apply linux.timeOffsets: numerical result out of range"),
        ("/proc/self/ns/time", 1, "config.json: linux.timeOffsets: /proc/self/ns/time has its"),
    ],
)
def test_offsets_that_cannot_be_are_an_error(
    refusal: Refusal, path: str, seconds: int, problem: str
) -> None:
    """The kernel refuses some, and a namespace that is joined has its own."""

    def edit(config: Config) -> None:
        config["linux"]["namespaces"].append({"type": "time", "path": path})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": seconds}}

    assert problem in refusal(edit)


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        ("linux.namespaces", lambda c: c["linux"]["namespaces"].append({"type": "pid"})),
        ("linux.namespaces[6]", lambda c: c["linux"]["namespaces"].append({"type": "x"})),
        ("linux.uidMappings", lambda c: c["linux"].update(uidMappings=[1])),
        ("linux.intelRdt", lambda c: c["linux"].update(intelRdt={"closID": "x"})),
        ("linux.netDevices", lambda c: c["linux"].update(netDevices={"eth9": {"name": "a"}})),
    ],
)
@pytest.mark.ours
def test_what_is_wrong_or_not_done_is_refused_by_its_path(
    refusal: Refusal, path: str, edit: Callable[[Config], object]
) -> None:
    """One line names the property."""
    assert f"config.json: {path}" in refusal(edit)
