"""One section by its table → parsed values and all its problems. Pure."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from uxc.config.fields import FieldError
from uxc.config.problem import ERROR, WARNING, Problem, problem_in
from uxc.config.schema import Option, Table
from uxc.config.source import Given, Section


@dataclass(slots=True)
class Reading:
    """What was read of one section.

    ``values`` has an entry for every option that is there and right. Its values are Any: each is
    what the parser of its row returns, and the models take them by keyword. ``indexes`` says for
    each value of a list which entry of the section it came from.
    """

    section: Section
    values: dict[str, Any] = field(default_factory=dict)
    indexes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing but warnings was found."""
        return not any(problem.is_error for problem in self.problems)

    def fail(self, option: str, message: str, hint: str = "", *, index: int = 0) -> None:
        """Note an error in value number ``index`` of ``option`` (empty: in the section)."""
        self._note(ERROR, option, message, hint, index)

    def warn(self, option: str, message: str, hint: str = "", *, index: int = 0) -> None:
        """Note a warning in value number ``index`` of ``option`` (empty: in the section)."""
        self._note(WARNING, option, message, hint, index)

    def _note(self, severity: str, option: str, message: str, hint: str, index: int) -> None:
        self.problems.append(
            problem_in(self.section, option, message, hint, severity=severity, index=index)
        )

    def parse(self, option: str, parser: Callable[[str], object], text: str, index: int) -> Any:
        """Return ``text`` parsed; None, with the error noted, when it is wrong."""
        try:
            return parser(text)
        except FieldError as error:
            self.fail(option, error.message, error.hint, index=index)
            return None


def nearest(word: str, known: frozenset[str] | set[str]) -> str:
    """Return the hint that names the known word most like ``word``; empty when none is."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'?" if found else ""


def read(section: Section, table: Table) -> Reading:
    """Read every option of ``table`` that ``section`` has, and note all that is wrong in them."""
    reading = Reading(section)
    for row in table.options:
        name, given = _spelling(reading, row)
        if given is None:
            if row.required:
                reading.fail("", f"option '{row.name}' is missing", f"such as '{row.example}'")
        elif row.many:
            _read_list(reading, row, name, given)
        elif len(given.values) != 1:
            reading.fail(
                name, "takes one value, not a list", f"write option {name} 'VALUE'", index=1
            )
        else:
            value = reading.parse(name, row.parse, given.values[0], 0)
            if value is not None:
                reading.values[row.name] = value
    if table.complete:
        _note_unknown(reading, table)
    return reading


def _spelling(reading: Reading, row: Option) -> tuple[str, Given | None]:
    """Return the spelling in use and what it says; the newer one wins, as in netifd."""
    options = reading.section.options
    if row.old in options and row.name in options:
        if options[row.old].values != options[row.name].values:
            reading.warn(row.old, f"has no effect beside option '{row.name}'", "remove it")
        return row.name, options[row.name]
    if row.old in options:
        return row.old, options[row.old]
    return row.name, options.get(row.name)


def _read_list(reading: Reading, row: Option, name: str, given: Given) -> None:
    values: dict[Any, int] = {}
    for index, text in enumerate(given.values):
        words = text.split() if row.blanks else [text]
        if not words:
            reading.fail(name, "an entry is empty", "remove it", index=index)
        for word in words:
            value = reading.parse(name, row.parse, word, index)
            if value is not None:
                values.setdefault(value, index)
    reading.values[row.name] = tuple(values)
    reading.indexes[row.name] = tuple(values.values())


def _note_unknown(reading: Reading, table: Table) -> None:
    for name in reading.section.options:
        if name not in table.names:
            reading.warn(
                name,
                f"is not known for {table.heading} and has no effect",
                nearest(name, table.names),
            )
