"""``Makefile.openwrt`` against the tree: dependencies, versions, and files that it names."""

import ast
import re
from pathlib import Path

import pytest

from uxc.version import VERSION

TOP = Path(__file__).parents[2]
RECIPE = (TOP / "Makefile.openwrt").read_text()

# OpenWrt splits the standard library: what python3-light lacks, by top-level module. pathlib and
# others import urllib up to Python 3.12, which OpenWrt 24.10 has.
SPLIT_OUT = {
    "python3-asyncio": "asyncio",
    "python3-codecs": "unicodedata",
    "python3-ctypes": "ctypes _ctypes",
    "python3-dbm": "dbm",
    "python3-decimal": "decimal statistics fractions",
    "python3-logging": "logging concurrent",
    "python3-lzma": "lzma",
    "python3-multiprocessing": "multiprocessing",
    "python3-ncurses": "curses",
    "python3-openssl": "ssl",
    "python3-pydoc": "pydoc doctest",
    "python3-readline": "readline",
    "python3-sqlite3": "sqlite3",
    "python3-unittest": "unittest",
    "python3-urllib": "urllib email http pathlib zipfile",
    "python3-uuid": "uuid",
    "python3-xml": "xml",
    # Not of the standard library.
    "python3-pyroute2": "pyroute2",
    "python3-jsonschema": "jsonschema",
    "python3-tabulate": "tabulate",
}
PACKAGE_OF = {name: package for package, names in SPLIT_OUT.items() for name in names.split()}
# Used where they are found; a package of theirs would bring its licence.
FOUND_OR_NOT = {"uci"}
# The runtime's own reader is strict without jsonschema; the manager always wants the whole verdict.
WANTED_BY_MANAGER = {"python3-jsonschema"}


def _words(variable: str) -> list[str]:
    match = re.search(rf"^{variable}:=(.*)$", RECIPE, re.MULTILINE)
    assert match, variable
    return match[1].split()


def _depends(package: str) -> set[str]:
    """Return what ``package`` depends on, without conditions."""
    block = re.search(rf"^define Package/{package}\n(.*?)^endef", RECIPE, re.MULTILINE | re.DOTALL)
    assert block
    words = block[1].partition("DEPENDS:=")[2].split()
    return {word.lstrip("+").rpartition(":")[2] for word in words if word.startswith("+")}


def _rooms(package: str) -> list[Path]:
    """Return the modules that ``package`` installs."""
    manager = set(_words("UXC_MANAGER_ROOMS"))
    elsewhere = set(_words("UXC_ELSEWHERE_ROOMS"))
    found = []
    for path in sorted((TOP / "lib/uxc").rglob("*.py")):
        room = path.relative_to(TOP / "lib/uxc").parts[0]
        owner = "uxc-manager" if room in manager else "python3-uxc"
        if owner == package and room not in elsewhere:
            found.append(path)
    return found


def _needed(package: str) -> set[str]:
    """Return the packages that the imports of ``package`` come from."""
    tops = set()
    for path in _rooms(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                tops.add(str(node.module).split(".")[0])
    return {PACKAGE_OF[top] for top in tops - FOUND_OR_NOT if top in PACKAGE_OF}


@pytest.mark.parametrize("package", ["python3-uxc", "uxc-manager"])
def test_a_package_depends_on_what_it_imports(package: str) -> None:
    """Each import has its package in the list, and each Python package listed is imported."""
    listed = {name for name in _depends(package) if name.startswith("python3-")}
    needed = _needed(package)
    needed = needed | WANTED_BY_MANAGER if package == "uxc-manager" else needed - WANTED_BY_MANAGER
    assert needed == listed - {"python3-light", "python3-uxc"}


def test_the_runtime_does_without_the_manager() -> None:
    """No module that python3-uxc installs imports one of the manager's rooms."""
    manager = {room.removesuffix(".py") for room in _words("UXC_MANAGER_ROOMS")}
    for path in _rooms("python3-uxc"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("uxc"):
                names = {f"{node.module}.{alias.name}".split(".")[1] for alias in node.names}
                assert not names & manager, f"{path}: {names & manager}"


def test_the_rooms_named_exist() -> None:
    """The recipe names no room that is not there."""
    for room in (*_words("UXC_MANAGER_ROOMS"), *_words("UXC_ELSEWHERE_ROOMS")):
        assert (TOP / "lib/uxc" / room).exists(), room


def test_the_programs_named_exist() -> None:
    """Every launcher that the recipe installs is there and may be executed."""
    programs = set(re.findall(r"\$\(PKG_BUILD_DIR\)/bin/([\w-]+)", RECIPE))

    assert programs
    for name in programs:
        assert (TOP / "bin" / name).stat().st_mode & 0o111, name


def test_the_version_is_one() -> None:
    """The recipe and the project file have the version of the program."""
    assert _words("PKG_VERSION") == [VERSION]
    assert f'\nversion = "{VERSION}"\n' in (TOP / "pyproject.toml").read_text()


def test_conffiles_are_installed() -> None:
    """What the recipe declares as configuration is among the files."""
    block = re.search(r"^define Package/uxc-manager/conffiles\n(.*?)^endef", RECIPE, re.M | re.S)
    assert block
    for name in block[1].split():
        assert (TOP / "files" / name.lstrip("/")).is_file(), name
