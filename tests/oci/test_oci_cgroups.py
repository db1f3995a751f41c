"""A container's cgroup itself: its place, its devices, whose it is, and its end."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgroupfiles import directories
from configs import HOST, entry, mapped, namespaces
from runtimes import Config, Runtime

pytestmark = pytest.mark.vm

Bundle = Callable[..., Path]
NOTHING = {"allow": False, "access": "rwm"}
READ_KMSG = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
ALL_CHARS = {"allow": True, "type": "c", "access": "rwm"}


def give(config: Config, *capabilities: str) -> None:
    """Let the program have these capabilities and no others."""
    config["process"]["capabilities"] = {
        kind: list(capabilities) for kind in ("bounding", "effective", "permitted")
    }


@pytest.mark.parametrize(
    ("rules", "reading", "writing"),
    [
        ([NOTHING], False, False),
        ([NOTHING, READ_KMSG], True, False),
        ([NOTHING, {**READ_KMSG, "access": "rw"}], True, True),
        ([NOTHING, ALL_CHARS], True, True),
        ([{"allow": True, "access": "rwm"}], True, True),
        ([NOTHING, {**READ_KMSG, "type": "b"}], False, False),
        ([NOTHING, {**READ_KMSG, "minor": 12}], False, False),
    ],
)
def test_device_rules_are_obeyed(
    rules: list[Config], reading: bool, writing: bool, sh: Callable[..., str]
) -> None:
    """A device is opened for what the last rule that matches allows, and for nothing else."""

    def edit(config: Config) -> None:
        config["linux"]["resources"]["devices"] = rules
        give(config, "CAP_MKNOD", "CAP_SYSLOG", "CAP_SYS_ADMIN")

    script = (
        "mknod /dev/log c 1 11; "
        "(exec 3</dev/log) 2>/dev/null && echo read; (exec 3>/dev/log) 2>/dev/null && echo write; "
        "cat /dev/null && echo null"
    )
    expected = ["read"] * reading + ["write"] * writing + ["null"]

    assert sh(script, edit).split() == expected


@pytest.mark.ours
@pytest.mark.needs("cgroup2-freezer")
def test_a_device_is_taken_out_of_a_wider_rule(sh: Callable[..., str]) -> None:
    """v1 has no word for this; a program on the v2 tree has it, also beside v1 controllers."""

    def edit(config: Config) -> None:
        rules = [NOTHING, ALL_CHARS, {**READ_KMSG, "allow": False}]
        config["linux"]["resources"]["devices"] = rules
        give(config, "CAP_MKNOD", "CAP_SYSLOG", "CAP_SYS_ADMIN")

    script = (
        "mknod /dev/log c 1 11; "
        "(exec 3</dev/log) 2>/dev/null || echo refused; (exec 3>/dev/log) 2>/dev/null && echo write"
    )

    assert sh(script, edit).split() == ["refused", "write"]


@pytest.mark.needs("cgroup1-devices")
def test_the_v1_list_begins_with_the_rules_of_the_bundle(runtime: Runtime, bundle: Bundle) -> None:
    """Where the devices controller of v1 is, its list is what tools read; in the order given."""

    def edit(config: Config) -> None:
        loop = {"allow": True, "type": "b", "major": 7, "minor": 0, "access": "rw"}
        config["linux"]["resources"]["devices"] = [NOTHING, READ_KMSG, loop]

    pid = runtime.created(bundle("true", edit=edit))
    lines = (directories(pid)["devices"] / "devices.list").read_text().splitlines()

    assert lines[:2] == ["c 1:11 r", "b 7:0 rw"]
    assert "c 1:3 rwm" in lines[2:]


def test_the_path_of_the_cgroup(runtime: Runtime, bundle: Bundle) -> None:
    """The cgroup is where cgroupsPath says, and is gone after delete."""
    path = f"/uxctest{os.getpid()}/pod/one"

    def edit(config: Config) -> None:
        config["linux"]["cgroupsPath"] = path

    pid = runtime.created(bundle("true", edit=edit))
    places = [place for place in directories(pid).values() if str(place).endswith(path)]
    assert places
    runtime.ok("delete", "--force", "c")

    assert not [place for place in places if place.exists()]


@pytest.mark.ours
@pytest.mark.needs("cgroup2-freezer")
def test_a_cgroup_with_processes_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    """Two containers cannot have one cgroup: each would count, and end, as the other."""

    def edit(config: Config) -> None:
        config["linux"]["cgroupsPath"] = f"/uxctest{os.getpid()}-one"

    runtime.created(bundle("true", edit=edit, name="first"), "first")
    done = runtime.create(bundle("true", edit=edit, name="second"), "second")

    assert done.returncode == 1
    assert "not empty" in runtime.output("second")
    assert runtime.status("first") == "created"


def cgroups_shown(config: Config, *options: str) -> None:
    """Let the container see its cgroups, and write there unless ``options`` say otherwise."""
    words = ("nosuid", "noexec", "nodev", *options)
    config["mounts"].append(entry("/sys/fs/cgroup", *words, kind="cgroup", source="cgroup"))


@pytest.mark.needs("cgroup2-freezer")
def test_cgroups_that_a_container_made_go_with_it(runtime: Runtime, bundle: Bundle) -> None:
    """What a container made below its cgroup, with processes in it, is removed at delete."""

    def edit(config: Config) -> None:
        give(config, "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE")
        cgroups_shown(config)

    script = (
        "cd /sys/fs/cgroup; [ ! -d unified ] || cd unified; mkdir -p a/b c && "
        "echo $$ >a/b/cgroup.procs && echo nested && exec sleep 60"
    )
    pid = runtime.created(bundle("sh", "-c", script, edit=edit))
    runtime.ok("start", "c")
    deadline = time.monotonic() + 60
    while "nested" not in runtime.output():
        assert time.monotonic() < deadline, runtime.output()
        time.sleep(0.02)
    inner = directories(pid)["2"]
    assert inner.parts[-2:] == ("a", "b")
    runtime.ok("delete", "--force", "c")

    assert not inner.parents[1].exists()


MANAGE = """
cd /sys/fs/cgroup
mkdir init job && echo $$ >init/cgroup.procs && echo moved
echo +pids >cgroup.subtree_control && echo 3 >job/pids.max && cat job/pids.max
for file in memory.max pids.max cgroup.freeze cgroup.kill; do
    (echo 0 >$file) 2>/dev/null && echo wrote $file
