"""The order of the house: size and names of modules, ranks of rooms, doors to the outside."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIB = Path(__file__).parents[2] / "lib"
TESTS = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((LIB / "uxc").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}

MAX_LINES = 500
# Rooms with a public interface of their own, which is loaded when it is asked for.
FACADES = {"uxc.uci"}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "base"}

# A room is a package below uxc, or a module that stands there alone. It sees lower ranks only;
# rooms of one rank do not know each other (docs/architecture.md).
RANKS = (
    ("errors", "version", "packed"),
    ("paths", "jsontext"),
    ("files", "log"),
    ("protocol", "linux", "uci"),
    ("config", "net", "oci", "client"),
    ("keeper",),
    ("manager",),
    ("cli", "ocicli", "ucicli", "demo"),
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}

# Modules of others that only one place of ours may import, and that place.
DOORS = {
    "_ctypes": "uxc.linux.",
    "ctypes": "uxc.linux.",
    "pyroute2": "uxc.net.rtnl",
    "uci": "uxc.uci.native",
    "jsonschema": "uxc.oci.judge",
    "tabulate": "uxc.cli.table",
}

# Processes that must start fast, or stay small for years, are made of these. What they may not
# import costs more than everything they do (docs/decisions/0002).
HOT = (
    "uxc.errors",
    "uxc.version",
    "uxc.packed",
    "uxc.paths",
    "uxc.files",
    "uxc.jsontext",
    "uxc.protocol",
    "uxc.linux",
    "uxc.oci",
    "uxc.keeper",
    "uxc.client",
    "uxc.cli.main",
    "uxc.ocicli",
)
TOO_HEAVY = set(
    "os json re typing dataclasses enum socket struct ctypes argparse subprocess logging"
    " contextlib collections functools pathlib selectors asyncio tempfile shutil".split()
)
# The exceptions, each imported inside a function: (module, what).
SPARED = {
    # Explains a text that is wrong; what is right never gets there.
    ("uxc.jsontext", "json"),
}


def _imports(name: str, tree: ast.AST) -> Iterator[str]:
    """Yield the full names that ``tree`` imports, at the top or in a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: import with the full name, not a relative one"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def _run_time_imports(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the parts of ``tree`` that are executed: all but what only type checkers look at."""
    for node in tree.body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_one_job(name: str) -> None:
    """A module says its job first, stays short, and is named after a thing."""
    text = MODULES[name].read_text()
    if MODULES[name].name == "__init__.py" and name not in FACADES:
        assert text == "", "an __init__.py is empty"
        return

    assert name.rpartition(".")[2] not in BANNED_NAMES
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(TREES[name]), "the docstring is missing"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_lower_ranks_only(name: str) -> None:
    """Rooms see rooms of a lower rank, and of the same rank only themselves."""
    room = _room(name)
    if not room:
        return
    assert room in RANK, f"give the room '{room}' its rank"

    for imported in _imports(name, TREES[name]):
        if imported.startswith("uxc.") and _room(imported) != room:
            assert RANK[_room(imported)] < RANK[room], f"{name} imports {imported}"


def test_modules_of_a_room_have_an_order() -> None:
    """No module imports, not even in a function, one that imports it."""
    graph = {
        name: {
            imported
            for imported in _imports(name, tree)
            if imported in MODULES and imported != name
        }
        for name, tree in TREES.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(error.args[1]), pytrace=False)


@pytest.mark.parametrize("name", MODULES)
def test_each_library_has_one_door(name: str) -> None:
    """A library of others is imported in one place, where it can be replaced."""
    for imported in _imports(name, TREES[name]):
        top = imported.split(".")[0]
        door = DOORS.get(top)
        if door:
            assert name == door or (door.endswith(".") and name.startswith(door)), (
                f"{top} belongs to {door}"
            )
        else:
            assert top == "uxc" or top in sys.stdlib_module_names, f"what is {top}?"


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if name.startswith(tuple(f"{hot}." for hot in HOT)) or name in HOT],
)
def test_a_lean_module_imports_nothing_heavy(name: str) -> None:
    """What starts fast does without the modules that cost more than the work."""
    imported = {
        top.split(".")[0] for node in _run_time_imports(TREES[name]) for top in _imports(name, node)
    }

    heavy = {top for top in imported & TOO_HEAVY if (name, top) not in SPARED}

    assert not heavy


def test_every_test_says_what_it_shows() -> None:
    """Each test has a docstring that states the behaviour in a sentence."""
    silent = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.name.startswith("test_")
                and not ast.get_docstring(node)
            ):
                silent.append(f"{path.relative_to(TESTS)}:{node.lineno} {node.name}")

    assert not silent
