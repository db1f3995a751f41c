"""What a hook may count on and what its failure means, list by list (config.md, "Hooks")."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimes import NAME, RUNTIME, Config, Runtime, until

Bundle = Callable[..., Path]
Refusal = Callable[..., str]
Cycle = Callable[[Path], int]

# In the order in which they run: the specification's.
DURING_CREATE = ("prestart", "createRuntime", "createContainer")
ALL = (*DURING_CREATE, "startContainer", "poststart", "poststop")
OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
OURS = NAME == "uxc-runtime"


def sh(script: str, **more: Any) -> Config:
    """Return a hook that runs a shell script: the host's shell, or the container's."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": [PATH], **more}


def with_hooks(share: Path | None = None, **lists: list[Config]) -> Callable[[Config], object]:
    """Return a change that sets the hooks, and mounts ``share`` at its own place inside."""

    def edit(config: Config) -> None:
        config["hooks"] = lists
        if share is not None:
            mount = {"destination": str(share), "source": str(share), "options": ["bind"]}
            config["mounts"].append({**mount, "type": "bind"})

    return edit


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Return a directory that hooks write to, at one path inside and outside."""
    directory = tmp_path / "share"
    directory.mkdir()
    return directory


@pytest.fixture
def cycle(runtime: Runtime) -> Cycle:
    """Return a function that creates, starts, waits for and deletes; it returns the pid."""

    def run(bundle: Path) -> int:
        pid = runtime.created(bundle)
        runtime.ok("start", "c")
        assert runtime.wait() == 0
        runtime.ok("delete", "c")
        return pid

    return run


@pytest.mark.parametrize("kind", ALL)
def test_the_state_is_on_stdin(bundle: Bundle, cycle: Cycle, share: Path, kind: str) -> None:
    """Version, id, bundle, annotations, and the pid as the hook's own namespace numbers it."""
    hooks = with_hooks(share, **{kind: [sh(f"cat > {share}/state")]})

    def edit(config: Config) -> None:
        hooks(config)
        config["annotations"] = {"org.example.key": "value"}

    where = bundle("true", edit=edit)
    pid = cycle(where)

    state = json.loads((share / "state").read_text())
    assert state["id"] == "c"
    assert state["bundle"] == str(where)
    assert state["annotations"] == {"org.example.key": "value"}
    assert re.match(r"1\.\d+", state["ociVersion"])
    if kind == "poststop":
        # No process, whatever number stands there.
        assert state.get("pid", 0) in (0, pid)
    else:
        assert state["pid"] == (pid if kind in OUTSIDE else 1)


def test_hooks_of_one_list_run_in_its_order(bundle: Bundle, cycle: Cycle, share: Path) -> None:
    """Each list from its first to its last, one after the other."""
    log = share / "log"
    lists = {kind: [sh(f"echo {kind} {n} >> {log}") for n in range(3)] for kind in ALL}

    cycle(bundle("true", edit=with_hooks(share, **lists)))

    assert log.read_text().splitlines() == [f"{kind} {n}" for kind in ALL for n in range(3)]


def test_create_container_hooks_change_the_containers_mounts(
    runtime: Runtime, bundle: Bundle, share: Path
) -> None:
    """They run beside the runtime's files, and what they mount at the root is the container's."""
    root = share.parent / "b/rootfs"
    script = (
        f"cat {root}/proc/1/comm > {share}/comm;"
        f"mkdir -p {root}/tmp/made; mount -t tmpfs none {root}/tmp/made"
    )
    edit = with_hooks(share, createContainer=[sh(script)])
    before = Path("/proc/self/mounts").read_text()

    done = runtime.run(bundle("cat", "/proc/mounts", edit=edit))

    assert done.returncode == 0, done.stderr
    assert " /tmp/made tmpfs " in done.stdout
    assert (share / "comm").read_text(), "the container's procfs is mounted by then"
    assert Path("/proc/self/mounts").read_text() == before


def test_start_container_hooks_are_the_images(runtime: Runtime, bundle: Bundle) -> None:
    """Their path leads into the container's root file system."""
    hook = {"path": "/opt/hook", "args": ["hook"], "env": ["PATH=/bin"]}
    where = bundle("cat", "/tmp/by-hook", edit=with_hooks(startContainer=[hook]))
    (where / "rootfs/opt").mkdir(exist_ok=True)
    program = where / "rootfs/opt/hook"
    program.write_text("#!/bin/sh\necho from the hook > /tmp/by-hook\n")
    program.chmod(0o755)

    done = runtime.run(where)

    assert done.stdout == "from the hook\n", done.stderr


@pytest.mark.needs("ip", "veth")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_hooks_find_the_namespaces(runtime: Runtime, bundle: Bundle, kind: str) -> None:
    """They exist by then, so that a hook can wire the network before the program is there."""
    script = (
        "pid=$(tr ',' '\\n' | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p');"
        "ip link add probe0 type veth peer name eth0 netns $pid"
    )
    hooks = with_hooks(**{kind: [sh(script)]})

    def edit(config: Config) -> None:
        hooks(config)
        spaces = [s for s in config["linux"]["namespaces"] if s["type"] != "network"]
        config["linux"]["namespaces"] = [*spaces, {"type": "network"}]

    done = runtime.run(bundle("ip", "link", edit=edit))

    assert "eth0" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", ALL)
