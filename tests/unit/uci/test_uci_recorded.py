"""The uci command answers, byte for byte, what the real one answered to the same inputs.

``recorded.json`` was written by OpenWrt's own program (openwrt/uci 66127cd with glibc, x86-64):

    tests/unit/uci/test_uci_recorded.py /path/to/uci

runs every case below through that program and writes the file again. CI needs no such program.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

RECORDED = Path(__file__).parent / "recorded.json"
FOLDERS = ("-c", "conf", "-C", "over", "-t", "save")

# Text that each of the two parsers, strict and lenient, has to read.
GRAMMAR = [
    "",
    "\n\n",
    "config a",
    "config a 'b'\n",
    "config a b\noption x y\nlist l 1\nlist l 2\n",
    "c a b;option x y\n",
    "c 'a' 'b' ;o x y ;l z 1\n",
    "config 'a';option x y\n",
    "config a b;\n",
    "config a b ;\n",
    "config a # comment\n# option x y\n option z 1#2\n",
    "config a\noption x 'it'\\''s'\n",
    "config a\noption x \"two\nlines\"\noption y 'three\n\nlines'\noption z 1\n",
    'config a\noption x "a\\"b\\\\c\\d"\n',
    "config a\noption x a\\ b\\'c\n",
    "config a\noption x a\\\nb\n",
    'config a\noption x "a\\\nb"\n',
    "config a\noption x 'a\\\nb'\n",
    "config a\r\noption x 'y'\r\noption z \"1\r\n2\"\r\n",
    "config a\n\toption x\\\r\n y\n",
    "config a\n\voption x y\n",
    "config\va\n",
    "config a\voption\n",
    "config a\noption x 'a'\"b\"c\n",
    "config a\noption x ''\noption y\noption z \"\"\nlist l ''\nlist l\n",
    "config a\noption x 1\noption x 2\noption x ''\n",
    "config a\noption x 1\nlist x 2\nlist x 3\noption x 4\n",
    "config a n\noption x 1\nconfig a n\noption y 2\n",
    "config a n\noption x 1\nconfig b n\noption y 2\n",
    "config a n\noption x 1\nconfig bb n\noption y 2\n",
    "config system\nconfig a cfg02e48a\nconfig system\n",
    "config a-b+c 'n'\n",
    "config a n-m\noption x y\n",
    "config a 'n m'\n",
    "config a n\noption x-y z\noption w v\n",
    "config \xe9\n",
    "config a \xe9\n",
    "config a\noption x \xe9\xff\n",
    "config a\noption x\xa0y\n",
    "config a b c\noption x y\n",
    "config a b\noption x y z\n",
    "config\n",
    "config \n",
    "config ''\n",
    "config a ''\n",
    "option x y\n",
    "config a\noption\n",
    "config a\noption \n",
    "config a\noption '' x\n",
    "list x y\n",
    "foo\n",
    "configx a\n",
    "co a\n",
    "config a\nfoo bar\noption x y\n",
    "package other\nconfig a\n",
    "package\n",
    "package ",
    "package a b\n",
    "package 'a+b'\nconfig x\n",
    "package a-b\nconfig x\n",
    "config a\noption x 'open\n",
    'config a\noption x "open\nfoo\n',
    "config a\noption x open\\",
    "config a\0b\noption x y\n",
    "\0\nconfig a\n",
    "config a\noption x 'y\0z'\nlist l 1\n",
    "config a\noption x '" + "long " * 40 + "'\n",
    "config " + "a" * 300 + " " + "b" * 300 + "\n",
    "config a\noption x '\x01\x1b\x7f'\n",
    "   \t config a\n \t\toption x y\n",
    "config a\noption x y;z\noption w 'v';list l 1\n",
    "'config' a\n",
    "config'a'\n",
    "config a'b\n",
    'config a "b',
]

STANDARD = {
    "conf/p1": (
        "\nconfig system\n\toption hostname 'x'\n\nconfig iface 'lan'\n\toption proto 'static'\n"
        "\tlist dns '1.1.1.1'\n\tlist dns '8.8.8.8'\n\tlist dns '1.1.1.1'\n\tlist dns 'a b'\n\n"
        "config iface 'wan'\n\toption text 'two\nlines and it'\\''s'\n\nconfig rule\n"
        "\toption a '1'\n\nconfig rule\n\toption a '2'\n\n"
    ),
    "conf/p2": "# only a comment\n",
}

# Each is run on the standard configuration; then changes, export, commit and the files are seen.
EDITS = [
    ["set", "p1.lan.proto=dhcp"],
    ["set", "p1.lan.proto=static"],
    ["set", "p1.lan.proto="],
    ["set", "p1.lan.none="],
    ["set", "p1.lan.dns=9.9.9.9"],
    ["set", 'p1.lan.text=it\'s "q" \\ and\nmore\t\xe9'],
    ["set", "p1.lan=other"],
    ["set", "p1.lan=xface"],
    ["set", "p1.lan="],
    ["set", "p1.new=iface"],
    ["set", "p1.@rule[0].a=9"],
    ["set", "p1.@rule[-1].a=9"],
    ["set", "p1.@rule[0]=rulf"],
    ["set", "p1.@rule[0]=ruler"],
    ["set", "p1.@rule[5]=rule"],
    ["set", "p1.@rule[5].a=1"],
    ["set", "p1.@[2].b=1"],
    ["set", "p1.@rule[].b=1"],
    ["set", "p1.@rule[x].b=1"],
    ["set", "p1.@rule.b=1"],
    ["set", "p1.none.a=1"],
    ["set", "p1.lan.bad-name=1"],
    ["set", "p1.bad-name=iface"],
    ["set", "p1.lan.ctl=\x01"],
    ["set", "p1.lan=bad type"],
    ["set", "p1.lan"],
    ["set", "p1"],
    ["set", "p1.a.b.c=d"],
    ["set", "p1=x"],
    ["set", "none.a=b"],
    ["set", ".a=b"],
    ["set"],
    ["SET", "p1.lan.x=y"],
    ["add", "p1", "rule"],
    ["add", "p1", "odd type"],
    ["add", "p1", ""],
    ["add", "none", "rule"],
    ["add", "p1"],
    ["add_list", "p1.lan.dns=9.9.9.9"],
    ["add_list", "p1.lan.proto=second"],
    ["add_list", "p1.lan.new=first"],
    ["add_list", "p1.lan.new="],
    ["add_list", "p1.lan=x"],
    ["add_list", "p1.lan.dns"],
    ["add_list", "p1.none.dns=1"],
    ["del_list", "p1.lan.dns=1.1.1.1"],
    ["del_list", "p1.lan.dns=none"],
    ["del_list", "p1.lan.proto=static"],
    ["del_list", "p1.lan.none=1"],
    ["del_list", "p1.none.dns=1"],
    ["delete", "p1.lan"],
    ["del", "p1.lan.proto"],
    ["delete", "p1.lan.dns=1"],
    ["delete", "p1.lan.dns=9"],
    ["delete", "p1.lan.dns=-1"],
    ["delete", "p1.lan.dns=1x"],
    ["delete", "p1.lan.dns=x"],
    ["delete", "p1.lan.dns="],
    ["delete", "p1.lan.proto=0"],
    ["delete", "p1.@rule[0]"],
    ["delete", "p1.none"],
    ["delete", "p1.lan.none"],
    ["delete", "p1"],
    ["rename", "p1.lan=lan2"],
    ["rename", "p1.lan.proto=mode"],
    ["rename", "p1.lan.proto=dns"],
    ["rename", "p1.@rule[0]=first"],
    ["ren", "p1.lan=bad-name"],
    ["rename", "p1.lan="],
    ["rename", "p1.lan"],
    ["rename", "p1.none=x"],
    ["reorder", "p1.lan=0"],
    ["reorder", "p1.lan=1"],
    ["reorder", "p1.lan=99"],
    ["reorder", "p1.wan=-1"],
    ["reorder", "p1.wan=x"],
    ["reorder", "p1.wan=4294967297"],
    ["reorder", "p1.@rule[0]=0"],
    ["reorder", "p1.none=0"],
    ["reorder", "p1.lan"],
    ["-q", "set", "p1.none.a=1"],
    ["-P", "other", "set", "p1.lan.x=y"],
]

QUERIES = [
    ["show"],
    ["show", "p1"],
    ["-X", "show", "p1"],
    ["show", "p1.lan"],
    ["show", "p1.@rule[1]"],
    ["show", "p1.lan.dns"],
    ["-d", ",", "show", "p1.lan.dns"],
    ["-d", ",", "get", "p1.lan.dns"],
    ["show", "p1.none"],
    ["show", "p1.lan.none"],
    ["show", "p1=x"],
    ["show", "none"],
    ["show", "a", "b"],
    ["show", "-X", "p1"],
    ["show", "--", "-X"],
    ["show", "./conf/p1"],
    ["show", "p 1"],
    ["show", ".hidden"],
    ["get", "p1"],
    ["get", "p1.lan"],
    ["get", "p1.lan.proto"],
    ["get", "p1.wan.text"],
    ["get", "p1.lan.dns"],
    ["get", "p1.lan.proto=x"],
    ["get", "p1.@iface[1]"],
    ["get", "p1.@iface[-2].proto"],
    ["get", "p1.@[0].hostname"],
    ["get", "p1.@none[0]"],
    ["get", "p1.@[99999999999]"],
    ["get"],
    ["-q", "get", "p1.none"],
    ["export"],
    ["export", "p1"],
    ["-n", "export", "p1"],
    ["-n", "-N", "export", "p1"],
    ["changes"],
    ["changes", "none"],
    ["commit"],
    ["commit", "none"],
    ["help"],
    ["nonsense"],
    [],
    ["-z", "show"],
    ["--help"],
    ["-c"],
    ["-L"],
    ["-f", "missing", "show"],
    ["-f", "in", "-f", "in", "show"],
    ["-C", "", "show", "p1.lan"],
]

BATCHES = [
    "",
    "show p1.lan\n",
    "show p1.lan",
    "# comment\n\n   \nset p1.lan.x=y # more\nshow p1.lan.x\n",
    "set p1.lan.x='a b'\nset 'p1.lan.y=it'\"'\"'s'\nchanges\ncommit p1\nchanges\n",
    "set p1.lan.x='two\nlines'\nget p1.lan.x\n",
    "get p1.none\nget p1.none\nget p1.none\n",
    "get p1.a-b-c.d-e\nget none.x\nget p1.x.y.z\n",
    "nonsense\nset\nshow a b\nshow a b c\nshow a b c d\nget p1.lan\n",
    "get p1.lan;get p1.wan\nget p1.lan ; get p1.wan\n",
    "get p1.lan\nexit\nget p1.wan\n",
    "EXIT now\nget p1.wan\n",
    "batch\nhelp\n",
    "get 'p1.lan\nget p1.wan\n",
    "add p2 rule\nset p2.@rule[-1].x=1\nadd p2 rule\ndelete p2.@rule[0]\nadd p2 rule\ncommit\n",
    "import p2\nconfig a 'b'\noption c d\n",
    "set p1.lan.x=1\nrevert p1.lan\nset p1.lan.y=2\nset p1.wan.y=2\nrevert p1.lan.y\nchanges\n",
    "set p1.lan.x=1\nset p1.wan.y=2\nrevert p1\nchanges\nrevert p1.none\nrevert none\n",
    "set network.veth0=device\nset network.veth0.type='veth'\n",
]

BROKEN = {"conf/p1": "config a\noption b c\nnonsense\n", "conf/p2": "config x y\n"}
OVERRIDDEN = {**STANDARD, "over/p1": "config iface lan\noption proto override\n"}
ODD_NAMES = {**STANDARD, "conf/.hidden": "config a\n", "conf/x.y": "config a\n", "conf/d/e": ""}
PENDING = {
    **STANDARD,
    "save/p1": (
        "p1.lan.proto='dhcp'\n+p1.cfg06cafe='rule'\np1.cfg06cafe.a='3'\n-p1.wan\n"
        "@p1.lan='lan0'\n^p1.lan0='0'\n|p1.lan0.dns='x'\n~p1.lan0.dns='1.1.1.1'\n"
        "p1.lan0.multi='two\nlines'\n-p1.none\njunk\np2.x='y'\np1.lan0.q='a'\\''b'\n"
        "-p1.lan0.dns='0'\np1.lan0.x='1' \n@p1.lan0='a-b'\n^p1.lan0.x='1'\np1.lan0.proto=''\n"
    ),
}
SEQUENCES: dict[str, tuple[dict[str, str], list[tuple[list[str], str]]]] = {
    "pending": (PENDING, [(["changes"], ""), (["show", "p1"], ""), (["commit", "p1"], "")]),
    "pending reverted": (PENDING, [(["revert", "p1.lan0"], ""), (["changes"], "")]),
    "pending and set": (PENDING, [(["set", "p1.cfg06cafe.b=1"], ""), (["commit"], "")]),
    "pending elsewhere": (
        {**STANDARD, "more/p1": "p1.lan.proto='dhcp'\n"},
        [(["-p", "more", "show", "p1.lan"], ""), (["-p", "more", "commit", "p1"], "")],
    ),
    "commit is asked not to": (
        PENDING,
        [(["-P", "save", "commit", "p1"], ""), (["changes", "p1"], "")],
    ),
    "override": (
        OVERRIDDEN,
        [(["show", "p1"], ""), (["set", "p1.lan.x=1"], ""), (["commit", "p1"], "")],
    ),
    "broken": (
        BROKEN,
        [
            (["show"], ""),
            (["-S", "show"], ""),
            (["-S", "-q", "show", "p1"], ""),
            (["-S", "-s", "show", "p1"], ""),
            (["set", "p1.a.b=c"], ""),
            (["add", "p1", "x"], ""),
            (["batch"], "show p1\nget p2.z\nget p2.y\nshow p1\nget p2.z\n"),
            (["-S", "set", "p1.@a[0].b=x"], ""),
            (["-S", "commit"], ""),
        ],
    ),
    "odd names": (ODD_NAMES, [(["show"], ""), (["export"], ""), (["get", "x.y.z"], "")]),
    "a made-up name is kept and comes up again": (
        {"conf/p1": "config aa\nconfig aa\n"},
        [
            (["set", "p1.@aa[0]=b"], ""),
            (["reorder", "p1.@aa[0]=0"], ""),
            (["show", "p1"], ""),
            (["commit", "p1"], ""),
            (["show", "p1"], ""),
            (["-S", "show", "p1"], ""),
        ],
    ),
    "renamed to a name that is taken": (
        {"conf/p1": "config a x\nconfig bb y\n", "conf/p2": "config a x\nconfig a y\noption o 1\n"},
        [
            (["rename", "p1.y=x"], ""),
            (["rename", "p2.y=x"], ""),
            (["show"], ""),
            (["commit"], ""),
            (["show", "p1"], ""),
            (["show", "p2"], ""),
        ],
    ),
    "nothing there": ({}, [(["show"], ""), (["set", "p1.a=b"], ""), (["import", "p1"], "")]),
    "import": (
        STANDARD,
        [
            (["import", "p2"], "config a 'b'\n\toption c 'd'\n"),
            (["import"], "package p1\nconfig x\npackage p3\nconfig y 'z'\n"),
            (["import"], "config x\n"),
            (["import", "p2"], "package p1\nconfig q\n"),
            (["import", "p2"], "config a b c\n"),
            (["import"], "package p1\nconfig x\npackage p1\nconfig y\n"),
            (["import", "p4", "p5"], ""),
            (["import", "p2"], ""),
            (["import", "bad name"], "config a\n"),
            (["-m", "import"], "config a\n"),
        ],
    ),
    "import merged": (
        STANDARD,
        [
            (
                ["-m", "import", "p1"],
                "config iface lan\noption proto dhcp\nlist dns z\nconfig rule\noption a 3\n"
                "config iface new\noption proto ''\n",
            ),
            (["changes"], ""),
            (["commit", "p1"], ""),
            (["-m", "import", "new"], "config a\n"),
            (["-m", "-S", "import", "p1"], "nonsense\nconfig iface wan\nlist l 1\n"),
            (["-m", "import", "p1"], "config other lan\n"),
        ],
    ),
    "import from a file": (
        {**STANDARD, "in": "config a\noption b c\n"},
        [(["-f", "in", "import", "p2"], ""), (["-f", "in", "batch"], "")],
    ),
}


class Step(NamedTuple):
    """One call of uci."""

    arguments: list[str]
    stdin: str


class Case(NamedTuple):
    """Files, and the calls that are made one after the other in their folder."""

    files: dict[str, str]
    steps: list[Step]


def _cases() -> dict[str, Case]:
    cases = {}
    for number, text in enumerate(GRAMMAR):
        steps = [["export", "p"], ["-S", "export", "p"], ["-S", "show"]]
        calls = [Step(arguments, "") for arguments in steps]
        calls += [Step([*flags, "import"], text) for flags in ([], ["-S"])]
        cases[f"grammar {number}: {text[:40]!r}"] = Case({"conf/p": text}, calls)
    for edit in EDITS:
        after = [["changes"], ["export", "p1"], ["commit"], ["show", "p1"]]
        cases[f"edit {edit!r}"] = Case(STANDARD, [Step(words, "") for words in (edit, *after)])
    for query in QUERIES:
        cases[f"query {query!r}"] = Case({**STANDARD, "in": ""}, [Step(query, "")])
    for batch in BATCHES:
        cases[f"batch {batch[:60]!r}"] = Case(STANDARD, [Step(["batch"], batch)])
    for name, (files, calls) in SEQUENCES.items():
        cases[name] = Case(files, [Step(*call) for call in calls])
    return cases


CASES = _cases()


def _to_bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _arguments(step: Step) -> list[bytes]:
    return [os.fsencode(word) for word in FOLDERS] + [_to_bytes(word) for word in step.arguments]


def _lay_out(folder: Path, files: dict[str, str]) -> None:
    for name in ("conf", "over", "save", "other"):
        (folder / name).mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_to_bytes(text))
        path.chmod(0o640)


def _files(folder: Path) -> dict[str, list[str]]:
    """Return mode and content of every file, and the mode of every folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = "" if path.is_dir() else path.read_bytes().decode("latin-1")
        found[str(path.relative_to(folder))] = [oct(path.stat().st_mode), content]
    return found


