"""A bundle on disk is right, or everything that is wrong in it is told at once."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uxc.errors import InvalidError
from uxc.oci import judge
from uxc.oci.bundle import WrongBundleError, read

Write = Callable[[object], Path]

RIGHT: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
    "root": {"path": "rootfs"},
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that makes a bundle of a document (or of bytes as they are)."""
    (tmp_path / "rootfs").mkdir()

    def make(config: object) -> Path:
        data = config if isinstance(config, bytes) else json.dumps(config).encode()
        (tmp_path / "config.json").write_bytes(data)
        return tmp_path

    return make


def problems(bundle: Path) -> list[str]:
    """Return what is wrong in ``bundle``, without the path of its config.json in front."""
    with pytest.raises(WrongBundleError) as caught:
        read(str(bundle))
    assert isinstance(caught.value, InvalidError)
    assert caught.value.message.startswith(caught.value.problems[0])
    return [line.removeprefix(f"{bundle}/config.json: ") for line in caught.value.problems]


def test_what_is_null_is_absent(write: Write) -> None:
    """Nobody behind the reader meets a property that is null."""
    null = {"hooks": None, "mounts": None, "linux": {"namespaces": None, "x": [{"y": None}]}}

    bundle = read(str(write({**RIGHT, **null})))

    assert bundle.config == {**RIGHT, "linux": {"x": [{}]}}


def test_right_bundle_is_read(write: Write) -> None:
    """Document, digest and the absolute path of the root filesystem come back."""
    directory = write(RIGHT)
    bundle = read(str(directory))
    assert bundle.config == RIGHT
    assert bundle.digest == hashlib.sha256((directory / "config.json").read_bytes()).digest()
    assert bundle.root == f"{directory}/rootfs"


def test_absolute_root_is_taken_as_it_is(write: Write, tmp_path: Path) -> None:
    """root.path may lead out of the bundle."""
    (tmp_path / "elsewhere").mkdir()
    bundle = read(str(write(RIGHT | {"root": {"path": str(tmp_path / "elsewhere")}})))
    assert bundle.root == str(tmp_path / "elsewhere")


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """Without the directory the message is about it, without the file about the file."""
    assert problems(tmp_path / "none") == [f"{tmp_path}/none: no such file or directory"]
    assert problems(tmp_path) == ["no such file or directory"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not JSON at line 1, column 2"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"\xff", "not UTF-8 text at byte 0"),
        (b"[]", "must be a JSON object"),
        (b"", "not JSON at line 1"),
    ],
)
def test_file_that_is_no_document_is_told(write: Write, data: bytes, reason: str) -> None:
    """What is not a JSON object gives one problem that says where it is not."""
    (line,) = problems(write(data))
    assert reason in line


def test_wrong_values_are_all_told_with_their_paths(write: Write) -> None:
    """Every wrong property is a line of its own that begins with its JSON path."""
    process = RIGHT["process"] | {"args": ["sh", 1], "cwd": 7}
    lines = problems(write(RIGHT | {"process": process}))
    assert [line.split(": ")[0] for line in lines] == ["process.args[1]", "process.cwd"]


def test_missing_root_filesystem_is_told(write: Write, tmp_path: Path) -> None:
    """A root filesystem that is not there is found before anything is started."""
    assert problems(write(RIGHT | {"root": {"path": "gone"}})) == [
        f"root.path: {tmp_path}/gone: no such directory"
    ]


def test_without_jsonschema_the_first_problem_is_told(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that has no jsonschema is as strict; only the list is shorter."""

    def refuse(config: object) -> list[tuple[str, str]]:
        raise ModuleNotFoundError("No module named 'jsonschema'", name="jsonschema")

    process = RIGHT["process"] | {"args": ["sh", 1], "cwd": 7}
    directory = write(RIGHT | {"process": process})
    everything = problems(directory)
    monkeypatch.setattr(judge, "judge", refuse)
    (line,) = problems(directory)
    assert line in everything
    assert read(str(write(RIGHT))).config == RIGHT


def test_document_that_was_judged_is_not_judged_again(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest that is known as right spares the judge."""
    calls: list[object] = []
    monkeypatch.setattr(judge, "judge", lambda config: calls.append(config) or [])
    directory = str(write(RIGHT))
    bundle = read(directory)
    assert calls == [RIGHT]
    read(directory, {bundle.digest})
    assert calls == [RIGHT]
