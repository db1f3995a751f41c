"""What can be typed or left about wrongly: each gets one clear line, at once."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes import RUNTIME, Config, Runtime

pytestmark = pytest.mark.ours

Bundle = Callable[..., Path]
NUMBERS = ["9" * 9, "9" * 19, "9" * 20, "9" * 5000]
PATIENCE_S = 10


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of an error, which is no bug of ours."""
    assert done.returncode in (1, 255)
    lines = [line for line in done.stderr.splitlines() if "hint: " not in line]
    assert len(lines) == 1, done.stderr
    assert "--debug" not in done.stderr
    assert "Error" not in lines[0]
    return lines[0]


def call(runtime: Runtime, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command with little memory and little time."""
    return subprocess.run(
        ["prlimit", "--as=1000000000", RUNTIME, "--root", str(runtime.root), *words],
        env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_more_descriptors_than_there_can_be(runtime: Runtime, bundle: Bundle, number: str) -> None:
    """Neither memory nor time is spent on a number that only has to be compared."""
    where = str(bundle("true"))

    said = complaint(call(runtime, "run", "--bundle", where, "--preserve-fds", number, "c"))

    assert "to be preserved, but is not open" in said or "is a number, not" in said
    assert not list(runtime.root.glob("*"))


def test_more_sockets_than_there_can_be(runtime: Runtime, bundle: Bundle) -> None:
    """LISTEN_FDS is anybody's; what is no number of descriptors is not meant for us."""
    where = str(bundle("true"))

    said = complaint(call(runtime, "run", "--bundle", where, "c", LISTEN_FDS="9" * 19))
    done = call(runtime, "run", "--bundle", where, "c", LISTEN_FDS="9" * 5000)

    assert "to be preserved, but is not open" in said
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ['{"id": "x"}', "[]", '"x"', "1", "", "{", "\0"])
@pytest.mark.parametrize("words", [("list",), ("state", "x"), ("delete", "x"), ("exec", "x", "a")])
def test_a_record_that_is_none(runtime: Runtime, text: str, words: tuple[str, ...]) -> None:
    """The state directory of another runtime, or a damaged one, is named."""
    (runtime.root / "x").mkdir(parents=True)
    record = runtime.root / "x/state.json"
    record.write_text(text)

    assert str(record) in complaint(call(runtime, *words))

    record.unlink()
    record.parent.rmdir()


def test_a_fifo_is_no_namespace(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Nobody waits for its other end."""
    os.mkfifo(tmp_path / "fifo")

    def edit(config: Config) -> None:
        config["linux"]["namespaces"][0]["path"] = str(tmp_path / "fifo")

    where = str(bundle("true", edit=edit))

    assert "is no pid namespace" in complaint(call(runtime, "run", "--bundle", where, "c"))


@pytest.mark.parametrize("depth", [100, *range(900, 1010, 5), 100_000])
def test_a_config_may_be_deep(runtime: Runtime, bundle: Bundle, depth: int) -> None:
    """It works, or it is said to be nested too deeply; also close to the limit."""
    where = bundle("true")
    config = json.loads((where / "config.json").read_text())
    config["annotations"] = {}
    text = json.dumps(config)[:-1] + ', "x": ' + "[" * depth + "]" * depth + "}"
    (where / "config.json").write_text(text)

    done = call(runtime, "run", "--bundle", str(where), "c")

    if done.returncode:
        assert "nested too deeply" in complaint(done)
    assert not list(runtime.root.glob("*"))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a b", "a\nb", "é", "a" * 256]
)
@pytest.mark.parametrize("words", [("create", "--bundle"), ("state",), ("delete", "--force")])
def test_an_id_is_no_path(
    runtime: Runtime, bundle: Bundle, words: tuple[str, ...], name: str
) -> None:
    """What is no plain name is refused before it becomes part of a path."""
    (runtime.directory / "x").mkdir()
    options = [str(bundle("true"))] if words[0] == "create" else []

    said = complaint(call(runtime, *words, *options, "--", name))

    assert "invalid container ID format" in said
    assert not list(runtime.root.glob("*"))
    assert (runtime.directory / "x").exists()


@pytest.mark.parametrize("path", ["..", "/", "/..", "/../x", "a/../../../x", "../x"])
def test_a_cgroup_is_below_the_hierarchies(runtime: Runtime, bundle: Bundle, path: str) -> None:
    """Neither the top of a hierarchy nor what is outside is a container's."""
    where = bundle("true", edit=lambda config: config["linux"].update(cgroupsPath=path))

    said = complaint(call(runtime, "run", "--bundle", str(where), "c"))

    assert "linux.cgroupsPath: " in said
