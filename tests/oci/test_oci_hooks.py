"""The six hooks: when each runs, where, what it is told, and what becomes of a container if one
fails (config.md, "POSIX-platform Hooks"; runtime.md, "Lifecycle").
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Refusal = Callable[..., str]
CREATING = ("prestart", "createRuntime", "createContainer")
STARTING = ("startContainer", "poststart")
ALL = (*CREATING, *STARTING, "poststop")


class Hooks:
    """Hooks that write down, in a directory of host and container, that they ran and where."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory

    def add(self, config: Config, kind: str, more: str = "", **entry: object) -> None:
        """Give a container a hook of this kind; ``more`` is a script after the writing."""
        # The container has the directory at a place of its own.
        here = "/noted" if kind == "startContainer" else str(self.directory)
        script = (
            f"cat >{here}/{kind}; echo {kind} >>{here}/order; "
            f"for ns in mnt uts; do readlink /proc/self/ns/$ns; done >{here}/{kind}.ns; "
            f"if test -e /noted; then echo inside >>{here}/{kind}.ns; fi; {more}"
        )
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], **entry}
        hook.setdefault("env", ["PATH=/usr/bin:/bin"])
        config.setdefault("hooks", {}).setdefault(kind, []).append(hook)

    def share(self, config: Config) -> None:
        """Show the directory to the container."""
        config["mounts"].append(
            {
                "destination": "/noted",
                "type": "bind",
                "source": str(self.directory),
                "options": ["bind", "rw"],
            }
        )

    def order(self) -> list[str]:
        """Return the kinds of the hooks that ran so far."""
        path = self.directory / "order"
        return path.read_text().split() if path.exists() else []

    def state(self, kind: str) -> Config:
        """Return what the hook read."""
        document: Config = json.loads((self.directory / kind).read_text())
        return document

    def where(self, kind: str) -> list[str]:
        """Return the mount and UTS namespace of the hook, and whether its root was the image."""
        return (self.directory / f"{kind}.ns").read_text().split()


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    """Return hooks that write below a directory of the test."""
    return Hooks(tmp_path / "noted")


@pytest.fixture
def full(hooks: Hooks, bundle: Bundle) -> Path:
    """Return a bundle with a hook of every kind; its program waits."""

    def edit(config: Config) -> None:
        hooks.share(config)
        config["annotations"] = {"org.example.key": "value"}
        for kind in ALL:
            hooks.add(config, kind)

    return bundle("sh", "-c", "echo program >>/noted/order; sleep 60", edit=edit)


def end(runtime: Runtime, name: str = "c") -> None:
    """End a container's program and delete it."""
    runtime.ok("kill", name, "KILL")
    runtime.wait(name)
    runtime.ok("delete", name)


def test_the_order_of_all_hooks(runtime: Runtime, hooks: Hooks, full: Path) -> None:
    """Three in create, one before the program, one before start returns, one after the delete."""
    runtime.created(full)
    assert hooks.order() == list(CREATING)

    runtime.ok("start", "c")
    assert [word for word in hooks.order() if word != "program"] == [*CREATING, *STARTING]
    deadline = time.monotonic() + 10
    while "program" not in hooks.order():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert hooks.order().index("program") > hooks.order().index("startContainer")

    end(runtime)
    assert hooks.order()[-1] == "poststop"
    assert sorted(hooks.order()) == sorted([*ALL, "program"])


def test_where_each_hook_runs(runtime: Runtime, hooks: Hooks, full: Path) -> None:
    """With the runtime, in the container before its root is the image, or quite inside."""
    pid = runtime.created(full)
    container = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("mnt", "uts")]
    runtime.ok("start", "c")
    end(runtime)
    host = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "uts")]

    for kind in ("prestart", "createRuntime", "poststart", "poststop"):
        assert hooks.where(kind) == host, kind
    assert hooks.where("createContainer") == container
    assert hooks.where("startContainer") == [*container, "inside"]


