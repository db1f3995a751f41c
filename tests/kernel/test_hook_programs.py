"""Running one hook: what it gets, how its end is told, and what it cannot do to its maker."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uxc.errors import UxcError
from uxc.oci import hooks
from uxc.oci.spec import Hook

STATE = json.dumps({"id": "c", "status": "creating"}).encode()

Script = Callable[..., Hook]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Return a function that makes a hook of a shell script."""
    made = 0

    def make(text: str, **more: Any) -> Hook:
        nonlocal made
        made += 1
        path = tmp_path / f"hook{made}"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return Hook({"path": str(path), "env": ["PATH=/usr/bin:/bin"], **more}, "hook")

    return make


def failure(*listed: Hook, state: bytes = STATE) -> str:
    with pytest.raises(hooks.HookError) as caught:
        hooks.run("poststart", list(listed), state)
    assert "\n" not in caught.value.message
    return caught.value.message


def open_fds() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def test_a_hook_reads_the_state(script: Script, tmp_path: Path) -> None:
    """The state is on stdin, whole, followed by its end, for every hook anew."""
    state = b'"' + b"x" * 300_000 + b'"'

    hooks.run(
        "prestart",
        [script(f"cat > {tmp_path}/one"), script(f"cat /dev/stdin > {tmp_path}/two")],
        state,
    )

    assert (tmp_path / "one").read_bytes() == state
    assert (tmp_path / "two").read_bytes() == state


def test_a_hook_may_leave_the_state_unread(script: Script) -> None:
    """Whoever does not care about the state is not killed by it, and kills nobody."""
    before = open_fds()

    hooks.run("prestart", [script("exec <&-; exit 0")], b"x" * 1_000_000)

    assert open_fds() == before


def test_hooks_run_in_their_order(script: Script, tmp_path: Path) -> None:
    """One after the other, and none after the first that fails."""
    log = tmp_path / "log"
    listed = [script(f"echo {n} >> {log}") for n in range(3)]
    listed.insert(2, script("exit 1"))

    assert "hook #2 " in failure(*listed)

    assert log.read_text() == "0\n1\n"


def test_arguments_and_environment_are_exactly_as_given(tmp_path: Path) -> None:
    """args holds args[0]; env is not mixed with ours, and keeps order, doubles and odd entries."""
    out = tmp_path / "out"
    code = f"""
import os
arguments, environment = (open(f"/proc/self/{{n}}", "rb").read() for n in ("cmdline", "environ"))
open({str(out)!r}, "wb").write(arguments + b"|" + environment)
"""
    hook = Hook(
        {
            "path": "/usr/bin/python3",
            "args": ["other name", "-I", "-c", code, "", "ä b"],
            "env": ["B=2", "A=1", "A=2", "ODD"],
        },
        "hook",
    )

    hooks.run("prestart", [hook], STATE)

    given = b"\0".join(text.encode() for text in [*hook.args, ""])
    assert out.read_bytes() == given + b"|B=2\0A=1\0A=2\0ODD\0"


def test_a_hook_without_arguments_has_its_path(script: Script, tmp_path: Path) -> None:
    """execv(3) wants an argv[0], and an absent environment is an empty one."""
    out = tmp_path / "out"
    hook = script(f"/usr/bin/tr '\\0' '|' < /proc/self/environ > {out}; echo $0 >> {out}")
    hook.env = []

    hooks.run("prestart", [hook], STATE)

    assert out.read_text() == f"{hook.path}\n"


def test_nothing_of_ours_reaches_a_hook(script: Script, tmp_path: Path) -> None:
    """Three descriptors, default signals, a usual umask and the root directory are all it has."""
    leak = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leak, True)
    hook = script(
        f"ls /proc/self/fd > {tmp_path}/fds; umask > {tmp_path}/umask; pwd > {tmp_path}/pwd;"
        f"grep -E 'Sig(Ign|Blk)' /proc/self/status > {tmp_path}/signals"
    )
    mask = os.umask(0)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        hooks.run("prestart", [hook], STATE)
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.umask(mask)
        os.close(leak)

    # The fourth is the directory that ls reads.
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"]
    assert (tmp_path / "umask").read_text().strip() == "0022"
    assert (tmp_path / "pwd").read_text() == "/\n"
    masks = [line.split()[1] for line in (tmp_path / "signals").read_text().splitlines()]
    assert [int(mask, 16) for mask in masks] == [0, 0]


def test_a_hook_starts_where_it_is_told_to(script: Script, tmp_path: Path) -> None:
    """A directory may be named; one that is missing fails the hook by name."""
    hook = script(f"pwd > {tmp_path}/out")

    hooks.run("prestart", [hook], STATE, str(tmp_path))

    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"
    with pytest.raises(hooks.HookError, match="/nowhere: no such file or directory"):
        hooks.run("prestart", [hook], STATE, "/nowhere")


