"""Tests of a runtime by its command line alone; ``OCI_RUNTIME`` names another one than ours.

That the same tests pass on runc and crun shows that they test the specification, not our habits.
What only ours promises is marked ``ours``.
"""

import ctypes
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from configs import give_to_mapped_root
from otherruntimes import DIFFERENT
from rootfs import busybox
from runtimes import NAME, RUNTIME, Config, ConsoleSocket, Failed, Runtime

PR_SET_CHILD_SUBREAPER = 36


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of this tier."""
    config.addinivalue_line("markers", "ours: only our runtime promises this")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, for other runtimes, what only ours promises and what they do otherwise."""
    different = DIFFERENT.get(NAME, {})
    for item in items:
        if NAME != "uxc-runtime" and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason=f"{NAME} does not promise this"))
        reason = different.get(item.name) or different.get(item.name.partition("[")[0])
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"{NAME} {reason}"))


@pytest.fixture(scope="module", autouse=True)
def _runtime_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give our runtime a prefix, and crun a machine without the v2 tree, which it refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prefix = tmp_path_factory.mktemp("prefix")
    os.environ["UXC_PREFIX"] = str(prefix)
    hidden = Path("/sys/fs/cgroup/unified")
    if NAME == "crun" and hidden.is_dir():
        subprocess.run(["mount", "-t", "tmpfs", "none", str(hidden)], check=True)
    # The first create prepares the interpreter's mount, which stays; it is no leftover of a test.
    empty = prefix / "empty"
    empty.mkdir()
    subprocess.run(
        [RUNTIME, "--root", str(prefix / "root"), "create", "--bundle", str(empty), "none"],
        capture_output=True,
        check=False,
    )
    yield
    subprocess.run(["umount", f"{prefix}/var/run/uxc/interp/python3"], check=False)
    if NAME == "crun" and hidden.is_dir():
        subprocess.run(["umount", str(hidden)], check=True)
    del os.environ["UXC_PREFIX"]
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """Return the runtime under test; its containers are deleted after the test."""
    made = Runtime(tmp_path)
    yield made
    made.tidy()


@pytest.fixture(scope="session")
def _rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox.make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture
def bundle(tmp_path: Path, _rootfs: Path) -> Callable[..., Path]:
    """Return a function that makes a bundle: its program's words, and a change of its config."""

    def make(*args: str, edit: Callable[[Config], object] | None = None, name: str = "b") -> Path:
        directory = tmp_path / name
        directory.mkdir()
        # Links to one busybox: a root of its own for every test, at no cost.
        shutil.copytree(_rootfs, directory / "rootfs", symlinks=True, copy_function=os.link)
        config = busybox.make_config(*args)
        if edit is not None:
            edit(config)
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    return make


@pytest.fixture
def owned(bundle: Callable[..., Path]) -> Callable[..., Path]:
    """Return ``bundle`` with a root that belongs to the mapped root, and can be reached by it."""

    def make(*args: str, **how: Any) -> Path:
        where = bundle(*args, **how)
        give_to_mapped_root(where / "rootfs")
        return where

    return make


@pytest.fixture
def tree(runtime: Runtime) -> Iterator[Path]:
    """Return a directory of the host with a file system mounted in it."""
    top = runtime.directory / "tree"
    (top / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "t", str(top / "sub")], check=True)
    yield top
    subprocess.run(["umount", str(top / "sub")], check=True)


@pytest.fixture
def sh(runtime: Runtime, bundle: Callable[..., Path]) -> Callable[..., str]:
    """Return a function that runs a shell script in a container and returns what it printed."""

    def run(script: str, edit: Callable[[Config], object] | None = None) -> str:
        done = runtime.run(bundle("sh", "-c", script, edit=edit))
        if done.returncode:
            raise Failed(f"{done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    return run


@pytest.fixture
def refusal(runtime: Runtime, bundle: Callable[..., Path]) -> Callable[..., str]:
    """Return a function that creates what must be refused and returns what was said."""

    def refuse(edit: Callable[[Config], object], *args: str) -> str:
        directory = bundle(*(args or ("true",)), edit=edit)
        done = runtime.create(directory)
        assert done.returncode == 1
        assert not list(runtime.root.glob("*")), "a failed create left its state"
        assert not runtime.pid_file("c").exists()
        return runtime.output()

    return refuse


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleSocket]:
    """Return a console socket."""
    made = ConsoleSocket(tmp_path / "console")
    yield made
    made.close()


@pytest.fixture
def running(runtime: Runtime, bundle: Callable[..., Path]) -> Callable[..., int]:
    """Return a function that starts a container, ``c``, and returns its first process's pid."""

    def start(
        edit: Callable[[Config], object] | None = None,
        *words: str,
        options: tuple[str, ...] = (),
        name: str = "b",
    ) -> int:
        def changed(config: Config) -> None:
            # Other sessions of these tests may run containers of the same name.
            config["linux"]["cgroupsPath"] = f"/exec-{uuid.uuid4().hex[:12]}"
            if edit is not None:
                edit(config)

        where = bundle(*(words or ("sleep", "1000")), edit=changed, name=name)
        pid = runtime.created(where, "c", *options)
        runtime.ok("start", "c")
        return pid

    return start


@pytest.fixture
def process_file(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a process.json and returns its path."""

    def write(*args: str, **values: Any) -> str:
        document = {
            "args": list(args),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            **values,
        }
        path = tmp_path / "process.json"
        path.write_text(json.dumps(document))
        return str(path)

    return write
