"""The six hooks in one life: when each runs, in which namespaces, with which status."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes import Config, Runtime

Bundle = Callable[..., Path]
CREATING = ("prestart", "createRuntime", "createContainer")
STARTING = ("startContainer", "poststart")
ALL = (*CREATING, *STARTING, "poststop")


class Hooks:
    """Hooks that write down, in a directory of host and container, that they ran and where."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory

    def add(self, config: Config, kind: str) -> None:
        """Give a container a hook of this kind."""
        # The container has the directory at a place of its own.
        here = "/noted" if kind == "startContainer" else str(self.directory)
        script = (
            f"cat >{here}/{kind}; echo {kind} >>{here}/order; "
            f"for ns in mnt uts; do readlink /proc/self/ns/$ns; done >{here}/{kind}.ns; "
            f"if test -e /noted; then echo inside >>{here}/{kind}.ns; fi"
        )
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
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


def test_run_runs_all_hooks(runtime: Runtime, hooks: Hooks, bundle: Bundle) -> None:
    """run is create, start and delete."""

    def edit(config: Config) -> None:
        hooks.share(config)
        for kind in ALL:
            hooks.add(config, kind)

    assert runtime.run(bundle("true", edit=edit)).returncode == 0
    assert hooks.order() == list(ALL)