def test_arguments_and_environment(bundle: Bundle, cycle: Cycle, share: Path, kind: str) -> None:
    """What env says is the whole environment, and args is handed on as it is."""
    script = f'{{ echo "$0|$1|$2"; env; }} > {share}/out'
    # The container's shell is a busybox, which goes by its name.
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", script, "zero", "a b", ""],
        "env": ["ONE=1", PATH],
    }

    cycle(bundle("true", edit=with_hooks(share, **{kind: [hook]})))

    first, *environment = (share / "out").read_text().splitlines()
    # A shell adds these itself.
    environment = [entry for entry in environment if not re.match("PWD=|SHLVL=|_=|OLDPWD=", entry)]
    assert first == "zero|a b|"
    assert sorted(environment) == ["ONE=1", PATH]


@pytest.mark.parametrize("kind", DURING_CREATE)
def test_a_failing_hook_fails_the_create(refusal: Refusal, share: Path, kind: str) -> None:
    """The rest does not run, nothing is left, and what the hook said is told."""
    failing = [sh("echo no such bridge >&2; exit 3"), sh(f"touch {share}/second")]
    later = [sh(f"touch {share}/later")]

    said = refusal(with_hooks(**{kind: failing}, startContainer=later, poststart=later))

    assert not list(share.iterdir())
    if NAME != "crun":
        assert re.search(r"hook #0.*exit status 3.*no such bridge", said)


@pytest.mark.ours
@pytest.mark.parametrize("kind", DURING_CREATE)
def test_poststop_hooks_run_after_a_failed_create(refusal: Refusal, share: Path, kind: str) -> None:
    """The life cycle goes on with its last step: what hooks did can be undone by hooks."""
    refusal(with_hooks(**{kind: [sh("exit 1")], "poststop": [sh(f"cat > {share}/state")]}))

    assert json.loads((share / "state").read_text())["status"] == "stopped"


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_failing_hook_stops_the_container(
    runtime: Runtime, bundle: Bundle, share: Path, kind: str
) -> None:
    """start fails, the container is stopped, and can be deleted with its poststop hooks."""
    hooks = {kind: [sh("echo sorry >&2; exit 3")], "poststop": [sh(f"touch {share}/poststop")]}
    runtime.created(bundle("sleep", "1000", edit=with_hooks(share, **hooks)))

    done = runtime.call("start", "c")

    if OURS:
        assert f"{kind} hook #0 (/bin/sh): exit status 3: sorry" in done.stderr
    assert done.returncode == 1
    runtime.wait()
    assert runtime.status() == "stopped"
    runtime.ok("delete", "c")
    assert (share / "poststop").exists()


def test_a_failing_start_hook_keeps_the_program_away(
    runtime: Runtime, bundle: Bundle, share: Path
) -> None:
    """The program is not run when a hook before it has failed."""
    hooks = with_hooks(share, startContainer=[sh("exit 1")])
    runtime.created(bundle("touch", f"{share}/program", edit=hooks))

    runtime.call("start", "c")
    runtime.wait()

    assert not (share / "program").exists()


def test_a_failing_poststop_hook_is_a_warning(
    runtime: Runtime, bundle: Bundle, share: Path
) -> None:
    """Delete succeeds, the remaining hooks run, and the failure is told."""
    hooks = [sh("echo sorry >&2; exit 3"), sh(f"touch {share}/second")]
    runtime.created(bundle("true", edit=with_hooks(poststop=hooks)))

    done = runtime.call("delete", "--force", "c")

    assert done.returncode == 0
    assert (share / "second").exists()
    assert runtime.call("state", "c").returncode != 0
    if OURS:
        assert "poststop hook #0 (/bin/sh): exit status 3: sorry" in done.stderr


@pytest.mark.ours
def test_poststop_hooks_run_after_the_deletion(
    runtime: Runtime, bundle: Bundle, share: Path
) -> None:
    """Cgroup, record and process are gone when they run."""
    script = f"ls {runtime.root} > {share}/records; ls -d /proc/$0 > {share}/process"
    hook = sh(script)
    where = bundle("sleep", "1000", edit=with_hooks(poststop=[hook]))
    runtime.created(where)
    runtime.ok("start", "c")

    runtime.ok("delete", "--force", "c")

    assert "c" not in (share / "records").read_text().split()


