"""What uxc prints: columns, JSON, help."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.cli import main, session, table

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_json_for_people_is_the_same_json(value: Any) -> None:
    """The layout changes nothing of what it says."""
    assert json.loads(session._laid_out(value, "")) == value


def test_columns_begin_with_the_name_and_have_no_frame() -> None:
    """Scripts grep for the name at the line's start."""
    rows = [["web", "running", "12"], ["a-longer-name", "stopped", "-"]]

    assert table.render(rows, [], for_people=False).splitlines() == [
        "web            running  12",
        "a-longer-name  stopped  -",
    ]
    assert table.render([], [], for_people=False) == ""


def test_tabulate_draws_the_same_columns() -> None:
    """With and without the library a terminal shows the same words, and no frame."""
    pytest.importorskip("tabulate")
    rows = [["web", "running", "12"], ["a-longer-name", "stopped", "-"]]
    header = ["NAME", "STATUS", "PID"]

    drawn = table.render(rows, header, for_people=True)

    assert [line.split() for line in drawn.splitlines()] == [header, *rows]
    plain = table.render(rows, header, for_people=False)
    assert [line.split() for line in plain.splitlines()] == [header, *rows]


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_its_help(name: str) -> None:
    """A module for each word, with a usage line that begins with it."""
    command = main.load(name)

    assert command.SYNTAX.command == name
    assert command.SYNTAX.help_text().startswith(f"usage: uxc {name}")
    assert callable(command.run)
