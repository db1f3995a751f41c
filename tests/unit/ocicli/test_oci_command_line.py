"""The command line of uxc-runtime told apart: options, letters, operands, sizes, durations."""

import importlib
import json
from pathlib import Path

import pytest

from uxc.errors import InvalidError
from uxc.ocicli import main, report, signals, usage
from uxc.ocicli.call import Call, UsageError
from uxc.ocicli.commands import events, update


def parse(*words: str) -> Call:
    """Tell ``words`` apart as main does."""
    call = Call()
    rest = call.read_globals(list(words))
    command = main.load(rest[0])
    call.read_options(rest[1:], command.OPTIONS, command.SHORT, command.OPERANDS)
    return call


def refusal(*words: str) -> str:
    """Return what is said about a wrong command line."""
    with pytest.raises(UsageError) as caught:
        parse(*words)
    return caught.value.message


def test_values_stand_alone_or_behind_a_sign() -> None:
    """--name VALUE, --name=VALUE, -n VALUE, -nVALUE and runc's -name are all the same."""
    for words in (
        ("--bundle", "/b"),
        ("--bundle=/b",),
        ("-b", "/b"),
        ("-b/b",),
        ("-bundle", "/b"),
        ("-b=/b",),
    ):
        assert parse("create", *words, "c").options == {"bundle": "/b"}


def test_letters_go_together() -> None:
    """Flags share a dash, and the last letter may take a value."""
    call = parse("run", "-db", "/b", "c")

    assert call.options == {"detach": "true", "bundle": "/b"}
    assert call.operands == ["c"]


def test_a_letter_means_what_the_command_says() -> None:
    """-f is --force, --format or crun's --config."""
    assert parse("delete", "-f", "c").options == {"force": "true"}
    assert parse("list", "-f", "json").options == {"format": "json"}
    assert parse("run", "-f", "other.json", "c").options == {"config": "other.json"}


def test_options_may_follow_operands() -> None:
    """As with crun; behind -- nothing is an option."""
    assert parse("delete", "c", "--force").options == {"force": "true"}
    assert parse("state", "--", "-c").operands == ["-c"]


def test_what_follows_the_id_of_ps_is_for_ps() -> None:
    """No option of ours is looked for there."""
    call = parse("ps", "--format", "table", "c", "-o", "pid,comm", "--format")

    assert call.options == {"format": "table"}
    assert call.operands == ["c", "-o", "pid,comm", "--format"]


def test_flags_can_be_switched_off() -> None:
    """Go's programs write --flag=false."""
    assert parse("delete", "--force=false", "c").options == {}
    assert "true or false" in refusal("delete", "--force=1", "c")


def test_rootless_takes_a_value_or_none() -> None:
    """--rootless, --rootless auto and --rootless=false are all typed by clients."""
    assert parse("--rootless", "state", "c").operands == ["c"]
    assert parse("--rootless", "auto", "state", "c").globals["rootless"] == "auto"
    assert parse("--rootless=false", "state", "c").globals["rootless"] == "false"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nix"], "unknown command 'nix'"),
        (["state", "--nix", "c"], "unknown option '--nix'"),
        (["list", "-qx"], "unknown option '-qx'"),
        (["state"], "expected a container id, got none"),
        (["state", "a", "b"], "expected a container id, got 2"),
        (["features", "a"], "expected no operand, got 1"),
        (["create", "--bundle"], "option --bundle needs a value"),
        (["create", "--preserve-fds", "-1", "c"], "is a number"),
        (["create", "--preserve-fds", "٣", "c"], "is a number"),
    ],
)
def test_wrong_lines_are_explained(words: list[str], said: str) -> None:
    """One line that names what is wrong."""
    assert said in refusal(*words)


@pytest.mark.parametrize(
    "words",
    [("--log-format", "xml"), ("--cgroup-manager", "nix"), ("--log-level", "loud")],
)
def test_wrong_values_of_global_options_are_refused(words: tuple[str, str]) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidError, match=words[1]):
        Call().read_globals([*words, "state", "c"])


