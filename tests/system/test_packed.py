"""Modules from one file (``uxc.packed``): the same program, whatever became of file or sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from uxc.version import VERSION

TOP = Path(__file__).parents[2]


class Checkout:
    """A copy of the launcher and the library, packed."""

    def __init__(self, directory: Path) -> None:
        self.lib = directory / "lib"
        self.package = self.lib / "uxc"
        self.launcher = directory / "bin/uxc-runtime"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / "lib/uxc", self.package, ignore=ignored)
        self.launcher.parent.mkdir()
        shutil.copy2(TOP / "bin/uxc-runtime", self.launcher)
        subprocess.run(["/usr/bin/python3", str(TOP / "lib/pack.py"), str(self.lib)], check=True)
        (self.packed,) = self.lib.glob("packed.*")

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the launcher, without a prepared interpreter."""
        environment = {**os.environ, "UXC_PREFIX": str(self.lib.parent / "prefix")}
        command = [str(self.launcher), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a copy of the checkout that a test may spoil."""
    return Checkout(tmp_path)


def _says_its_version(checkout: Checkout, version: str = VERSION) -> bool:
    done = checkout.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.startswith(f"uxc-runtime version {version}\n")


def test_the_one_file_is_enough(checkout: Checkout) -> None:
    """Where there are no sources, as on a router, every module comes from the one file."""
    shutil.rmtree(checkout.package)

    assert _says_its_version(checkout)
    missing = checkout.run("--root", str(checkout.lib), "state", "nobody")
    assert missing.returncode == 1
    assert "does not exist" in missing.stderr


def test_a_changed_source_counts(checkout: Checkout) -> None:
    """A module whose source was changed after packing is imported from its source."""
    source = checkout.package / "version.py"
    source.write_text(source.read_text().replace(VERSION, "9.9.9"))

    assert _says_its_version(checkout, "9.9.9")


def test_a_changed_source_counts_for_modules_that_import_it(checkout: Checkout) -> None:
    """A module from the one file that imports a changed one gets the change."""
    source = checkout.package / "oci/gate.py"
    source.write_text(source.read_text().replace("does not exist", "went away"))

    missing = checkout.run("--root", str(checkout.lib), "state", "nobody")

    assert "container 'nobody' went away" in missing.stderr


def test_a_file_cut_off_is_not_used(checkout: Checkout) -> None:
    """Of a file that is not whole, nothing is taken."""
    size = checkout.packed.stat().st_size
    for length in (0, 100, size // 2, size - 1):
        os.truncate(checkout.packed, length)

        assert _says_its_version(checkout), length


def test_another_file_is_not_used(checkout: Checkout) -> None:
    """A file that is something else altogether is left alone."""
    checkout.packed.write_bytes(os.urandom(1 << 16))

    assert _says_its_version(checkout)


def test_the_one_file_never_becomes_a_standard_stream(checkout: Checkout) -> None:
    """Started with closed standard streams, the program works and reads nothing from them."""
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" --version <&- 2>&-', str(checkout.launcher)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0
    assert done.stdout.startswith("uxc-runtime version")


def test_loading_in_advance_changes_no_module(checkout: Checkout) -> None:
    """Modules from the one file have the names and the places that the importer gives them."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "if sys.argv[2]:\n"
        "    import marshal\n"
        "    fd = open(sys.argv[2], 'rb'); head = marshal.loads(fd.read(1 << 15))\n"
        "    exec(head[0], names := {'__name__': 'packed'})\n"
        "    names['use'](fd.fileno(), head, sys.argv[1])\n"
        "import uxc.ocicli.commands.create, uxc.oci.creation, uxc.oci.init\n"
        "print(*sorted((n, m.__file__, m.__package__, getattr(m, '__path__', 0))"
        " for n, m in sys.modules.items() if n.startswith('uxc')), sep='\\n')"
    )

    ordinary, packed = (
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, str(checkout.lib), file],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for file in ("", str(checkout.packed))
    )

    assert packed.count("\n") > 30
    assert packed == ordinary