@pytest.mark.parametrize("kind", DURING_CREATE)
def test_a_hook_that_takes_too_long_fails_the_create(
    refusal: Refusal, share: Path, kind: str
) -> None:
    """It is killed after its timeout."""
    began = time.monotonic()
    said = refusal(with_hooks(**{kind: [sh("exec sleep 1000", timeout=1)]}))

    # crun counts in whole seconds of the clock.
    assert 0.1 < time.monotonic() - began < 20
    if OURS:
        assert f"{kind} hook #0 (/bin/sh): hook ran past specified timeout of 1s" in said
    assert not sleepers()


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_hook_that_takes_too_long_stops_the_container(
    runtime: Runtime, bundle: Bundle, kind: str
) -> None:
    """In a start the same holds as for a hook that fails."""
    hooks = with_hooks(**{kind: [sh("exec sleep 1000", timeout=1)]})
    runtime.created(bundle("cat", edit=hooks))

    began = time.monotonic()
    runtime.call("start", "c")

    runtime.wait()
    assert 0.1 < time.monotonic() - began < 20
    assert runtime.status() == "stopped"
    assert not sleepers()


@pytest.mark.ours
def test_a_poststop_hook_that_takes_too_long_is_a_warning(runtime: Runtime, bundle: Bundle) -> None:
    """Delete waits no longer than the timeout."""
    hooks = with_hooks(poststop=[sh("exec sleep 1000", timeout=1)])
    runtime.created(bundle("true", edit=hooks))

    done = runtime.call("delete", "--force", "c")

    assert done.returncode == 0
    assert "hook ran past specified timeout of 1s" in done.stderr
    assert not sleepers()


@pytest.mark.parametrize("kind", DURING_CREATE)
def test_a_hook_that_is_missing_fails_the_create(refusal: Refusal, kind: str) -> None:
    """A hook that cannot be run has failed."""
    said = refusal(with_hooks(**{kind: [{"path": "/nowhere/hook"}]}))

    if OURS:
        assert f"{kind} hook #0 (/nowhere/hook): cannot be executed: no such file" in said


@pytest.mark.ours
@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ({}, ".path: is missing"),
        ({"path": "bin/sh"}, ".path: must be an absolute path"),
        ({"path": "/bin/sh", "timeout": 0}, ".timeout: must be a number from 1 to 2147483647"),
        ({"path": "/bin/sh", "timeout": -1}, ".timeout: must be a number from 1 to 2147483647"),
    ],
)
@pytest.mark.parametrize("kind", ALL)
def test_a_hook_that_is_written_wrong_is_refused(
    refusal: Refusal, kind: str, hook: Config, problem: str
) -> None:
    """Before anything is made, by its path, also for hooks that run much later."""
    said = refusal(with_hooks(**{kind: [{"path": "/bin/true"}, hook]}))

    assert f"config.json: hooks.{kind}[1]{problem}" in said


@pytest.mark.ours
def test_the_bundle_may_change_after_create(runtime: Runtime, bundle: Bundle, share: Path) -> None:
    """The hooks are those that were there at create (runtime.md, "create")."""
    lists = {kind: [sh(f"touch {share}/{kind}")] for kind in ("poststart", "poststop")}
    where = bundle("true", edit=with_hooks(share, **lists))
    runtime.created(where)
    config = json.loads((where / "config.json").read_text())
    config["hooks"] = {kind: [sh(f"touch {share}/other")] for kind in lists}
    (where / "config.json").write_text(json.dumps(config))

    runtime.ok("start", "c")
    runtime.wait()
    runtime.ok("delete", "c")

    assert {path.name for path in share.iterdir()} == {"poststart", "poststop"}


@pytest.mark.ours
@pytest.mark.parametrize("kind", ALL)
def test_no_descriptor_leaks_into_a_hook(
    bundle: Bundle, cycle: Cycle, share: Path, kind: str
) -> None:
    """Standard streams are all it has, wherever it runs."""
    # createContainer is beside the host's procfs, which does not know the process.
    procfs = f"{share.parent}/b/rootfs/proc" if kind == "createContainer" else "/proc"

    hook = sh(f"exec ls {procfs}/self/fd > {share}/fds")
    cycle(bundle("true", edit=with_hooks(share, **{kind: [hook]})))

    # The fourth is the directory that ls reads.
    assert (share / "fds").read_text().split() == ["0", "1", "2", "3"]


@pytest.mark.ours
@pytest.mark.parametrize("kind", DURING_CREATE)
def test_a_hook_ends_with_its_create(
    runtime: Runtime, bundle: Bundle, share: Path, kind: str
) -> None:
    """When the runtime is killed its hook goes, and delete --force removes what is left."""
    ready = share / "ready"
    hook = sh(f"touch {ready}; exec sleep 1000")
    where = bundle("true", edit=with_hooks(**{kind: [hook]}))
    quiet = subprocess.DEVNULL
    command = [RUNTIME, "--root", str(runtime.root), "create", "--bundle", str(where), "c"]
    maker = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    until(ready.exists, "the hook")

    maker.send_signal(signal.SIGKILL)
    maker.wait()
    runtime.ok("delete", "--force", "c")

    until(lambda: not sleepers(), "the end of the hook")
    assert not list(runtime.root.glob("c*"))
    reap()


def sleepers() -> list[str]:
    """Return the processes of hooks that are to sleep for long."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes() == b"sleep\x001000\0":
                    found.append(entry.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def reap() -> None:
    """Wait for the orphans that this subreaper got."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
