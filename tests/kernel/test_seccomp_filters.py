"""Filters that are really loaded, in forked children that then make the system calls."""

import ctypes
import errno
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyseccomp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uxc.errors import InvalidError
from uxc.linux import proc, seccomp_lib
from uxc.oci import seccomp
from uxc.oci.spec_seccomp import ACTIONS_WITH_NUMBER, Seccomp

pytestmark = pytest.mark.needs("seccomp")

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
# libseccomp takes only what is below the kernel's own MAX_ERRNO, 4095.
MAX_ERRNO = 4094
LIBC = ctypes.CDLL(None, use_errno=True)
# A system call with six plain arguments that does nothing when it is refused or succeeds.
PERSONALITY = {"x86_64": 135}.get(os.uname().machine, 92)


def profile(syscalls: list[dict[str, Any]], **properties: Any) -> Seccomp:
    node = {"defaultAction": ALLOW, "syscalls": syscalls, **properties}
    return Seccomp(node, "config.json: linux.seccomp")


def rule(name: str, action: str = ERRNO, **properties: Any) -> dict[str, Any]:
    return {"names": [name], "action": action, **properties}


def condition(index: int, op: str, value: int, two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two}


def filtered(wanted: Seccomp, action: Callable[[], int]) -> int:
    """Return what ``action`` returns below the filter, minus the signal when it is killed."""
    code = seccomp.compile_profile(wanted)
    pid = os.fork()
    if pid == 0:
        result = 255
        try:
            proc.set_no_new_privileges()
            proc.load_seccomp_filter(code, 0)
            result = action()
        finally:
            os._exit(result)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def error_of(call: Callable[[], object]) -> Callable[[], int]:
    """Return a function that makes the call and returns its errno, 0 for success."""

    def action() -> int:
        try:
            call()
        except OSError as error:
            return error.errno
        return 0

    return action


def personality(value: int) -> Callable[[], int]:
    def action() -> int:
        ctypes.set_errno(0)
        LIBC.syscall(ctypes.c_long(PERSONALITY), ctypes.c_ulong(value))
        return ctypes.get_errno()

    return action


def test_default_errno() -> None:
    """A refused call fails with EPERM where the profile names no number."""
    assert filtered(
        profile([rule("mkdir"), rule("mkdirat")]), error_of(lambda: os.mkdir("/x"))
    ) == (errno.EPERM)


@pytest.mark.parametrize("number", [0, errno.ENOSYS, errno.EACCES, 200])
def test_errno_of_a_rule(number: int) -> None:
    """A refused call fails with the number of its rule; 0 makes it seem to succeed."""
    wanted = profile([rule("getpriority", errnoRet=number)])

    assert filtered(wanted, error_of(lambda: os.getpriority(os.PRIO_PROCESS, 0))) == number


def test_default_action_with_number(tmp_path: Path) -> None:
    """Everything not allowed fails with defaultErrnoRet; nothing is really done."""
    everything_python_needs = ["exit_group", "exit", "rt_sigaction", "munmap", "brk", "futex"]
    wanted = Seccomp(
        {
            "defaultAction": ERRNO,
            "defaultErrnoRet": errno.ENOSYS,
            "syscalls": [{"names": everything_python_needs, "action": ALLOW}],
        },
        "x",
    )

    assert filtered(wanted, error_of(lambda: os.mkdir(tmp_path / "made"))) == errno.ENOSYS
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("action", "number"),
    [
        ("SCMP_ACT_KILL_PROCESS", signal.SIGSYS),
        ("SCMP_ACT_KILL_THREAD", signal.SIGSYS),
        ("SCMP_ACT_KILL", signal.SIGSYS),
        ("SCMP_ACT_TRAP", signal.SIGSYS),
    ],
)
def test_deadly_actions(action: str, number: int) -> None:
    """The killing actions end the process by SIGSYS."""
    assert filtered(profile([rule("sync", action)]), error_of(os.sync)) == -number