def test_a_relative_root_begins_where_we_are() -> None:
    """The place stays the same wherever the process goes."""
    assert parse("--root", "state", "state", "c").root == f"{Path.cwd()}/state"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_each_command_has_a_help_that_names_its_options(name: str) -> None:
    """None is there that help does not tell of."""
    command = importlib.import_module(f"uxc.ocicli.commands.{name}")
    text = usage.text(name)

    assert text.startswith(f"usage: uxc-runtime {name}")
    quiet = {"cpu-share", "kernel-memory", "kernel-memory-tcp", "l3-cache-schema", "mem-bw-schema"}
    for option in set(command.OPTIONS) - quiet:
        assert f"--{option}" in text, option


def test_the_general_help_lists_every_command() -> None:
    """In the order in which one meets them."""
    text = usage.text("")

    assert [name for name in main.COMMANDS if f"  {name} " not in text] == []


def test_a_link_called_runc_answers_as_runc() -> None:
    """go-runc reads a version only from a line that begins so."""
    lines = usage.version("/usr/local/bin/runc").splitlines()

    assert lines[0] == "runc version 1.3.0"
    assert lines[1].startswith("commit: ")
    assert lines[2] == "spec: 1.3.0"
    assert usage.version("/usr/bin/uxc-runtime").startswith("uxc-runtime version ")


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("-1", -1),
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("64k", 64 << 10),
        ("64KB", 64 << 10),
        ("64KiB", 64 << 10),
        ("100M", 100 << 20),
        ("2g", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_written_as_docker_does(text: str, bytes_: int) -> None:
    """In bytes, or with a unit of 1024."""
    assert update.from_options({"memory": text}) == {"memory": {"limit": bytes_}}


@pytest.mark.parametrize("text", ["M", "-2", "1.5G", "12x", "b", "1 M", "-1k", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """With the option and the value in the line."""
    with pytest.raises(InvalidError, match="option --memory is a number of bytes"):
        update.from_options({"memory": text})


def test_options_of_update_make_a_resources_object() -> None:
    """Each goes to its member; both spellings of shares go to one."""
    options = {
        "memory-swap": "-1",
        "cpu-shares": "2",
        "cpu-quota": "-1",
        "cpu-idle": "1",
        "cpuset-cpus": "0-1",
        "pids-limit": "0",
        "blkio-weight": "10",
    }

    assert update.from_options(options) == {
        "memory": {"swap": -1},
        "cpu": {"shares": 2, "quota": -1, "idle": 1, "cpus": "0-1"},
        "pids": {"limit": 0},
        "blockIO": {"weight": 10},
    }
    assert update.from_options({"cpu-share": "2"}) == {"cpu": {"shares": 2}}


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("10us", 1e-5)]
)
def test_durations_are_written_as_go_does(text: str, seconds: float) -> None:
    """containerd writes --interval=5s."""
    assert events.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "1..5s", "5d", "."])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A number without a unit is none, as in Go."""
    with pytest.raises(InvalidError, match="is no duration"):
        events.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("RTMIN+1", 35), ("RTMAX-1", 63)],
)
def test_signals_go_by_number_or_name(text: str, number: int) -> None:
    """With or without SIG, in any case."""
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "NIX", "-9", "_DFL", "RTMIN+x", "RTMIN-1"])
def test_unknown_signals_are_refused(text: str) -> None:
    """And named."""
    with pytest.raises(InvalidError, match="unknown signal"):
        signals.parse(text)


def test_the_log_has_lines_that_containerd_reads(tmp_path: Path) -> None:
    """One object a line, whatever the message holds; stderr hears of it as well."""
    call = Call()
    call.read_globals(["--log", str(tmp_path / "log"), "--log-format", "json", "state"])

    call.warning('a "quoted"\nline')
    call.debug("not asked for")

    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["msg"] == 'a "quoted"\nline'
    assert json.loads(line)["level"] == "warning"


def test_what_is_said_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Quoted text neither ends the line nor steers a terminal, and the end of a long one stays."""
    with (tmp_path / "log").open("w") as log:
        said = f"a\nb\x1b[31m\udcff é {'x' * 100_000} not found"
        report.say("uxc-runtime", log.fileno(), False, "error", said, "c\rd")

    error, hint = capfd.readouterr().err.splitlines()
    assert error.startswith("uxc-runtime: a\\nb\\x1b[31m\\udcff é xxx")
    assert error.endswith("xxx not found")
    assert len(error) < 3000
    assert hint == "uxc-runtime: hint: c\\rd"
    assert len((tmp_path / "log").read_text().splitlines()) == 1
