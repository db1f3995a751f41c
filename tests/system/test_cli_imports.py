"""What each command of uxc imports before it talks to the manager."""

import subprocess
import sys
from pathlib import Path

import pytest

from uxc.cli import main

LIB = Path(__file__).parents[2] / "lib"

# What talks to the manager is imported in a few milliseconds; the others need the configuration.
LEAN = sorted(set(main.COMMANDS) - {"check", "enable", "disable"})
CHEAP = {
    "_socket",
    "_json",
    "_struct",
    "binascii",
    "errno",
    "fcntl",
    "posix",
    "select",
    "time",
    "sys",
}


@pytest.mark.parametrize("name", LEAN)
def test_a_command_imports_itself_and_what_is_cheap(name: str) -> None:
    """The budget of each command, by names: nothing from the standard library but C modules."""
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1])\n"
        "from uxc.cli import main\n"
        f"main.load({name!r})\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(LIB)], capture_output=True, text=True
    )

    modules = done.stdout.split()
    others = {module for module in modules if module.startswith("uxc.cli.commands.")}

    assert done.returncode == 0, done.stderr
    assert {module for module in modules if module.split(".")[0] != "uxc"} <= CHEAP
    assert others == {f"uxc.cli.commands.{name}"}