done
cat pids.max
"""


@pytest.mark.needs("cgroup2-memory", "cgroup2-pids", "user-namespaces")
def test_a_container_manages_the_cgroups_it_was_given(
    runtime: Runtime, owned: Callable[..., Path]
) -> None:
    """The root of a user namespace makes cgroups of its own; its own limits stay the host's."""

    def edit(config: Config) -> None:
        mapped()(config)
        cgroups_shown(config)
        give(config)
        config["linux"]["resources"].update(pids={"limit": 50}, memory={"limit": 64 << 20})

    done = runtime.run(owned("sh", "-c", MANAGE, edit=edit))

    assert done.stdout.split() == ["moved", "3", "50"], done.stderr


@pytest.mark.needs("cgroup2-memory", "user-namespaces")
@pytest.mark.parametrize("user", [0, 1000])
def test_only_what_is_safe_changes_its_owner(
    user: int, runtime: Runtime, owned: Callable[..., Path]
) -> None:
    """The program's user owns what the kernel lists as fit for delegation, and nothing else."""

    def edit(config: Config) -> None:
        mapped()(config)
        cgroups_shown(config)
        config["process"]["user"] = {"uid": user, "gid": 0}
        config["linux"]["resources"].update(memory={"limit": 64 << 20})

    pid = runtime.created(owned("true", edit=edit))
    place = directories(pid)["2"]
    listed = Path("/sys/kernel/cgroup/delegate").read_text().split()
    theirs = {file.name for file in place.iterdir() if file.stat().st_uid == HOST + user}

    assert theirs == {file for file in listed if (place / file).exists()}
    assert place.stat().st_uid == HOST + user
    assert place.parent.stat().st_uid == 0


@pytest.mark.needs("cgroup2-memory", "user-namespaces")
@pytest.mark.parametrize("without", ["a writable mount", "a mount", "a cgroup namespace"])
def test_a_cgroup_is_not_given_away_for_nothing(
    without: str, runtime: Runtime, owned: Callable[..., Path]
) -> None:
    """Who does not see the cgroup as a root of its own, to write there, does not get it."""

    def edit(config: Config) -> None:
        mapped()(config)
        if without != "a mount":
            cgroups_shown(config, *["ro"] * (without == "a writable mount"))
        if without == "a cgroup namespace":
            namespaces(cgroup=None)(config)

    pid = runtime.created(owned("true", edit=edit))
    place = directories(pid)["2"]

    assert {file.stat().st_uid for file in (place, *place.iterdir())} == {0}