def _changed(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, Any]:
    """Return what is new or different in ``after``, and None for what is gone."""
    names = sorted({*before, *after})
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


class Answer(NamedTuple):
    """What one call gave."""

    code: int
    stdout: str
    stderr: str


def _memory_file(data: bytes = b"") -> int:
    fd = os.memfd_create("stdio")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _content(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read().decode("latin-1")


def _run_ours(step: Step) -> Answer:
    """Call our uci in this process, its standard streams replaced by files in memory."""
    from uxc.ucicli.main import main

    streams = [_memory_file(_to_bytes(step.stdin)), _memory_file(), _memory_file()]
    kept = [os.dup(fd) for fd in range(3)]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPIPE)}
    try:
        for fd, stream in enumerate(streams):
            os.dup2(stream, fd)
        code = main([os.fsdecode(word) for word in _arguments(step)])
    finally:
        for fd, stream in enumerate(kept):
            os.dup2(stream, fd)
            os.close(stream)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    answer = Answer(code, _content(streams[1]), _content(streams[2]))
    for stream in streams:
        os.close(stream)
    return answer


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Return what the real program answered, by case."""
    content: dict[str, Any] = json.loads(RECORDED.read_text())
    return content


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the folder of a case the working folder, with the umask of the recording."""
    monkeypatch.delenv("UXC_PREFIX", raising=False)
    monkeypatch.chdir(tmp_path)
    umask = os.umask(0o022)
    yield tmp_path
    os.umask(umask)


