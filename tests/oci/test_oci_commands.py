"""pause, resume, ps, update, events, spec, features: what engines call beside the specification."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtimes import NAME, RUNTIME, Runtime, until
from uxc.oci.cgroup import layout

Bundle = Callable[..., Path]
LIMITED = {"memory": {"limit": 128 << 20}, "pids": {"limit": 50}, "cpu": {"shares": 512}}


def limit(config: dict[str, Any]) -> None:
    """Give the container limits, so that it is in the hierarchies that enforce them."""
    config["linux"]["resources"].update(LIMITED)


@pytest.fixture
def counting(runtime: Runtime, bundle: Bundle) -> Iterator[int]:
    """Return the pid of a container that counts up in /count, five times a second."""
    script = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.2; done"
    pid = runtime.created(bundle("sh", "-c", script, edit=limit))
    runtime.ok("start", "c")
    yield pid
    runtime.call("resume", "c")


def limit_file(pid: int, v2: str, v1: str) -> Path:
    """Return the file that holds a limit of the container that ``pid`` is in."""
    found = layout.probe()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        file = v2 if not controllers else v1
        mounts = (
            [found.unified]
            if not controllers
            else [found.v1[name] for name in controllers.split(",") if name in found.v1]
        )
        for mount in mounts:
            place = Path(f"{mount}{path}/{file}")
            if place.exists():
                return place
    raise AssertionError(f"no {v2} and no {v1}")


def memory_limit(pid: int) -> int:
    """Return the memory limit in force."""
    return int(limit_file(pid, "memory.max", "memory.limit_in_bytes").read_text())


@pytest.mark.vm
def test_a_paused_container_stands_still(runtime: Runtime, counting: int, tmp_path: Path) -> None:
    """Nothing of it runs between pause and resume; the state says so."""
    count = tmp_path / "b/rootfs/count"
    until(count.exists)

    runtime.ok("pause", "c")
    before = count.read_text()

    assert runtime.status() == "paused"
    time.sleep(0.6)
    assert count.read_text() == before

    runtime.ok("resume", "c")

    assert runtime.status() == "running"
    until(lambda: count.read_text() != before)


def test_pause_and_resume_want_the_other_state(runtime: Runtime, counting: int) -> None:
    """Refused in words that engines look for, and nothing changes."""
    again = runtime.call("resume", "c")
    runtime.ok("pause", "c")
    twice = runtime.call("pause", "c")

    assert (again.returncode, twice.returncode) == (1, 1)
    assert "not paused" in again.stderr
    assert "not running" in twice.stderr
    assert runtime.status() == "paused"


@pytest.mark.vm
def test_a_paused_container_can_be_deleted(runtime: Runtime, counting: int) -> None:
    """By force, at once, with nothing left frozen."""
    runtime.ok("pause", "c")

    refused = runtime.call("delete", "c")
    runtime.ok("delete", "--force", "c")

    assert refused.returncode == 1
    assert runtime.wait() == 137
    assert not list(runtime.root.glob("*"))


@pytest.mark.parametrize("command", ["pause", "resume", "ps", "update", "events", "kill"])
def test_commands_want_a_container_that_exists(runtime: Runtime, command: str) -> None:
    """go-runc tells by these words that it is gone."""
    done = runtime.call(command, "nix")

    assert done.returncode == 1
    assert "does not exist" in done.stderr


@pytest.mark.ours
@pytest.mark.parametrize(
    "command", [["pause"], ["resume"], ["update", "--memory", "64M"], ["events"], ["start"]]
)
def test_a_stopped_container_is_refused(
    runtime: Runtime, bundle: Bundle, command: list[str]
) -> None:
    """What needs a process says that there is none."""
    runtime.created(bundle("true", edit=limit))
    runtime.ok("start", "c")
    runtime.wait()

    done = runtime.call(*command, "c")

    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("uxc-runtime: c")


def test_ps_lists_the_pids_of_the_host(runtime: Runtime, counting: int) -> None:
    """containerd reads a JSON array of numbers, as the caller sees the processes."""
    until(lambda: len(json.loads(runtime.ok("ps", "--format", "json", "c"))) > 1)

    assert counting in json.loads(runtime.ok("ps", "--format", "json", "c"))


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps")
def test_ps_shows_the_lines_about_the_container(runtime: Runtime, counting: int) -> None:
    """A header, and no process of anybody else; words behind the id go to ps(1)."""
    header, *lines = runtime.ok("ps", "c").splitlines()
    at = header.split().index("PID")

    assert counting in [int(line.split()[at]) for line in lines]
    assert os.getpid() not in [int(line.split()[at]) for line in lines]
    assert "CMD" in header


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps")
@pytest.mark.ours
def test_words_for_ps_reach_it(runtime: Runtime, counting: int) -> None:
    """Its choice of columns is the caller's; without the pid no line can be told apart."""
    lines = runtime.ok("ps", "c", "-e", "-o", "comm,pid").splitlines()

    assert lines[0].split() == ["COMMAND", "PID"]
    assert ["sh", str(counting)] in [line.split() for line in lines]
    assert "no column PID" in runtime.call("ps", "c", "-o", "comm").stderr
    assert "ps failed" in runtime.call("ps", "c", "--nix").stderr


