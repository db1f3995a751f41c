"""What the keeper runs from, and what its forked workers need not read any more."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keepers import Prefix
from uxc.oci import interpreter

LIB = Path(__file__).parents[2] / "lib"

# Needed by few bundles: a worker that meets one pays for the import itself.
RARE = {
    "uxc.oci.cgroup.delegation",
    "uxc.oci.hostroot",
    "uxc.oci.netdevices",
    "uxc.oci.copyup",
    "uxc.oci.notify",
    "uxc.oci.trees",
    "uxc.oci.spec_rare",
    "uxc.linux.seccomp_lib",
}


@pytest.mark.parametrize("prepared", [True, False])
def test_the_interpreter_of_the_keeper_cannot_be_written(tmp_path: Path, prepared: bool) -> None:
    """It runs from a read-only mount, the prepared one or one of its own (CVE-2019-5736)."""
    prefix = Prefix(tmp_path)
    if prepared:
        interpreter.prepare(prefix.paths.interpreter)
    try:
        keeper = prefix.client()
        program = f"/proc/{prefix.pid}/exe"

        assert os.statvfs(program).f_flag & os.ST_RDONLY
        mounted = os.readlink(program) == prefix.paths.interpreter
        assert mounted == prepared
        assert keeper.call("hello")["pid"] == prefix.pid
    finally:
        prefix.end()
        interpreter.remove(prefix.paths.interpreter)


def test_workers_find_everything_imported() -> None:
    """What the core imports on demand is there before the fork, but for rare things."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import uxc.keeper.main; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(LIB)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())

    wanted = set()
    for name in loaded:
        path = LIB / (name.replace(".", "/") + ".py")
        if not name.startswith(("uxc.oci.", "uxc.linux.")) or not path.exists():
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                wanted |= set(_imports(function))

    assert wanted - RARE <= loaded


def _imports(function: ast.FunctionDef) -> list[str]:
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (LIB / (full.replace(".", "/") + ".py")).exists()
                found.append(full if is_module else str(node.module))
    return found
