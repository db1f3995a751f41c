"""Containers that are in the way of each other, of others, or of a machine that is full."""

import errno
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import needs
from faults import cgroups_of, soon_empty
from keepers import alive
from runtimes import NAME, RUNTIME, TIMEOUT_S, Config, Runtime, until

Bundle = Callable[..., Path]
Edit = Callable[[Config], object]


@pytest.fixture
def group() -> str:
    """Return a name for the parent of the container's cgroup that nobody else has."""
    return f"races-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(bundle: Bundle, group: str) -> Callable[..., Path]:
    """Return a function that makes a bundle with a cgroup of its own."""

    def made(*words: str, edit: Edit | None = None, name: str = "b") -> Path:
        def changed(config: Config) -> None:
            # What they have made above it, other runtimes leave.
            between = "/" if NAME == "uxc-runtime" else "-"
            config["linux"]["cgroupsPath"] = f"/{group}{between}{name}"
            if edit is not None:
                edit(config)

        return bundle(*(words or ("sleep", "1000")), edit=changed, name=name)

    return made


def _at_once(runtime: Runtime, *calls: tuple[str, ...]) -> list[tuple[int, str]]:
    many = [
        subprocess.Popen(
            [RUNTIME, "--root", str(runtime.root), *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for words in calls
    ]  # fmt: skip
    return [(one.returncode, text) for one in many for _, text in [one.communicate(timeout=30)]]


@pytest.mark.ours
def test_two_deletes_at_once(runtime: Runtime, make: Callable[..., Path], group: str) -> None:
    """One removes it, the others find nothing, or nothing any more; all is gone."""
    where = make()
    for _ in range(8):
        runtime.created(where)
        runtime.ok("start", "c")
        results = _at_once(runtime, *[("delete", "--force", "c")] * 4)

        assert [code for code, _ in results] == [0] * 4, results
        assert not list(runtime.root.glob("*"))
        runtime.wait()
        assert not cgroups_of(group)


@pytest.mark.ours
def test_deletes_without_force_at_once(runtime: Runtime, make: Callable[..., Path]) -> None:
    """Exactly one of them has removed it."""
    where = make("true")
    for _ in range(8):
        runtime.created(where)
        runtime.ok("start", "c")
        runtime.wait()
        results = _at_once(runtime, *[("delete", "c")] * 4)

        assert sorted(code for code, _ in results) == [0, 1, 1, 1], results
        assert all("does not exist" in text for code, text in results if code)


@pytest.mark.ours
def test_start_against_delete(runtime: Runtime, make: Callable[..., Path], group: str) -> None:
    """The program has run or not, and all is gone; a start that comes too late says so."""
    where = make()
    for _ in range(12):
        runtime.created(where)
        (started, text), (deleted, why) = _at_once(
            runtime, ("start", "c"), ("delete", "--force", "c")
        )

        assert deleted == 0, why
        assert started == 0 or "does not exist" in text or "has stopped" in text, text
        assert not list(runtime.root.glob("*"))
        runtime.wait()
        assert not cgroups_of(group)


@pytest.mark.ours
def test_create_against_delete(runtime: Runtime, make: Callable[..., Path], group: str) -> None:
    """The delete waits for the create, or comes too early; what it removed is gone whole."""
    where = make()
    create = ("create", "--bundle", str(where), "--pid-file", str(runtime.pid_file("c")), "c")
    for _ in range(12):
        # A pipe as stderr would be the program's, and stay open.
        with (runtime.directory / "c.out").open("wb") as out:
            command = [RUNTIME, "--root", str(runtime.root)]
            creating = subprocess.Popen(
                [*command, *create], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            deleting = subprocess.Popen([*command, "delete", "--force", "c"])
        assert deleting.wait(TIMEOUT_S) == 0
        assert creating.wait(TIMEOUT_S) == 0, runtime.output()
        runtime.ok("delete", "--force", "c")
        runtime.wait()

        assert not list(runtime.root.glob("*"))
        assert not cgroups_of(group)


@pytest.mark.ours
def test_a_pid_that_is_somebody_elses_now(runtime: Runtime, make: Callable[..., Path]) -> None:
    """The container has stopped: no signal, no exec, no delete meets the other process."""
    pid = runtime.created(make())
    runtime.ok("start", "c")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with subprocess.Popen(["sleep", "1000"]) as other:
        path = runtime.root / "c/state.json"
        record = json.loads(path.read_text())
        record["pid"] = other.pid
        path.write_text(json.dumps(record))
        try:
            assert runtime.status() == "stopped"
            for words in (("kill", "c", "KILL"), ("exec", "c", "true"), ("start", "c")):
                assert runtime.call(*words).returncode, words
            runtime.ok("delete", "--force", "c")
            assert other.poll() is None
        finally:
            other.kill()
    runtime._started.clear()


def test_the_caller_may_be_killed(runtime: Runtime, make: Callable[..., Path]) -> None:
    """A container outlives who made it, with all of that one's session."""
    words = ["--bundle", str(make()), "--pid-file", str(runtime.pid_file("c")), "c"]
    script = '"$@" && : >"$0"; sleep 1000'
    done = runtime.directory / "done"
    with (runtime.directory / "c.out").open("wb") as out, subprocess.Popen(
        ["sh", "-c", script, str(done), RUNTIME, "--root", str(runtime.root), "create", *words],
        stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
    ) as caller:  # fmt: skip
        until(done.exists, "the container")
        os.killpg(caller.pid, signal.SIGKILL)
    runtime._started.append("c")

    assert runtime.status() == "created"
    runtime.ok("start", "c")
    assert runtime.status() == "running"


@pytest.mark.ours
def test_the_caller_may_be_killed_during_the_create(
    runtime: Runtime, make: Callable[..., Path], group: str
) -> None:
    """The runtime brings it to an end without its caller."""
    where = make()
    for turn in range(10):
        words = ["--bundle", str(where), "--pid-file", str(runtime.pid_file("c")), "c"]
        with (runtime.directory / "c.out").open("wb") as out, subprocess.Popen(
            ["sh", "-c", '"$@"; true', "sh", RUNTIME, "--root", runtime.root, "create", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        ) as caller:  # fmt: skip
            time.sleep(0.006 * turn)
            caller.kill()
        _wait_for_orphans(str(runtime.root))
        runtime.ok("delete", "--force", "c")

        assert not list(runtime.root.glob("*"))
        assert not cgroups_of(group)
        _reap()


def _wait_for_orphans(mark: str) -> None:
    """Wait for the end of the runtime, whose command line has ``mark``."""

    def none_there() -> bool:
        _reap()
        for name in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{name}/cmdline").read_text() if name.isdigit() else ""
            except OSError:
                continue
            if mark in words and "create" in words:
                return False
        return True

    until(none_there, "the end of the create")


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            continue
    except ChildProcessError:
        return


def _host_pids(config: Config) -> None:
    config["linux"]["namespaces"] = [
        one for one in config["linux"]["namespaces"] if one["type"] != "pid"
    ]


LEAVES_CHILDREN = "for n in 1 2 3; do setsid sleep 1000 & done; wait"


def test_children_that_outlive_the_first_process(
    runtime: Runtime, make: Callable[..., Path], group: str
) -> None:
    """In the host's pid namespace they do; delete ends them."""
    where = make("sh", "-c", LEAVES_CHILDREN, edit=_host_pids)
    pid = runtime.created(where)
    runtime.ok("start", "c")
    pids = until(lambda: len(_pids(runtime)) == 4 and _pids(runtime), "the children")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert runtime.status() == "stopped"
    runtime.ok("delete", "--force", "c")

    assert not soon_empty(lambda: [one for one in pids if alive(one)])
    assert not soon_empty(lambda: cgroups_of(f"{group}*"))
    _reap()


def _pids(runtime: Runtime) -> list[int]:
    return list(json.loads(runtime.ok("ps", "--format", "json", "c")))


@pytest.mark.parametrize("before", [("pause",), ()])
@pytest.mark.needs("cgroup2-freezer")
@pytest.mark.ours
def test_cgroups_that_the_container_has_made(
    runtime: Runtime, make: Callable[..., Path], group: str, before: tuple[str, ...]
) -> None:
    """They go with it, and who is in them, also when it is paused."""
    pid = runtime.created(make("sh", "-c", LEAVES_CHILDREN))
    runtime.ok("start", "c")
    until(lambda: len(_pids(runtime)) == 4, "the children")
    where = Path(needs.cgroup2_mount(), group, "b")
    (where / "one/two").mkdir(parents=True)
    (where / "one/two/cgroup.procs").write_text(str(max(_pids(runtime))))
    for command in before:
        runtime.ok(command, "c")

    runtime.ok("delete", "--force", "c")

    assert not alive(pid)
    assert not cgroups_of(group)


@pytest.mark.needs("cgroup2-freezer")
@pytest.mark.ours
@pytest.mark.parametrize("frozen", ["", "b"])
def test_a_cgroup_that_somebody_has_frozen_is_refused(
    runtime: Runtime, make: Callable[..., Path], group: str, frozen: str
) -> None:
    """Nothing would begin in it, nor below it: a create would wait for ever."""
    top = Path(needs.cgroup2_mount(), group)
    place = top / frozen
    place.mkdir(parents=True)
    (place / "cgroup.freeze").write_text("1")
    try:
        done = runtime.create(make())
        assert done.returncode == 1
        assert "is frozen" in runtime.output()
        assert not list(runtime.root.glob("*"))
        assert place.exists()
    finally:
        (place / "cgroup.freeze").write_text("0")
        for path in (top / "b", top):
            if path.exists():
                path.rmdir()


@pytest.mark.needs("cgroup2-freezer")
@pytest.mark.ours
@pytest.mark.parametrize("words", [("delete", "--force", "c"), ("kill", "--all", "c", "KILL")])
def test_a_container_that_somebody_has_frozen_ends(
    runtime: Runtime, make: Callable[..., Path], group: str, words: tuple[str, ...]
) -> None:
    """By SIGKILL, and without help from whoever has frozen it, or the cgroup above it."""
    pid = runtime.created(make())
    runtime.ok("start", "c")
    top = Path(needs.cgroup2_mount(), group)
    (top / "cgroup.freeze").write_text("1")

    assert runtime.status() == "paused"
    runtime.ok(*words)

    until(lambda: not alive(pid), "its end")


@pytest.mark.needs("cgroup2-freezer")
@pytest.mark.ours
def test_what_was_frozen_to_be_signalled_goes_on(
    runtime: Runtime, make: Callable[..., Path], group: str
) -> None:
    """Also when a signal cannot be sent: an error leaves nobody frozen."""
    runtime.created(make("sh", "-c", LEAVES_CHILDREN))
    runtime.ok("start", "c")
    until(lambda: len(_pids(runtime)) == 4, "the children")

    runtime.call("kill", "--all", "c", "99")

    events = Path(needs.cgroup2_mount(), group, "b/cgroup.events").read_text()
    assert "frozen 0" in events
    assert runtime.status() == "running"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a tmpfs with options and returns where."""
    place = tmp_path / "small"
    place.mkdir()
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        if mounted:
            subprocess.run(["umount", str(mounted.pop())], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(place)], check=True)
        mounted.append(place)
        return place

    yield mount
    for one in mounted:
        subprocess.run(["umount", str(one)], check=True)


def _one_line(output: str, number: int) -> None:
    lines = [line for line in output.splitlines() if "hint: " not in line]
    assert len(lines) == 1, output
    assert os.strerror(number).lower() in lines[0], output


@pytest.mark.ours
def test_a_full_state_directory(
    runtime: Runtime, make: Callable[..., Path], group: str, full: Callable[[str], Path]
) -> None:
    """Whatever does not fit, the create says so in one line and takes everything back."""
    where = make()
    refused = 0
    # Blocks first, then files, one more each time until there are enough.
    for options in [f"size={4 * n}k" for n in (1, 2, 3)] + [f"nr_inodes={n}" for n in range(1, 9)]:
        runtime.root = full(options)
        done = runtime.create(where)
        if done.returncode == 0:
            runtime.ok("delete", "--force", "c")
            runtime.wait()
        else:
            refused += 1
            _one_line(runtime.output(), errno.ENOSPC)
            assert not runtime.pid_file("c").exists()
        assert not list(runtime.root.glob("*")), options
        assert not cgroups_of(group), options
    assert refused > 3
    assert done.returncode == 0, runtime.output()


def _fill(fd: int) -> None:
    while os.statvfs(fd).f_bavail:
        os.write(fd, b"x" * 4096)


@pytest.mark.ours
def test_a_state_directory_that_fills_up_later(
    runtime: Runtime, make: Callable[..., Path], full: Callable[[str], Path]
) -> None:
    """What exists can be started, stopped and removed without a free byte."""
    runtime.root = full("size=64k")
    runtime.created(make())
    filler = os.open(runtime.root / "filler", os.O_WRONLY | os.O_CREAT)
    _fill(filler)
    os.close(filler)
    assert runtime.status() == "created"
    runtime.ok("start", "c")
    runtime.ok("pause", "c")
    runtime.ok("resume", "c")
    runtime.ok("kill", "c", "KILL")
    runtime.wait()
    runtime.ok("delete", "c")

    assert [path.name for path in runtime.root.glob("*")] == ["filler"]
    runtime._started.clear()


@pytest.mark.ours
def test_a_read_only_state_directory(
    runtime: Runtime, make: Callable[..., Path], group: str, full: Callable[[str], Path]
) -> None:
    """The create says so, and nothing was made; a delete leaves what it cannot remove on record."""
    runtime.root = full("size=1m")
    where = make()
    runtime.created(where)
    subprocess.run(["mount", "-o", "remount,ro", str(runtime.root)], check=True)

    assert runtime.create(where, "d").returncode == 1
    _one_line(runtime.output("d"), errno.EROFS)
    done = runtime.call("delete", "--force", "c")
    assert done.returncode == 1
    _one_line(done.stderr, errno.EROFS)
    assert runtime.status() == "stopped"

    subprocess.run(["mount", "-o", "remount,rw", str(runtime.root)], check=True)
    runtime.ok("delete", "c")
    assert not cgroups_of(group)
    assert not list(runtime.root.glob("*"))
    runtime.wait()
    runtime._started.clear()