def test_ps_of_a_stopped_container_is_empty(runtime: Runtime, bundle: Bundle) -> None:
    """Not an error: who asks may be a moment late."""
    runtime.created(bundle("true", edit=limit))
    runtime.ok("start", "c")
    runtime.wait()

    assert not json.loads(runtime.ok("ps", "--format", "json", "c"))


@pytest.mark.vm
def test_update_by_options(runtime: Runtime, counting: int) -> None:
    """Limits change while the program runs, in Docker's way to write them."""
    runtime.ok("update", "--memory", str(64 << 20), "--pids-limit", "77", "c")

    assert memory_limit(counting) == 64 << 20
    assert limit_file(counting, "pids.max", "pids.max").read_text() == "77\n"


@pytest.mark.parametrize("source", ["-", "file"])
def test_update_by_a_document(runtime: Runtime, counting: int, tmp_path: Path, source: str) -> None:
    """containerd writes to standard input, conmon names a file."""
    document = tmp_path / "resources.json"
    document.write_text(json.dumps({"memory": {"limit": 96 << 20}, "cpu": {"shares": 256}}))

    with document.open() as stream:
        name = "-" if source == "-" else str(document)
        done = runtime.call("update", "--resources", name, "c", stdin=stream)

    assert done.returncode == 0, done.stderr
    assert memory_limit(counting) == 96 << 20


@pytest.mark.vm
def test_a_refused_update_changes_nothing(runtime: Runtime, counting: int) -> None:
    """The memory limit, which comes first, is as before when the CPUs cannot be had."""
    if NAME != "uxc-runtime":
        pytest.skip("the others leave what was changed before")

    done = runtime.call("update", "--memory", "64M", "--cpuset-cpus", "0-4095", "c")

    assert done.returncode == 1
    assert "cpus" in done.stderr
    assert "nothing was changed" in done.stderr
    assert memory_limit(counting) == 128 << 20


@pytest.mark.vm
def test_a_limit_below_what_is_used_is_refused(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """With checkBeforeUpdate v2, which would kill for it, is not asked; v1 says no itself."""

    def edit(config: dict[str, Any]) -> None:
        limit(config)
        config["mounts"].append({"destination": "/kept", "type": "tmpfs", "source": "tmpfs"})

    # What lies in a tmpfs cannot be given back without swap.
    script = "dd if=/dev/zero of=/kept/it bs=1M count=24 2>/kept/said; touch /kept/ready; sleep 60"
    pid = runtime.created(bundle("sh", "-c", script, edit=edit))
    runtime.ok("start", "c")
    until(Path(f"/proc/{pid}/root/kept/ready").exists)
    document = tmp_path / "resources.json"
    document.write_text(json.dumps({"memory": {"limit": 8 << 20, "checkBeforeUpdate": True}}))

    done = runtime.call("update", "--resources", str(document), "c")

    assert done.returncode == 1
    assert memory_limit(pid) == 128 << 20
    assert runtime.status() == "running"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[]", "a resources object is expected"),
        ("{", "not JSON at line 1"),
        ('{"memory": {"limit": "1M"}}', "memory.limit: must be an integer"),
        ('{"memory": {"limit": 100, "swap": 50}}', "memory.swap: must not be below"),
        ('{"unified": {"cgroup.procs": "1"}}', "must be the name of a limit's file"),
    ],
)
def test_a_wrong_document_is_refused(
    runtime: Runtime, counting: int, tmp_path: Path, document: str, said: str
) -> None:
    """With its source and the JSON path, and nothing is written."""
    file = tmp_path / "resources.json"
    file.write_text(document)

    done = runtime.call("update", "--resources", str(file), "c")

    assert done.returncode == 1
    assert str(file) in done.stderr
    assert said in done.stderr
    assert memory_limit(counting) == 128 << 20


