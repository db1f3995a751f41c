"""The import budget: what a program has imported when its main function is about to run.

Names, not milliseconds: a list does not flicker on a busy machine. What each costs is in
docs/decisions; a name that is missing below is a regression of every command's start.
"""

import subprocess
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).parents[2] / "lib"

# All of these are built in or extension modules: nothing is read but the .so file.
KERNEL = {"_socket", "_struct", "binascii", "fcntl", "select", "_json", "_ctypes", "errno", "time"}
MORE = {"gc", "_signal", "termios", "resource", "grp", "pwd"}

BUDGETS = {
    "uxc.cli.main": KERNEL - {"_ctypes"},
    "uxc.ocicli.main": KERNEL | MORE,
    "uxc.ucicli.main": {"_signal", "binascii", "fcntl"},
    "uxc.keeper.main": KERNEL | MORE | {"__future__", "_blake2", "_stat", "gc", "math", "syslog"},
}


@pytest.mark.parametrize("module", BUDGETS)
def test_a_lean_program_imports_only_what_is_listed(module: str) -> None:
    """Importing the module brings in our own modules and cheap ones from C, nothing else."""
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1])\n"
        f"import {module}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(LIB)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

    foreign = {name for name in done.stdout.split() if name.split(".")[0] != "uxc"}

    assert foreign <= BUDGETS[module], sorted(foreign - BUDGETS[module])