def test_what_each_hook_is_told(runtime: Runtime, hooks: Hooks, full: Path) -> None:
    """The state of that moment, in which the pid is meant where the hook runs."""
    pid = runtime.created(full)
    runtime.ok("start", "c")
    end(runtime)

    for kind in ALL:
        state = hooks.state(kind)
        assert state["id"] == "c"
        assert state["bundle"] == str(full)
        assert state["annotations"] == {"org.example.key": "value"}
    assert {kind: hooks.state(kind)["pid"] for kind in ALL if kind != "poststop"} == {
        "prestart": pid,
        "createRuntime": pid,
        "createContainer": 1,
        "startContainer": 1,
        "poststart": pid,
    }
    assert hooks.state("poststop").get("pid", 0) == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("prestart", "created"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ],
)
def test_the_status_that_a_hook_is_told(
    runtime: Runtime, hooks: Hooks, full: Path, kind: str, status: str
) -> None:
    """prestart hooks know a specification that ran them in start: created, for them."""
    runtime.created(full)
    runtime.ok("start", "c")
    end(runtime)

    assert hooks.state(kind)["status"] == status


@pytest.mark.parametrize("kind", CREATING)
def test_a_hook_that_fails_fails_the_create(
    runtime: Runtime, bundle: Bundle, hooks: Hooks, kind: str
) -> None:
    """No later hook of its kind runs, and nothing is left."""

    def edit(config: Config) -> None:
        hooks.share(config)
        hooks.add(config, kind, "exit 3")
        hooks.add(config, kind)

    assert runtime.create(bundle("true", edit=edit)).returncode
    assert hooks.order() == [kind]
    assert not list(runtime.root.glob("*"))


@pytest.mark.ours
@pytest.mark.parametrize("kind", CREATING)
def test_a_failed_hook_is_explained(refusal: Refusal, hooks: Hooks, kind: str) -> None:
    """The line names its kind and number, how it ended, and what it said last."""

    def edit(config: Config) -> None:
        hooks.add(config, kind)
        hooks.add(config, kind, "echo out of paper >&2; exit 3")

    said = refusal(edit)

    assert f"error running {kind} hook #1 (/bin/sh): exit status 3" in said
    assert "out of paper" in said


@pytest.mark.ours
@pytest.mark.parametrize("kind", CREATING)
def test_poststop_hooks_follow_a_failed_hook(refusal: Refusal, hooks: Hooks, kind: str) -> None:
    """The lifecycle goes on with the container's end: what hooks have made, hooks take back."""

    def edit(config: Config) -> None:
        hooks.share(config)
        hooks.add(config, kind, "exit 3")
        hooks.add(config, "poststop")

    refusal(edit)

    assert hooks.order() == [kind, "poststop"]


@pytest.mark.parametrize("kind", STARTING)
def test_a_hook_that_fails_fails_the_start(
    runtime: Runtime, bundle: Bundle, hooks: Hooks, kind: str
) -> None:
    """The container is stopped then; with a startContainer hook the program has not run."""

    def edit(config: Config) -> None:
        hooks.share(config)
        hooks.add(config, kind, "exit 3")

    runtime.created(bundle("sh", "-c", "touch /noted/ran; sleep 60", edit=edit))
    done = runtime.call("start", "c")

    assert done.returncode == 1
    assert hooks.order() == [kind]
    runtime.wait()
    assert runtime.call("state", "c").returncode or runtime.status() == "stopped"
    if kind == "startContainer":
        assert not (hooks.directory / "ran").exists()


def test_a_poststop_hook_that_fails_is_a_warning(
    runtime: Runtime, bundle: Bundle, hooks: Hooks
) -> None:
    """The others run, the container is deleted, and delete succeeds."""

    def edit(config: Config) -> None:
        hooks.add(config, "poststop", "exit 3")
        hooks.add(config, "poststop")

    runtime.created(bundle("true", edit=edit))
    runtime.ok("start", "c")
    runtime.wait()
    done = runtime.call("delete", "c")

    assert done.returncode == 0
    assert hooks.order() == ["poststop", "poststop"]
    assert runtime.call("state", "c").returncode == 1


def test_a_hook_has_its_time(runtime: Runtime, bundle: Bundle, hooks: Hooks) -> None:
    """After ``timeout`` seconds it is killed, which fails the create."""

    def edit(config: Config) -> None:
        hooks.add(config, "createRuntime", "exec sleep 60", timeout=1)

    begin = time.monotonic()
    assert runtime.create(bundle("true", edit=edit)).returncode

    assert time.monotonic() - begin < 20


def test_run_runs_all_hooks(runtime: Runtime, hooks: Hooks, bundle: Bundle) -> None:
    """run is create, start and delete."""

    def edit(config: Config) -> None:
        hooks.share(config)
        for kind in ALL:
            hooks.add(config, kind)

    assert runtime.run(bundle("true", edit=edit)).returncode == 0
    assert hooks.order() == list(ALL)