def test_every_case_was_recorded(recorded: dict[str, Any]) -> None:
    """A case without a recorded answer, or an answer without a case, is a mistake."""
    assert set(recorded) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_the_real_one(name: str, folder: Path, recorded: dict[str, Any]) -> None:
    """Exit code, both outputs, and all files afterwards are what libuci's own command gave."""
    _lay_out(folder, CASES[name].files)
    before = _files(folder)

    for step, (expected, changed) in zip(CASES[name].steps, recorded[name], strict=True):
        answer = _run_ours(step)
        after = _files(folder)

        assert list(answer) == expected, step
        assert _changed(before, after) == changed, step
        before = after


def _run_real(program: str, step: Step, folder: Path) -> Answer:
    done = subprocess.run(
        [b"uci", *_arguments(step)],
        executable=program,
        cwd=folder,
        input=_to_bytes(step.stdin),
        capture_output=True,
        timeout=10,
    )
    return Answer(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


def _record(program: str) -> None:
    os.umask(0o022)
    lines = []
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            _lay_out(Path(folder), case.files)
            before = _files(Path(folder))
            answers = []
            for step in case.steps:
                answer = _run_real(program, step, Path(folder))
                if answer.code < 0:
                    raise SystemExit(f"{name}: {step}: killed by signal {-answer.code}")
                after = _files(Path(folder))
                answers.append([answer, _changed(before, after)])
                before = after
        lines.append(f"{json.dumps(name)}: {json.dumps(answers)}")
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _record(sys.argv[1])
