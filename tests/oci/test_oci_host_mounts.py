"""Containers without a mount namespace of their own: their mounts are the runtime's, too."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import entry, in_the_hosts_mounts, mapped, mounts
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Refusal = Callable[..., str]


@pytest.mark.ours
def test_a_container_can_share_the_mount_namespace(runtime: Runtime, bundle: Bundle) -> None:
    """It has the root and the mounts that it asks for; with it, all of them are gone."""
    before = Path("/proc/self/mountinfo").read_text()
    script = "readlink /proc/self/ns/mnt; ls -d /proc/1; echo x > /dev/null && > /mnt/x; ls /"

    def edit(config: Config) -> None:
        in_the_hosts_mounts(config)
        config["root"]["readonly"] = True
        mounts(entry("/mnt"))(config)

    where = bundle("sh", "-c", script, edit=edit)
    (where / "rootfs/mnt").mkdir()
    runtime.created(where)
    during = Path("/proc/self/mountinfo").read_text()
    runtime.ok("start", "c")
    assert runtime.wait() == 0, runtime.output()
    runtime.ok("delete", "c")

    assert os.readlink("/proc/self/ns/mnt") in runtime.output()
    assert "rootfs" not in runtime.output()
    points = [line.split()[4] for line in during.splitlines()]
    assert sum(point.startswith(f"{where}/rootfs") for point in points) == 8
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.ours
def test_a_create_in_the_hosts_mounts_that_fails_leaves_nothing(
    refusal: Refusal, tmp_path: Path
) -> None:
    """What was mounted until then is unmounted."""
    before = Path("/proc/self/mountinfo").read_text()

    def edit(config: Config) -> None:
        in_the_hosts_mounts(config)
        mounts(entry("/mnt", kind="nofs"))(config)

    assert "no such device" in refusal(edit)
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.ours
def test_mounts_in_the_hosts_namespace_do_not_spread(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Also below a shared mount the container's are in this namespace only, and only there once."""
    top = tmp_path / "top"
    (top / "other").mkdir(parents=True)
    where = bundle("true", edit=in_the_hosts_mounts, name="top/b")
    subprocess.run(["mount", "--bind", str(top), str(top)], check=True)
    subprocess.run(["mount", "--make-shared", str(top)], check=True)
    subprocess.run(["mount", "--bind", str(top), f"{top}/other"], check=True)
    try:
        before = Path("/proc/self/mountinfo").read_text()
        runtime.created(where)
        during = Path("/proc/self/mountinfo").read_text()
        runtime.tidy()
        after = Path("/proc/self/mountinfo").read_text()
    finally:
        subprocess.run(["umount", f"{top}/other"], check=True)
        subprocess.run(["umount", str(top)], check=True)

    assert during.count("/rootfs/proc ") == 1
    assert after == before


@pytest.mark.ours
def test_a_user_namespace_needs_a_mount_namespace(refusal: Refusal) -> None:
    """It could mount nothing."""

    def edit(config: Config) -> None:
        mapped()(config)
        in_the_hosts_mounts(config)

    assert "needs a mount namespace" in refusal(edit)
