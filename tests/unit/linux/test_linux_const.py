"""Kernel numbers per architecture, against tables that others keep."""

import termios

import pytest

from uxc.linux import const

# Here and not in the test: looking for its library starts a process, which no unit test may.
pyseccomp = pytest.importorskip("pyseccomp")

# (uname -m, pointers of 64 bits) → column.
MACHINES = [
    ("x86_64", True, "x86_64"),
    ("x86_64", False, "i386"),
    ("i686", False, "i386"),
    ("aarch64", True, "generic"),
    ("aarch64_be", True, "generic"),
    ("aarch64", False, "arm"),
    ("armv7l", False, "arm"),
    ("armv5tel", False, "arm"),
    ("mips", False, "o32"),
    ("mips64", True, "n64"),
    ("mips64", False, "o32"),
    ("ppc", False, "powerpc"),
    ("ppc64le", True, "powerpc"),
    ("riscv64", True, "generic"),
    ("loongarch64", True, "generic"),
    ("s390x", True, "s390x"),
]
# libseccomp's name of the architecture that each column is for.
ARCHITECTURES = {
    "x86_64": ("X86_64",),
    "i386": ("X86",),
    "arm": ("ARM",),
    "generic": ("AARCH64", "RISCV64"),
    "o32": ("MIPS", "MIPSEL"),
    "n64": ("MIPS64", "MIPSEL64"),
    "powerpc": ("PPC", "PPC64", "PPC64LE"),
    "s390x": ("S390X",),
}


@pytest.mark.parametrize(("machine", "wide", "column"), MACHINES)
def test_the_table_is_chosen_by_machine_and_width(machine: str, wide: bool, column: str) -> None:
    """A 32-bit program on a 64-bit kernel has the numbers of the 32-bit machine."""
    assert const.abi(machine, wide) == column


def test_an_unknown_machine_has_no_numbers() -> None:
    """A guess would call something else."""
    with pytest.raises(LookupError, match="vax"):
        const.abi("vax", False)


@pytest.mark.parametrize("column", ARCHITECTURES)
def test_system_calls_have_libseccomps_numbers(column: str) -> None:
    """libseccomp keeps the same tables for its filters."""
    for architecture in ARCHITECTURES[column]:
        arch = getattr(pyseccomp.Arch, architecture)
        for name, number in const.numbers(column).items():
            assert pyseccomp.resolve_syscall(arch, name) == number, (architecture, name)


def test_the_terminals_ioctls_are_termios_ones() -> None:
    """The standard library knows some of them on the machine it was built for."""
    assert const.TERMINAL.get_size == termios.TIOCGWINSZ
    assert const.TERMINAL.set_size == termios.TIOCSWINSZ
    assert const.TERMINAL.set_controlling == termios.TIOCSCTTY


@pytest.mark.parametrize(
    ("column", "get_size", "set_size", "controlling", "get_peer", "set_lock"),
    [
        ("x86_64", 0x5413, 0x5414, 0x540E, 0x5441, 0x40045431),
        ("generic", 0x5413, 0x5414, 0x540E, 0x5441, 0x40045431),
        ("o32", 0x40087468, 0x80087467, 0x5480, 0x20005441, 0x80045431),
        ("n64", 0x40087468, 0x80087467, 0x5480, 0x20005441, 0x80045431),
        ("powerpc", 0x40087468, 0x80087467, 0x540E, 0x20005441, 0x80045431),
    ],
)
def test_the_terminals_ioctls_are_the_headers(
    column: str, get_size: int, set_size: int, controlling: int, get_peer: int, set_lock: int
) -> None:
    """The numbers in asm/ioctls.h of each architecture, as a compiler expands them."""
    codes = const.TerminalIoctls(column)

    assert (
        codes.get_size,
        codes.set_size,
        codes.set_controlling,
        codes.get_peer,
        codes.set_lock,
    ) == (get_size, set_size, controlling, get_peer, set_lock)


def test_this_machine_is_in_the_table() -> None:
    """What runs the tests can run the runtime."""
    assert const.numbers(const.ABI) == const.NR
