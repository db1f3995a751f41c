"""bin/uci as a program: its start, its streams, its prefix."""

import subprocess
from pathlib import Path

import pytest

UCI = Path(__file__).parents[2] / "bin" / "uci"


def _run(
    *arguments: str, prefix: Path, stdin: bytes = b"", program: Path = UCI
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [program, *arguments],
        input=stdin,
        capture_output=True,
        env={"UXC_PREFIX": str(prefix), "LC_ALL": "C"},
        timeout=20,
    )


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return a prefix with an empty network configuration."""
    (tmp_path / "etc/config").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "etc/config/network").touch()
    return tmp_path


def test_a_batch_from_standard_input_is_committed_below_the_prefix(prefix: Path) -> None:
    """set, add_list and commit; the host's folders play no part."""
    stdin = (
        b"set network.veth0=device\nset network.veth0.type='veth'\n"
        b"add_list network.veth0.x='a b'\nadd_list network.veth0.x='\xff'\ncommit network\n"
    )
    done = _run("batch", prefix=prefix, stdin=stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (prefix / "etc/config/network").read_bytes() == (
        b"\nconfig device 'veth0'\n\toption type 'veth'\n\tlist x 'a b'\n\tlist x '\xff'\n\n"
    )
    shown = _run("show", "network.veth0.x", prefix=prefix)
    assert shown.stdout == b"network.veth0.x='a b' '\xff'\n"


def test_arguments_keep_their_bytes_in_the_c_locale(prefix: Path) -> None:
    """Neither UTF-8 nor anything else is assumed."""
    done = _run("set", "network.a=b", prefix=prefix)
    assert done.returncode == 0
    text = b"network.a.x=\xc3\xa9\xff".decode("utf-8", "surrogateescape")
    assert _run("set", text, prefix=prefix).returncode == 0
    assert _run("get", "network.a.x", prefix=prefix).stdout == b"\xc3\xa9\xff\n"


def test_the_usage_text_names_the_folders_in_force(prefix: Path) -> None:
    """And goes to standard error."""
    done = _run(prefix=prefix)
    assert (done.returncode, done.stdout) == (0, b"")
    assert f"(default: {prefix}/etc/config)".encode() in done.stderr


def test_messages_bear_the_name_uci_however_it_is_called(prefix: Path, tmp_path: Path) -> None:
    """A symlink elsewhere works, and an unknown package is exit code 1."""
    link = tmp_path / "link"
    link.symlink_to(UCI)
    done = _run("get", "none.x", prefix=prefix, program=link)
    assert (done.returncode, done.stderr) == (1, b"uci: Entry not found\n")


def test_a_reader_that_goes_away_ends_it_quietly(prefix: Path) -> None:
    """As any C program: killed by SIGPIPE, without a word."""
    many = "".join(f"config a 's{i}'\n\toption x '{'v' * 60}'\n" for i in range(5000))
    (prefix / "etc/config/network").write_text(many)
    with subprocess.Popen(
        [UCI, "show", "network"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"UXC_PREFIX": str(prefix)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == -13


def test_many_writers_at_once_lose_nothing(prefix: Path) -> None:
    """Each one's change is in the file at the end."""
    processes = [
        subprocess.Popen([UCI, "batch"], stdin=subprocess.PIPE, env={"UXC_PREFIX": str(prefix)})
        for _ in range(8)
    ]
    for number, process in enumerate(processes):
        assert process.stdin is not None
        process.stdin.write(f"set network.s{number}=a\ncommit network\n".encode())
        process.stdin.close()
    for process in processes:
        assert process.wait(20) == 0
    done = _run("show", "network", prefix=prefix)
    assert sorted(done.stdout.split()) == [b"network.s%d=a" % i for i in range(8)]
    assert sorted(path.name for path in (prefix / "etc/config").iterdir()) == ["network"]


def test_a_relative_prefix_is_refused(tmp_path: Path) -> None:
    """One line, no traceback."""
    done = subprocess.run(
        [UCI, "show"], capture_output=True, env={"UXC_PREFIX": "relative"}, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr == b"uci: UXC_PREFIX must be an absolute path, not 'relative'\n"
