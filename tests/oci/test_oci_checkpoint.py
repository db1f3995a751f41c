"""checkpoint and restore: refused without criu, handed over to it, and the real thing."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes import RUNTIME, Runtime

Bundle = Callable[..., Path]

pytestmark = pytest.mark.ours

# Notes what it is called with, and answers as criu does: 0, or 1 with a reason in its log.
STAND_IN = """\
#!/bin/sh
for word; do echo "$word"; done > {words}
{script}
"""


@pytest.fixture
def criu(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a program to be called instead of criu."""

    def make(script: str = "") -> Path:
        program = tmp_path / "criu"
        program.write_text(STAND_IN.format(words=tmp_path / "words", script=script))
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def sleeper(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> Path:
    """Return the bundle of a container that runs, with a directory of the host bound into it."""
    (tmp_path / "shared").mkdir()
    mount = {
        "destination": "/shared",
        "type": "bind",
        "source": str(tmp_path / "shared"),
        "options": ["rbind"],
    }
    script = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.1; done"
    where = bundle("sh", "-c", script, edit=lambda config: config["mounts"].append(mount))
    runtime.created(where)
    runtime.ok("start", "c")
    return where


def restore(runtime: Runtime, bundle: Path, images: Path, *flags: str) -> None:
    """Restore a container, which keeps our streams open, as a child of ours."""
    command = [RUNTIME, "--root", str(runtime.root), *flags, "restore", "--detach", "--bundle"]
    command += [str(bundle), "--image-path", str(images), "--pid-file", str(runtime.pid_file("c"))]
    with (runtime.directory / "c.out").open("wb") as out:
        subprocess.run(
            [*command, "c"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True
        )
    runtime._started.append("c")


def words(tmp_path: Path) -> list[str]:
    """Return what the stand-in was called with."""
    return (tmp_path / "words").read_text().splitlines()


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_without_criu_it_says_so(runtime: Runtime, tmp_path: Path, command: str) -> None:
    """One line, with what to install; nothing is tried."""
    done = runtime.call("--criu", str(tmp_path / "none"), command, "c")

    assert done.returncode == 1
    assert "is not installed" in done.stderr
    assert "--criu" in done.stderr
    assert not runtime.root.exists()


def test_criu_is_told_what_it_cannot_know(
    runtime: Runtime, sleeper: Path, tmp_path: Path, criu: Callable[[str], Path]
) -> None:
    """The first process, the places, mounts from outside, and what clients ask for."""
    pid = runtime.state()["pid"]
    runtime.ok(
        "--criu", str(criu("")), "checkpoint", "--image-path", str(tmp_path / "images"),
        "--work-path", str(tmp_path / "work"), "--leave-running", "--tcp-established",
        "--manage-cgroups-mode", "full", "c",
    )  # fmt: skip

    given = words(tmp_path)

    assert given[0] == "dump"
    assert given[given.index("--tree") + 1] == str(pid)
    assert given[given.index("--images-dir") + 1] == str(tmp_path / "images")
    assert given[given.index("--work-dir") + 1] == str(tmp_path / "work")
    assert "mnt[/shared]:/shared" in given
    assert {"--leave-running", "--tcp-established", "--manage-cgroups=full"} <= set(given)
    assert len(json.loads((tmp_path / "images/descriptors.json").read_text())) == 3
    assert runtime.status() == "running"


def test_a_checkpoint_ends_the_container(
    runtime: Runtime, sleeper: Path, tmp_path: Path, criu: Callable[[str], Path]
) -> None:
    """As with runc: its processes are in the images now, and its place is free."""
    program = criu("")

    runtime.ok("--criu", str(program), "checkpoint", "--image-path", str(tmp_path / "images"), "c")

    assert runtime.wait() == 137
    assert not list(runtime.root.glob("*"))


def test_a_failed_checkpoint_leaves_the_container(
    runtime: Runtime, sleeper: Path, tmp_path: Path, criu: Callable[[str], Path]
) -> None:
    """The reason is criu's, and where to read more."""
    log = tmp_path / "images/dump.log"
    line = "(00.1) Error (criu/x.c:7): the moon is full"
    program = criu(f"echo '{line}' > {log}; exit 1")

    done = runtime.call(
        "--criu", str(program), "checkpoint", "--image-path", str(tmp_path / "images"), "c"
    )

    assert done.returncode == 1
    assert "criu failed: the moon is full" in done.stderr
    assert str(log) in done.stderr
    assert runtime.status() == "running"


def test_only_what_runs_can_be_saved(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, criu: Callable[[str], Path]
) -> None:
    """A created container has nothing that could go on."""
    runtime.created(bundle("true"))

    done = runtime.call("--criu", str(criu("")), "checkpoint", "c")

    assert done.returncode == 1
    assert "container not running" in done.stderr
    assert not (tmp_path / "words").exists()


def test_a_restored_container_is_on_record(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, criu: Callable[[str], Path]
) -> None:
    """With the pid that criu wrote, its own cgroup, and the root mounted where criu wants it."""
    where = bundle("true")
    images = tmp_path / "images"
    images.mkdir()
    (images / "descriptors.json").write_text('["/dev/null", "pipe:[7]", "file[1e:5]"]')
    script = f"""\
while [ $# -gt 0 ]; do
    case $1 in --pidfile) pidfile=$2 ;; --root) root=$2 ;; esac
    shift
done
ls "$root" > {tmp_path}/seen
setsid sleep 60 &
printf %s $! > "$pidfile"
"""

    restore(runtime, where, images, "--criu", str(criu(script)))
    state = runtime.state()

    assert words(tmp_path)[0] == "restore"
    assert {"fd[1]:pipe:[7]", "fd[2]:file[1e:5]"} <= set(words(tmp_path))
    assert state["status"] == "running"
    assert state["pid"] == int(runtime.pid_file("c").read_text())
    assert "bin" in (tmp_path / "seen").read_text().split()
    assert "/c/c\n" in Path(f"/proc/{state['pid']}/cgroup").read_text()

    runtime.ok("kill", "c", "KILL")
    assert runtime.wait() == 137
    runtime.ok("delete", "c")
    assert not list(runtime.root.glob("*"))


def test_nothing_is_left_of_a_failed_restore(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, criu: Callable[[str], Path]
) -> None:
    """Neither record nor cgroup."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "descriptors.json").write_text("[]")

    done = runtime.call(
        "--criu", str(criu("exit 1")), "restore", "--image-path", str(images),
        "--bundle", str(bundle("true")), "c",
    )  # fmt: skip

    assert done.returncode == 1
    assert "criu failed" in done.stderr
    assert not list(runtime.root.glob("*"))


@pytest.mark.vm
@pytest.mark.needs("criu")
def test_a_container_goes_on_where_it_was(runtime: Runtime, sleeper: Path, tmp_path: Path) -> None:
    """Its memory, its tmpfs and its mounts from outside are there again."""
    images = tmp_path / "images"
    time.sleep(1)
    runtime.ok("checkpoint", "--image-path", str(images), "c")
    runtime.wait()
    restore(runtime, sleeper, images)
    count = Path(f"/proc/{runtime.state()['pid']}/root/dev/shm/count")
    first = int(count.read_text() or 0)
    time.sleep(2)

    assert int(count.read_text() or 0) > first > 3
    assert " /shared " in Path(f"/proc/{runtime.state()['pid']}/mountinfo").read_text()

    runtime.ok("delete", "--force", "c")
    runtime.wait()