def test_trace_without_a_tracer() -> None:
    """TRACE fails with ENOSYS when nobody traces (seccomp(2))."""
    wanted = profile([rule("getpriority", "SCMP_ACT_TRACE")])

    assert filtered(wanted, error_of(lambda: os.getpriority(os.PRIO_PROCESS, 0))) == errno.ENOSYS


def test_log_lets_pass() -> None:
    """LOG lets the call through."""
    wanted = profile([rule("getpriority", "SCMP_ACT_LOG")])

    assert filtered(wanted, error_of(lambda: os.getpriority(os.PRIO_PROCESS, 0))) == 0


def test_rule_of_unknown_names() -> None:
    """A rule of which no name is known does nothing; it does not hold for every call."""
    wanted = profile([{"names": ["no_such_call", "nor_this"], "action": "SCMP_ACT_KILL_PROCESS"}])

    assert filtered(wanted, error_of(lambda: os.getpriority(os.PRIO_PROCESS, 0))) == 0


def test_unknown_name_beside_known_ones() -> None:
    """A name nobody knows does not weaken its neighbours."""
    wanted = profile([{"names": ["no_such_call", "getpriority"], "action": ERRNO}])

    assert filtered(wanted, error_of(lambda: os.getpriority(os.PRIO_PROCESS, 0))) == errno.EPERM


HIGH = 1 << 40


@pytest.mark.parametrize(
    ("op", "value", "two", "hits", "misses"),
    [
        ("EQ", 8, 0, [8], [0, 9, 8 + HIGH]),
        ("NE", 8, 0, [0, 8 + HIGH], [8]),
        ("EQ", HIGH + 8, 0, [HIGH + 8], [8, HIGH]),
        ("LT", HIGH, 0, [0, HIGH - 1], [HIGH, HIGH + 1]),
        ("LE", HIGH, 0, [0, HIGH], [HIGH + 1]),
        ("GT", HIGH, 0, [HIGH + 1, 2**64 - 1], [HIGH, 0xFFFFFFFF]),
        ("GE", HIGH, 0, [HIGH, 2**63], [HIGH - 1]),
        ("MASKED_EQ", HIGH | 0xF0, HIGH | 0x20, [HIGH | 0x2F], [0x2F, HIGH | 0x3F]),
    ],
)
def test_comparison(op: str, value: int, two: int, hits: list[int], misses: list[int]) -> None:
    """Arguments are compared as unsigned 64-bit numbers."""
    marked = 77
    wanted = profile([rule("personality", errnoRet=marked, args=[condition(0, op, value, two)])])

    assert [filtered(wanted, personality(hit)) for hit in hits] == [marked] * len(hits)
    assert marked not in [filtered(wanted, personality(miss)) for miss in misses]


def three(first: int, second: int, third: int) -> Callable[[], int]:
    def action() -> int:
        ctypes.set_errno(0)
        numbers = (ctypes.c_ulong(value) for value in (first, second, third))
        LIBC.syscall(ctypes.c_long(PERSONALITY), *numbers)
        return ctypes.get_errno()

    return action


def test_conditions_hold_together() -> None:
    """Conditions on different arguments must all hold."""
    wanted = profile(
        [rule("personality", errnoRet=77, args=[condition(1, "EQ", 5), condition(2, "EQ", 6)])]
    )

    assert filtered(wanted, three(0, 5, 6)) == 77
    assert filtered(wanted, three(0, 5, 7)) != 77
    assert filtered(wanted, three(0, 4, 6)) != 77


def test_conditions_on_one_argument() -> None:
    """Several conditions on one argument are alternatives, as for runc and crun."""
    wanted = profile(
        [rule("personality", errnoRet=77, args=[condition(1, "EQ", 5), condition(1, "EQ", 6)])]
    )

    assert filtered(wanted, three(0, 5, 0)) == 77
    assert filtered(wanted, three(0, 6, 0)) == 77
    assert filtered(wanted, three(0, 7, 0)) != 77