@pytest.mark.ours
def test_device_rules_stay_as_they_are(runtime: Runtime, counting: int, tmp_path: Path) -> None:
    """A client that sends those of the bundle along hears nothing; other ones are a warning."""
    config = json.loads((tmp_path / "b/config.json").read_text())
    same, other = tmp_path / "same.json", tmp_path / "other.json"
    same.write_text(json.dumps(config["linux"]["resources"]))
    other.write_text(json.dumps({"devices": [{"allow": True}]}))

    quiet = runtime.call("update", "--resources", str(same), "c")
    warned = runtime.call("update", "--resources", str(other), "c")

    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert warned.returncode == 0
    assert "devices: ignored" in warned.stderr


@pytest.mark.vm
@pytest.mark.ours
def test_a_limit_that_comes_late_is_removed_too(runtime: Runtime, bundle: Bundle) -> None:
    """A container without limits enters a hierarchy at the first update; delete finds it there."""
    pid = runtime.created(bundle("sleep", "60"))
    runtime.ok("update", "--pids-limit", "33", "c")
    file = limit_file(pid, "pids.max", "pids.max")

    assert file.read_text() == "33\n"

    runtime.ok("delete", "c")
    runtime.wait()

    assert not file.parent.exists()


@pytest.mark.vm
def test_statistics_are_what_the_shim_decodes(runtime: Runtime, counting: int) -> None:
    """One object with the members of runc's, in its units."""
    until(lambda: json.loads(runtime.ok("events", "--stats", "c"))["data"]["cpu"]["usage"]["total"])

    (line,) = runtime.ok("events", "--stats", "c").splitlines()
    event = json.loads(line)
    data = event["data"]

    assert (event["type"], event["id"]) == ("stats", "c")
    assert 0 < data["memory"]["usage"]["usage"] <= data["memory"]["usage"]["limit"] == 128 << 20
    assert data["pids"]["current"] >= 1
    assert data["pids"]["limit"] == 50
    assert 1_000_000 < data["cpu"]["usage"]["total"] < 60_000_000_000
    assert {"user", "kernel"} <= set(data["cpu"]["usage"])
    assert {"blkio", "hugetlb", "network_interfaces"} <= set(data)


