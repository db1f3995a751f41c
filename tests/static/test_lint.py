"""What linters and type checkers say about the tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import needs

TOP = Path(__file__).parents[2]


def _run(*command: str | Path) -> None:
    """Run a checker at the top of the tree; fail with what it printed when it found something."""
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{done.stdout}{done.stderr}", pytrace=False)


def _tracked(*patterns: str) -> list[str]:
    """Return the files that git knows or would add, as paths below the top."""
    command = ("git", "ls-files", "-co", "--exclude-standard", "-z", "--", *patterns)
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.split("\0") if name and (TOP / name).is_file())


def _scripts(*interpreters: str) -> list[str]:
    """Return the files whose first line names one of ``interpreters``."""
    found = []
    for name in _tracked():
        with (TOP / name).open("rb") as stream:
            first = stream.readline(200).decode(errors="replace").split()
        if (
            first
            and first[0].startswith("#!")
            and {Path(word).name for word in first} & set(interpreters)
        ):
            found.append(name)
    return found


def test_ruff_finds_nothing() -> None:
    """The linter has no complaint about any Python file."""
    _run(sys.executable, "-m", "ruff", "check", "--no-cache", ".")


def test_ruff_would_format_nothing() -> None:
    """Every Python file is laid out as the formatter does it."""
    _run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")


def test_mypy_finds_nothing() -> None:
    """The package is typed throughout: mypy's strict mode has no complaint."""
    _run(sys.executable, "-m", "mypy")


def test_shellcheck_finds_nothing() -> None:
    """Shell scripts, those that busybox sources on a router included, pass shellcheck."""
    needs.require("shellcheck")
    scripts = {*_scripts("bash", "sh", "rc.common"), *_tracked("lib/*.sh", "files/etc/hotplug.d")}
    # Half shell, half Python: nothing that reads only one of them can read it.
    scripts.remove("bin/uxc-runtime")
    _run("shellcheck", "--external-sources", "--shell=dash", *sorted(scripts & set(_on_router())))
    _run("shellcheck", "--external-sources", *sorted(scripts - set(_on_router())))


def _on_router() -> list[str]:
    return [*_scripts("rc.common"), *_tracked("files/etc/hotplug.d", "files/usr/lib*/*.sh")]


@pytest.mark.parametrize("name", _on_router())
def test_busybox_parses_what_a_router_sources(name: str) -> None:
    """A router's shell, busybox ash, reads each of our scripts without a syntax error."""
    needs.require("busybox")
    assert shutil.which("busybox")
    _run("busybox", "ash", "-n", name)