def known_calls() -> list[str]:
    """Return the names of the native system calls that libseccomp knows."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    names = []
    for number in range(463):
        text = library.seccomp_syscall_resolve_num_arch(library.seccomp_arch_native(), number)
        if text:
            names.append(ctypes.string_at(text).decode())
    return names


def engine_sized() -> Seccomp:
    """Return a profile as large as those that container engines write: an allow-list."""
    denied = ("personality", "getpriority", "kexec_load", "bpf")
    names = [name for name in known_calls() if name not in denied]
    machine = {"x86_64": ["X86_64", "X86", "X32"], "aarch64": ["AARCH64", "ARM"]}
    return Seccomp(
        {
            "defaultAction": ERRNO,
            "defaultErrnoRet": errno.ENOSYS,
            "architectures": [f"SCMP_ARCH_{name}" for name in machine.get(os.uname().machine, [])],
            "syscalls": [
                {"names": [*names, "of_tomorrow"], "action": ALLOW},
                rule("personality", ALLOW, args=[condition(0, "EQ", 8)]),
                rule("personality", ALLOW, args=[condition(0, "EQ", 0xFFFFFFFF)]),
                {"names": ["kexec_load", "bpf"], "action": ERRNO, "errnoRet": errno.EPERM},
            ],
        },
        "config.json: linux.seccomp",
    )


def test_engine_sized_profile() -> None:
    """A profile of hundreds of names (more than 256 in one rule) does what it says."""
    wanted = engine_sized()

    assert len(wanted.syscalls[0].names) > 300
    assert filtered(wanted, error_of(lambda: os.getpriority(os.PRIO_PROCESS, 0))) == errno.ENOSYS
    assert filtered(wanted, personality(8)) == 0
    assert filtered(wanted, personality(7)) == errno.ENOSYS
    assert filtered(wanted, error_of(os.getppid)) == 0
    assert filtered(wanted, error_of(lambda: os.stat("/"))) == 0


def test_same_rule_twice_is_one() -> None:
    """A repeated rule is not an error, and one that repeats the default action is none at all."""
    wanted = profile([rule("mkdir"), rule("mkdir"), rule("rmdir", ALLOW)])

    assert seccomp.compile_profile(wanted) == seccomp.compile_profile(profile([rule("mkdir")]))


def test_contradicting_rules(refused: Callable[[Seccomp], str]) -> None:
    """Two rules with equal conditions and different actions are refused by place."""
    first = rule("mkdir", args=[condition(0, "EQ", 1)])
    second = rule("mkdir", "SCMP_ACT_KILL", args=[condition(0, "EQ", 1)])

    assert refused(profile([first, second])) == (
        "config.json: linux.seccomp.syscalls[1]: mkdir has another rule with the same conditions"
    )


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[Seccomp], str]:
    def message(wanted: Seccomp) -> str:
        with pytest.raises(InvalidError) as caught:
            seccomp.program(wanted, str(tmp_path / "programs"))
        return caught.value.message

    return message


def test_notifications(refused: Callable[[Seccomp], str]) -> None:
    """Notifications that nobody would get are refused with their place."""
    assert refused(profile([rule("mkdir", "SCMP_ACT_NOTIFY")])) == (
        "config.json: linux.seccomp.listenerPath: is missing: SCMP_ACT_NOTIFY needs it"
    )
    assert refused(profile([], defaultAction="SCMP_ACT_NOTIFY")).startswith(
        "config.json: linux.seccomp.defaultAction:"
    )


@pytest.mark.parametrize("number", [MAX_ERRNO + 1, 65535])
def test_errno_too_large_for_the_library(refused: Callable[[Seccomp], str], number: int) -> None:
    """An errno that libseccomp does not take is refused by place, and the action is not blamed."""
    library = ".".join(map(str, seccomp_lib.version()))
    fault = f"{number} is more than libseccomp {library} takes"

    assert refused(profile([rule("mkdir", errnoRet=number)])) == (
        f"config.json: linux.seccomp.syscalls[0].errnoRet: {fault}"
    )
    assert refused(profile([], defaultAction=ERRNO, defaultErrnoRet=number)) == (
        f"config.json: linux.seccomp.defaultErrnoRet: {fault}"
    )


def test_architecture_of_another_byte_order(refused: Callable[[Seccomp], str]) -> None:
    """An architecture that cannot run here, byte order and all, is refused by place."""
    other = "SCMP_ARCH_MIPS" if sys.byteorder == "little" else "SCMP_ARCH_MIPSEL"

    assert refused(profile([], architectures=[other])) == (
        f"config.json: linux.seccomp.architectures[0]: {other}"
        " has another byte order than this machine"
    )


def test_flags(tmp_path: Path) -> None:
    """Flags are for seccomp(2), except one that needs a listener to be taken."""
    names = ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")
    wanted = profile([], flags=[f"SECCOMP_FILTER_FLAG_{name}" for name in names])
    made = seccomp.program(wanted, str(tmp_path / "programs"))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            proc.set_no_new_privileges()
            status = proc.load_seccomp_filter(made.code, made.flags)
        finally:
            os._exit(status)

    assert made.flags == 7
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class TestCache:
    """Programs are kept, and only trustworthy ones are used."""

    @pytest.fixture
    def compiled(self, monkeypatch: pytest.MonkeyPatch) -> list[Seccomp]:
        """Count compilations."""
        calls: list[Seccomp] = []
        really = seccomp.compile_profile

        def counting(wanted: Seccomp) -> bytes:
            calls.append(wanted)
            return really(wanted)

        monkeypatch.setattr(seccomp, "compile_profile", counting)
        return calls

    def test_second_use_compiles_nothing(self, tmp_path: Path, compiled: list[Seccomp]) -> None:
        """The second container with a profile gets the program of the first."""
        folder = tmp_path / "a/programs"
        first = seccomp.program(profile([rule("mkdir")]), str(folder))
        second = seccomp.program(profile([rule("mkdir")]), str(folder))

        assert first.code == second.code
        assert len(compiled) == 1
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_each_profile_has_its_own(self, tmp_path: Path, compiled: list[Seccomp]) -> None:
        """Another rule, errno or architecture is another program."""
        variants = [
            profile([rule("mkdir")]),
            profile([rule("rmdir")]),
            profile([rule("mkdir", errnoRet=2)]),
        ]
        codes = {seccomp.program(one, str(tmp_path / "p")).code for one in variants}
        seccomp.program(variants[0], str(tmp_path / "p"), machine="other")

        assert len(codes) == 3
        assert len(compiled) == 4

    @pytest.mark.parametrize("damage", [b"", b"junk", b"{}\nabc", b'{"library":["/x",1,2,3]}\n'])
    def test_damaged_entry(self, tmp_path: Path, compiled: list[Seccomp], damage: bytes) -> None:
        """An entry that is not whole is compiled anew and replaced."""
        wanted = profile([rule("mkdir")])
        code = seccomp.program(wanted, str(tmp_path / "p")).code
        (entry,) = (tmp_path / "p").iterdir()
        entry.write_bytes(damage)

        assert seccomp.program(wanted, str(tmp_path / "p")).code == code
        assert seccomp.program(wanted, str(tmp_path / "p")).code == code
        assert len(compiled) == 2

    def test_changed_program(self, tmp_path: Path, compiled: list[Seccomp]) -> None:
        """A program whose bytes changed on the medium is not loaded."""
        wanted = profile([rule("mkdir")])
        code = seccomp.program(wanted, str(tmp_path / "p")).code
        (entry,) = (tmp_path / "p").iterdir()
        entry.write_bytes(entry.read_bytes()[:-8] + bytes(8))

        assert seccomp.program(wanted, str(tmp_path / "p")).code == code
        assert len(compiled) == 2

    def test_other_library(self, tmp_path: Path, compiled: list[Seccomp]) -> None:
        """A program made by another libseccomp is compiled anew."""
        wanted = profile([rule("mkdir")])
        seccomp.program(wanted, str(tmp_path / "p"))
        (entry,) = (tmp_path / "p").iterdir()
        head, _, code = entry.read_bytes().partition(b"\n")
        facts = json.loads(head)
        facts["library"][1] += 1
        entry.write_bytes(json.dumps(facts).encode() + b"\n" + code)
        seccomp.program(wanted, str(tmp_path / "p"))

        assert len(compiled) == 2

    def test_directory_of_others(self, tmp_path: Path, compiled: list[Seccomp]) -> None:
        """Nothing is read from or written to a directory that others can write to, or a link."""
        wanted = profile([rule("mkdir")])
        good = tmp_path / "good"
        seccomp.program(wanted, str(good))
        opened = tmp_path / "open"
        opened.mkdir()
        opened.chmod(0o777)
        foreign = tmp_path / "foreign"
        foreign.mkdir(mode=0o700)
        os.chown(foreign, 1000, 1000)
        link = tmp_path / "link"
        link.symlink_to(good)
        for folder in (opened, foreign, link):
            seccomp.program(wanted, str(folder))

        assert len(compiled) == 4
        assert not list(opened.iterdir())
        assert not list(foreign.iterdir())

    def test_number_of_entries(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The oldest entries make room for new ones."""
        monkeypatch.setattr(seccomp, "_MAX_ENTRIES", 3)
        for number in range(6):
            seccomp.program(profile([rule("mkdir", errnoRet=number)]), str(tmp_path / "p"))

        assert len(list((tmp_path / "p").iterdir())) == 3


OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
ACTIONS = ("KILL", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW")
WORDS = st.integers(0, 2**64 - 1)


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """Return a profile of distinct system calls, each with up to three conditions."""
    names = draw(st.lists(st.sampled_from(known_calls()), max_size=12, unique=True))
    calls = []
    for name in names:
        call: dict[str, Any] = rule(name, f"SCMP_ACT_{draw(st.sampled_from(ACTIONS))}")
        if call["action"] in ACTIONS_WITH_NUMBER:
            limit = MAX_ERRNO if call["action"] == ERRNO else 0xFFFF
            call["errnoRet"] = draw(st.integers(0, limit))
        indexes = draw(st.lists(st.integers(0, 5), max_size=3, unique=True))
        call["args"] = [
            condition(index, draw(st.sampled_from(OPERATORS)), draw(WORDS), draw(WORDS))
            for index in indexes
        ]
        calls.append(call)
    return {
        "defaultAction": f"SCMP_ACT_{draw(st.sampled_from(('ALLOW', 'KILL', 'LOG')))}",
        "syscalls": calls,
    }


@settings(max_examples=60)
@given(profiles())
def test_same_program_as_the_binding(node: dict[str, Any]) -> None:
    """Our layer over libseccomp and PyPI's binding make the same bytes of the same rules."""
    actions = {
        "SCMP_ACT_KILL": pyseccomp.KILL,
        "SCMP_ACT_KILL_PROCESS": pyseccomp.KILL_PROCESS,
        "SCMP_ACT_TRAP": pyseccomp.TRAP,
        "SCMP_ACT_LOG": pyseccomp.LOG,
        "SCMP_ACT_ALLOW": pyseccomp.ALLOW,
    }
    other = pyseccomp.SyscallFilter(actions[node["defaultAction"]])
    for call in node["syscalls"]:
        number = call.get("errnoRet", 0)
        action = actions.get(call["action"])
        if call["action"] == ERRNO:
            action = pyseccomp.ERRNO(number)
        elif call["action"] == "SCMP_ACT_TRACE":
            action = pyseccomp.TRACE(number)
        if call["action"] == node["defaultAction"]:
            continue
        args = [
            pyseccomp.Arg(
                arg["index"],
                getattr(pyseccomp, arg["op"].removeprefix("SCMP_CMP_")),
                arg["value"],
                arg["valueTwo"],
            )
            for arg in call["args"]
        ]
        other.add_rule(action, call["names"][0], *args)
    with tempfile.TemporaryFile() as file:
        other.export_bpf(file)
        file.seek(0)

        assert seccomp.compile_profile(Seccomp(node, "x")) == file.read()
