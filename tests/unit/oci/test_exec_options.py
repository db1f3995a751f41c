"""What is executed: a process object, and what the command line changes in it."""

from typing import Any

import pytest

from uxc.errors import InvalidError
from uxc.oci.execoptions import ExecOptions, parse_user, process_of

CONFIG: dict[str, Any] = {
    "process": {
        "terminal": True,
        "args": ["init"],
        "cwd": "/srv",
        "env": ["PATH=/bin", "ONE=1", "ONE=2"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]},
    }
}


def options(*args: str) -> ExecOptions:
    """Return options for a command."""
    made = ExecOptions("/root", "id", "/cache")
    made.changes.args = list(args)
    return made


@pytest.mark.parametrize(("text", "ids"), [("0", (0, None)), ("1:2", (1, 2)), ("007", (7, None))])
def test_a_user_is_read(text: str, ids: tuple[int, int | None]) -> None:
    """A uid, and a gid behind a colon."""
    assert parse_user(text) == ids


@pytest.mark.parametrize(
    "text", ["", ":", "1:", ":1", "root", "1:root", "1 ", "+1", "-1", "1:2:3", "²", "4294967295"]
)
def test_what_is_no_user_is_refused(text: str) -> None:
    """Nothing is guessed, and no part of a text is enough."""
    with pytest.raises(InvalidError):
        parse_user(text)


def test_the_containers_process_is_where_it_begins() -> None:
    """A command runs as the container's own process, without its terminal and its arguments."""
    process = process_of(options("ls", "-l"), CONFIG)

    assert process.args == ["ls", "-l"]
    assert (process.cwd, process.terminal, process.user.uid) == ("/srv", False, 5)
    assert process.env == ["PATH=/bin", "ONE=1", "ONE=2"]


def test_a_container_without_a_process_can_be_executed_in() -> None:
    """Its directory is the root then, its user root, its capabilities none."""
    process = process_of(options("ls"), {})

    assert (process.cwd, process.user.uid, process.capabilities) == ("/", 0, None)


def test_changes_are_applied() -> None:
    """What is changed is changed, what is added is added, the rest stays."""
    made = options("ls")
    changes = made.changes
    changes.cwd, changes.uid, changes.terminal = "/tmp", 0, True
    changes.additional_gids = [8]
    changes.env = ["ONE=3", "TWO="]
    changes.capabilities = ["CAP_CHOWN"]

    process = process_of(made, CONFIG)

    assert (process.cwd, process.user.uid, process.user.gid) == ("/tmp", 0, 6)
    assert process.user.additional_gids == [7, 8]
    assert process.env == ["PATH=/bin", "ONE=3", "TWO="]
    assert process.terminal
    sets = process.capabilities
    assert sets is not None
    assert (sets.bounding, sets.effective) == (["CAP_KILL", "CAP_CHOWN"], ["CAP_CHOWN"])
    assert (sets.inheritable, sets.ambient) == (["CAP_KILL"], [])


def test_the_documents_are_not_changed() -> None:
    """They may be kept by the caller."""
    made = options("ls")
    made.process = {"args": ["init"], "cwd": "/", "env": ["A=1"], "user": {"additionalGids": [1]}}
    made.changes.env = ["A=2"]
    made.changes.additional_gids = [2]

    process = process_of(made, {})

    assert process.args == ["ls"]
    assert made.process["args"] == ["init"]
    assert made.process["env"] == ["A=1"]
    assert made.process["user"] == {"additionalGids": [1]}


@pytest.mark.parametrize("process", [None, {}, {"args": []}, {"args": None}])
def test_arguments_are_needed(process: dict[str, Any] | None) -> None:
    """runc's words, which people know."""
    made = options()
    made.process = process

    with pytest.raises(InvalidError, match="process args cannot be empty"):
        process_of(made, CONFIG)


def test_a_wrong_object_is_named_by_its_file() -> None:
    """The path in JSON comes behind the name of the file."""
    made = options()
    made.process = {"args": ["ls"], "cwd": "relative"}
    made.source = "/tmp/p.json"

    with pytest.raises(InvalidError, match=r"/tmp/p\.json: cwd"):
        process_of(made, CONFIG)


@pytest.mark.parametrize(("name", "value"), [("cwd", "tmp"), ("env", ["A"]), ("env", ["=x"])])
def test_wrong_changes_are_refused(name: str, value: object) -> None:
    """A relative directory, and what is no variable."""
    made = options("ls")
    setattr(made.changes, name, value)

    with pytest.raises(InvalidError):
        process_of(made, CONFIG)