def test_the_words_of_a_failing_hook_are_told(script: Script) -> None:
    """The exit status, and what the hook printed, in one line."""
    hook = script("echo out; printf 'a\\tb\\033[1m\\n\\nno such bridge\\n' >&2; exit 3")

    assert failure(hook) == (
        f"error running poststart hook #0 ({hook.path}): exit status 3: out; a b [1m;"
        " no such bridge"
    )


def test_a_failing_hook_may_talk_much(script: Script) -> None:
    """More than a pipe holds is taken, and the end of it is told."""
    message = failure(script("seq 100000; echo the end >&2; exit 1"))

    assert message.endswith("; 100000; the end")
    assert ": exit status 1: …" in message
    assert len(message) < 3000


def test_a_signal_is_told(script: Script) -> None:
    """A hook that a signal ended has failed."""
    assert ": killed by signal 9" in failure(script("kill -9 $$"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/hook", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "permission denied"),
    ],
)
def test_a_hook_that_cannot_be_run_has_failed(path: str, reason: str) -> None:
    """A missing file, one without the right, a directory: the reason is the kernel's."""
    message = failure(Hook({"path": path}, "hook"))

    assert message == f"error running poststart hook #0 ({path}): cannot be executed: {reason}"


def test_a_text_without_interpreter_has_failed(tmp_path: Path) -> None:
    """execv(3) runs no shell for a file in no known format."""
    path = tmp_path / "hook"
    path.write_text("exit 0\n")
    path.chmod(0o755)

    assert failure(Hook({"path": str(path)}, "hook")).endswith("exec format error")


def test_a_timeout_ends_the_hook_and_its_children(script: Script, tmp_path: Path) -> None:
    """After the timeout the whole group is gone, and the words so far are told."""
    hook = script(
        f"sleep 1000 & echo $! > {tmp_path}/pid; echo waiting for the moon; wait", timeout=1
    )

    began = time.monotonic()
    message = failure(hook)

    assert 0.9 < time.monotonic() - began < 10
    assert message.endswith("hook ran past specified timeout of 1s: waiting for the moon")
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_timeout_that_is_not_reached_changes_nothing(script: Script) -> None:
    """The longest timeout that can be written is no trouble either."""
    hooks.run("prestart", [script("exit 0", timeout=(1 << 31) - 1)], STATE)


def test_a_child_of_the_hook_may_go_on(script: Script, tmp_path: Path) -> None:
    """A process that a hook leaves behind, with its streams, keeps nobody waiting."""
    hook = script(f"sleep 1000 & echo $! > {tmp_path}/pid")

    began = time.monotonic()
    hooks.run("prestart", [hook], STATE)

    pid = int((tmp_path / "pid").read_text())
    assert time.monotonic() - began < 5
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)


def test_a_child_that_talks_for_ever_keeps_nobody(script: Script, tmp_path: Path) -> None:
    """The same for a failing hook, whose words are read to their end."""
    message = failure(script(f"yes & echo $! > {tmp_path}/pid; sleep 0.1; exit 1"))

    assert "exit status 1" in message
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_hook_dies_with_its_maker(script: Script, tmp_path: Path) -> None:
    """Nobody would hear of the end of a hook whose maker was killed."""
    ready = tmp_path / "pid"
    hook = script(f"echo $$ > {ready}.new; mv {ready}.new {ready}; exec sleep 1000")
    maker = os.fork()
    if maker == 0:
        try:
            hooks.run("prestart", [hook], STATE)
        finally:
            os._exit(0)
    deadline = time.monotonic() + 5
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(maker, signal.SIGKILL)
    os.waitpid(maker, 0)

    assert gone(int(ready.read_text()))


def test_nothing_stays_open(script: Script) -> None:
    """No descriptor and no process of a hook is left, however it ended."""
    before = open_fds()
    for hook in (script("exit 0"), script("exit 1"), Hook({"path": "/nowhere"}, "hook")):
        try:
            hooks.run("prestart", [hook], STATE)
        except UxcError:
            continue

    assert open_fds() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_all_hooks_run_where_failures_are_warnings(script: Script, tmp_path: Path) -> None:
    """After poststop hooks that fail come the others, and each failure is one sentence."""
    listed = [script("exit 1"), script(f"touch {tmp_path}/ran"), Hook({"path": "/nowhere"}, "h")]

    warnings = hooks.run_all("poststop", listed, STATE)

    assert (tmp_path / "ran").exists()
    assert [text.partition(" (")[0] for text in warnings] == [
        "error running poststop hook #0",
        "error running poststop hook #2",
    ]