def test_events_come_at_intervals_until_the_end(runtime: Runtime, counting: int) -> None:
    """The stream ends with the container, in good order."""
    command = [RUNTIME, "--root", str(runtime.root), "events", "--interval", "100ms", "c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        seen = [json.loads(events.stdout.readline())["type"] for _ in range(3)]
        runtime.ok("kill", "c", "KILL")
        runtime.wait()
        # runc waits for the cgroup to go, ours for the process.
        runtime.ok("delete", "--force", "c")

        assert events.wait(10) == 0
    assert seen == ["stats"] * 3


@pytest.mark.vm
def test_a_kill_for_want_of_memory_is_an_event(runtime: Runtime, bundle: Bundle) -> None:
    """containerd tells its clients OOMKilled by it."""

    def small(config: dict[str, Any]) -> None:
        config["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}

    # Not the first process, whose end would end the stream.
    runtime.created(bundle("sh", "-c", "tail /dev/zero; sleep 60", edit=small))
    command = [RUNTIME, "--root", str(runtime.root), "events", "--interval", "60s", "c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        time.sleep(0.5)
        runtime.ok("start", "c")
        assert events.stdout is not None
        event = json.loads(events.stdout.readline())
        runtime.ok("delete", "--force", "c")
        runtime.wait()
        events.wait(10)

    assert event == {"type": "oom", "id": "c"}


def test_features_are_json(runtime: Runtime) -> None:
    """Podman and CRI-O decide by them what they may ask for."""
    document = json.loads(runtime.ok("features"))

    assert document["ociVersionMin"] == "1.0.0"
    assert "createRuntime" in document["hooks"]
    assert "rro" in document["mountOptions"]
    assert "CAP_SYS_ADMIN" in document["linux"]["capabilities"]
    assert document["linux"]["cgroup"]["v2"] is True
    assert "SCMP_ACT_ERRNO" in document["linux"]["seccomp"]["actions"]


def test_the_first_config_can_be_run(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """spec writes it, and with a program of no terminal it runs."""
    where = bundle("true")
    (where / "config.json").unlink()

    runtime.ok("spec", "--bundle", str(where))
    config = json.loads((where / "config.json").read_text())
    config["process"].update(terminal=False, args=["sh", "-c", "id -u; hostname"])
    (where / "config.json").write_text(json.dumps(config))

    assert runtime.run(where).stdout.splitlines() == ["0", config["hostname"]]


def test_a_config_that_is_there_is_not_replaced(runtime: Runtime, bundle: Bundle) -> None:
    """Somebody's work may be in it."""
    where = bundle("true")
    before = (where / "config.json").read_text()

    done = runtime.call("spec", "--bundle", str(where))

    assert done.returncode == 1
    assert "exists" in done.stderr
    assert (where / "config.json").read_text() == before


def test_the_first_config_of_a_user_has_a_user_namespace(runtime: Runtime, tmp_path: Path) -> None:
    """Who is not root maps nobody else."""
    runtime.ok("spec", "--rootless", "--bundle", str(tmp_path))
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]

    assert {"type": "user"} in linux["namespaces"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]


@pytest.mark.ours
@pytest.mark.parametrize("words", [["--help"], ["help"], ["help", "update"], ["kill", "--help"]])
def test_help_is_printed(runtime: Runtime, words: list[str]) -> None:
    """On standard output, and it is no error."""
    assert runtime.ok(*words).startswith("usage: uxc-runtime ")


@pytest.mark.ours
def test_a_link_called_runc_is_one(tmp_path: Path) -> None:
    """containerd takes any program of that name whose first line it can read."""
    (tmp_path / "runc").symlink_to(RUNTIME)

    done = subprocess.run([tmp_path / "runc", "--version"], capture_output=True, text=True)

    assert done.stdout.startswith("runc version 1.")


MARK = f"uxctest{os.getpid()}"


@pytest.mark.parametrize(
    ("given", "relative"),
    [
        (f"{MARK}-a.slice:uxc:c", f"{MARK}.slice/{MARK}-a.slice/uxc-c.scope"),
        (f"/{MARK}/c", f"{MARK}/c"),
    ],
    ids=["unit", "path"],
)
@pytest.mark.ours
def test_a_systemd_name_is_a_place_in_cgroupfs(
    runtime: Runtime, bundle: Bundle, given: str, relative: str
) -> None:
    """Where systemd would put the unit, with --systemd-cgroup and without."""
    where = bundle("true", edit=lambda config: config["linux"].update(cgroupsPath=given))
    for flags in (["--systemd-cgroup"], ["--cgroup-manager", "systemd"], []):
        command = [RUNTIME, "--root", str(runtime.root), *flags, "create", "--bundle", str(where)]
        with (runtime.directory / "c.out").open("wb") as out:
            subprocess.run(
                [*command, "--pid-file", str(runtime.pid_file("c")), "c"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True, timeout=30,
            )  # fmt: skip
        pid = runtime.pid_file("c").read_text()
        try:
            assert f"/{relative}\n" in Path(f"/proc/{pid}/cgroup").read_text()
        finally:
            runtime.ok("delete", "--force", "c")
            runtime.wait()


@pytest.mark.vm
def test_what_a_container_without_limits_uses_is_counted(runtime: Runtime, bundle: Bundle) -> None:
    """Whatever shows statistics finds memory, time and processes in the container's own cgroup."""
    runtime.created(bundle("sleep", "60"))
    runtime.ok("start", "c")

    data = json.loads(runtime.ok("events", "--stats", "c"))["data"]

    assert data["memory"]["usage"]["usage"] > 0
    assert data["cpu"]["usage"]["total"] > 0
    assert data["pids"]["current"] == 1
