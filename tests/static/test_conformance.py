"""docs/conformance.md names tests that exist, and the table's maker judges as it says."""

import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[2]
DOCUMENT = TOP / "docs/conformance.md"
CONFORMANCE = TOP / "tests/conformance"
NAMED = re.compile(r"(test_\w+)\.py::(\w+)")
# A row that no test shows says so, and why.
UNTESTED = re.compile(r"none: \w.*")


def _tests() -> set[tuple[str, str]]:
    """Return all tests as (module, function)."""
    return {
        (path.stem, node.name)
        for path in (TOP / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


def _rows() -> list[list[str]]:
    """Return the cells of the tables that end with a column of tests."""
    rows = []
    wanted = False
    for line in DOCUMENT.read_text().splitlines():
        if not line.startswith("|"):
            wanted = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[-1] == "Test":
            wanted = True
        elif wanted and set(line) - set("|-"):
            rows.append(cells)
    return rows


def _load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a module of tests/conformance, which is no package."""
    monkeypatch.syspath_prepend(str(CONFORMANCE))
    spec = importlib.util.spec_from_file_location(name, CONFORMANCE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_tests_that_are_named_exist() -> None:
    """Whoever looks up how a clause is tested finds the test."""
    texts = [DOCUMENT.read_text(), (CONFORMANCE / "reasons.toml").read_text()]
    missing = sorted(set(NAMED.findall("\n".join(texts))) - _tests())

    assert not missing


def test_every_row_of_the_specification_is_answered() -> None:
    """Each row says what we do and names a test, or says why there is none."""
    rows = _rows()
    assert len(rows) > 100
    bad = [
        cells
        for cells in rows
        if len(cells) != 3
        or not all(cells)
        or not (NAMED.search(cells[-1]) or UNTESTED.fullmatch(cells[-1]))
    ]

    assert not bad


def test_programs_that_fail_have_their_reason() -> None:
    """The table in the document and the reasons speak of the same programs."""
    text = DOCUMENT.read_text()
    table = text.partition("<!-- programs: begin -->")[2].partition("<!-- programs: end -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if re.match(r"\| [a-z]", line)
    ]
    failing = {cells[0]: cells[-1] for cells in rows if cells[-2] != "pass"}
    reasons = tomllib.loads((CONFORMANCE / "reasons.toml").read_text())
    chance = reasons.pop("chance")
    explained = {**reasons, **{name: chance[name] for name in chance if name in failing}}

    assert len(rows) == 58
    assert failing == {name: " ".join(reason.split()) for name, reason in explained.items()}


@pytest.mark.parametrize(
    ("output", "status", "verdict"),
    [
        ("TAP version 13\nok 1 - a\nok 2 - b\n1..2\n", 0, "pass"),
        ("TAP version 13\n1..1\nok 1 - a\nTAP version 13\nok 1 - b\n1..1\n", 0, "pass"),
        ("TAP version 13\nok 1 - a\nnot ok 2 - b\n1..2\n", 0, "fail"),
        ("TAP version 13\nok 1 - a\n1..1\n", 1, "fail"),
        ("TAP version 13\nok 1 - a\n1..2\n", 0, "fail"),
        ("TAP version 13\nok 1 - a\n", 0, "fail"),
        ("TAP version 13\nok 1 - a\n1..1\n", None, "timeout"),
        ("TAP version 13\nok 1 # SKIP a\n1..1\n", 0, "silent"),
        ("TAP version 13\n1..0\n", 0, "silent"),
        ('TAP version 13\n  ---\n  {\n    "error": "a"\n  }\n  ...\n1..0\n', 0, "fail"),
        ("", 0, "silent"),
    ],
)
def test_a_program_is_judged_by_its_assertions(
    output: str, status: int | None, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass has assertions, none of which failed, as many as planned, and exit status 0."""
    tap = _load("tap", monkeypatch)

    assert tap.judge(output, "", status).verdict == verdict


def test_nothing_is_left_unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another runtime passes has no excuse; an excuse for what passes is obsolete."""
    tap = _load("tap", monkeypatch)
    _load("toolsbuild", monkeypatch)
    validation = _load("validation", monkeypatch)
    good, bad = tap.Result("pass", good=1), tap.Result("fail", bad=1, why="no")
    results = {
        "fine": {"crun": good, validation.OURS: good},
        "excused": {"crun": bad, validation.OURS: bad},
        "worse": {"crun": good, validation.OURS: bad},
        "unknown": {"crun": bad, validation.OURS: bad},
        "repaired": {"crun": bad, validation.OURS: good},
        "lucky": {"crun": good, validation.OURS: bad},
    }

    said = validation.complaints(
        results, dict.fromkeys(("excused", "worse", "repaired", "lucky"), "x"), {"lucky"}
    )

    assert [line.split()[0].strip(":;") for line in said] == ["worse", "unknown", "repaired"]
