"""The state between create and start: frozen inside the execve, parked, or without a program."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgroupfiles import directories
from configs import Change
from runtimes import Config, Runtime

Bundle = Callable[..., Path]

pytestmark = [pytest.mark.vm, pytest.mark.ours]
FROZEN = pytest.mark.needs("cgroup2-freezer")


def parked(config: Config) -> None:
    """Have the program opened at start only."""
    config["annotations"] = {"org.openwrt.uxc.frozen-at-exec": "false"}


def test_a_parked_program_is_opened_at_start(runtime: Runtime, bundle: Bundle) -> None:
    """On request: what replaces the program after create is what runs."""
    where = bundle("/program", edit=parked)
    (where / "rootfs/program").write_text("#!/bin/sh\necho old\n")
    (where / "rootfs/program").chmod(0o755)

    runtime.created(where)
    (where / "rootfs/program").write_text("#!/bin/sh\necho new\n")
    runtime.ok("start", "c")
    runtime.wait()

    assert runtime.output() == "new\n"


@pytest.mark.parametrize("edit", [None, parked])
@pytest.mark.parametrize(("verb", "wanted"), [("pause", "running"), ("resume", "paused")])
def test_a_created_container_is_not_paused(
    runtime: Runtime, bundle: Bundle, verb: str, wanted: str, edit: Change | None
) -> None:
    """It cannot be paused, and resume must not start it."""
    runtime.created(bundle("sh", "-c", "echo ran", edit=edit))

    done = runtime.call(verb, "c")

    assert done.returncode == 1
    assert f"container not {wanted}" in done.stderr
    assert runtime.status() == "created"
    assert not runtime.output()


@FROZEN
def test_who_thaws_the_cgroup_starts_the_program(runtime: Runtime, bundle: Bundle) -> None:
    """A third party can: then the container runs, and start says so."""
    pid = runtime.created(bundle("sleep", "60"))

    (directories(pid)["2"] / "cgroup.freeze").write_text("0")
    time.sleep(0.1)

    assert runtime.status() == "running"
    assert "running" in runtime.call("start", "c").stderr


@FROZEN
def test_a_running_container_that_was_created_frozen_can_be_paused(
    runtime: Runtime, bundle: Bundle
) -> None:
    """Frozen means paused from start on, and created no more."""
    runtime.created(bundle("sleep", "60"))
    runtime.ok("start", "c")

    runtime.ok("pause", "c")
    assert runtime.status() == "paused"
    assert runtime.call("start", "c").returncode == 1
    runtime.ok("resume", "c")
    assert runtime.status() == "running"


@FROZEN
def test_set_id_programs_keep_their_rights(runtime: Runtime, bundle: Bundle) -> None:
    """The execve happens while we trace, which makes the kernel careful."""

    def edit(config: Config) -> None:
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        config["process"]["noNewPrivileges"] = False
        # The host's id: busybox gives up what set-id bits give it.
        config["mounts"] += [
            {"destination": place, "source": place, "options": ["bind", "ro"]}
            for place in ("/lib", "/lib64", "/usr")
        ]

    where = bundle("/id", "-u", edit=edit)
    shutil.copy("/usr/bin/id", where / "rootfs/id")
    (where / "rootfs/id").chmod(0o4755)
    runtime.created(where)
    runtime.ok("start", "c")
    runtime.wait()

    assert runtime.output() == "0\n"


def test_a_container_without_a_process_waits_for_its_end(runtime: Runtime, bundle: Bundle) -> None:
    """Created and inspected it can be, started it cannot; a signal ends it."""
    pid = runtime.created(bundle(edit=lambda config: config.pop("process")))

    assert runtime.status() == "created"
    assert Path(f"/proc/{pid}/root/bin/busybox").exists()
    done = runtime.call("start", "c")
    assert done.returncode == 1
    assert "has no process" in done.stderr
    assert runtime.status() == "created"
    runtime.ok("kill", "c", "TERM")
    assert runtime.wait() == 128 + signal.SIGTERM
    assert runtime.status() == "stopped"
    runtime.ok("delete", "c")
