"""``exec`` as clients call it: streams, terminals, descriptors, signals, many at once."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtimes import NAME, RUNTIME, ConsoleSocket, Runtime, processes_in, processes_of, until

Bundle = Callable[..., Path]
Running = Callable[..., int]

TIMEOUT_S = 30


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)])
def test_the_exit_code_is_the_programs(
    runtime: Runtime, running: Running, script: str, code: int
) -> None:
    """What the program answers is answered, 128+n for signal n."""
    running()

    assert runtime.call("exec", "c", "sh", "-c", script).returncode == code


def test_the_standard_streams_are_the_callers(runtime: Runtime, running: Running) -> None:
    """Input, output and errors of the program are those of the command."""
    running()

    done = subprocess.run(
        [RUNTIME, "--root", str(runtime.root), "exec", "c", "sh", "-c", "cat; echo bad >&2"],
        input=b"some words", capture_output=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, b"some words", b"bad\n")


def test_a_detached_process_is_left_to_the_caller(runtime: Runtime, running: Running) -> None:
    """The command ends when the program runs; who supervises the caller gets it as a child."""
    running()
    read, write = os.pipe()

    code, pid = runtime.execute("c", "sh", "-c", "echo runs; read x; exit 5", stdin=read)

    assert code == 0
    text = runtime.pid_file("exec").read_text()
    assert text == str(pid), "no newline"
    os.close(write)
    os.close(read)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert runtime.output("exec") == "runs\n"


def test_a_pid_file_that_cannot_be_written_is_an_error(
    runtime: Runtime, running: Running, tmp_path: Path
) -> None:
    """Nothing runs that nobody could find."""
    pid = running()
    words = ("--detach", "--pid-file", str(tmp_path / "none/pid"), "c", "sleep", "1000")

    assert runtime.call("exec", *words).returncode == 255
    until(lambda: processes_of(pid) == {pid}, "the end of the process")


@pytest.mark.ours
def test_the_pidfd_socket_gets_the_process(
    runtime: Runtime, running: Running, tmp_path: Path
) -> None:
    """--pidfd-socket works as it does with create."""
    running()
    path = str(tmp_path / "pidfd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        _, pid = runtime.execute("--pidfd-socket", path, "c", "sleep", "1000")
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)

    signal.pidfd_send_signal(fds[0], signal.SIGKILL)
    os.close(fds[0])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


@pytest.mark.vm
def test_the_process_is_in_the_containers_cgroup(runtime: Runtime, running: Running) -> None:
    """In every hierarchy it is where the first process is."""
    first = running()

    _, pid = runtime.execute("c", "sleep", "1000")

    cgroups = [Path(f"/proc/{one}/cgroup").read_text() for one in (first, pid)]
    assert cgroups[0] == cgroups[1]
    assert "exec-" in cgroups[0]


@pytest.mark.vm
@pytest.mark.ours
def test_a_cgroup_below_the_containers_can_be_chosen(runtime: Runtime, running: Running) -> None:
    """--cgroup PATH for all hierarchies; it must exist, and must not lead out."""
    running()
    record = json.loads((runtime.root / "c/state.json").read_text())["cgroup"]
    inner = [Path(mount) / record["path"] / "inner" for mount in record["hierarchies"]]
    for one in inner:
        one.mkdir()

    _, pid = runtime.execute("--cgroup", "/inner", "c", "sleep", "1000")
    missing = runtime.call("exec", "--cgroup", "none", "c", "true")
    out = runtime.call("exec", "--cgroup", "../..", "c", "true")

    for one in inner:
        assert str(pid) in (one / "cgroup.procs").read_text().split()
    assert missing.returncode == out.returncode == 255
    assert "leads out" in out.stderr


@pytest.mark.vm
@pytest.mark.ours
def test_a_container_that_manages_its_cgroups_is_joined_where_it_is(
    runtime: Runtime, running: Running
) -> None:
    """What has given its controllers to cgroups below takes no more processes itself."""
    pid = running()
    record = json.loads((runtime.root / "c/state.json").read_text())["cgroup"]
    if not record["unified"]:
        pytest.skip("there is no v2 tree")
    own = Path(record["unified"]) / record["path"]
    (own / "leaf").mkdir()
    (own / "leaf/cgroup.procs").write_text(str(pid))
    if not (own / "cgroup.controllers").read_text().split():
        pytest.skip("no controller of v2 that could be given to others")
    controller = (own / "cgroup.controllers").read_text().split()[0]
    (own / "cgroup.subtree_control").write_text(f"+{controller}")

    _, inside = runtime.execute("c", "sleep", "1000")

    assert str(inside) in (own / "leaf/cgroup.procs").read_text().split()


def test_a_detached_terminal_needs_a_console_socket(runtime: Runtime, running: Running) -> None:
    """Nobody would hold the other end."""
    running()

    done = runtime.call("exec", "--detach", "--tty", "c", "sh")

    assert done.returncode == 255
    assert "without setting console socket" in done.stderr


def test_the_console_socket_gets_a_terminal_of_the_container(
    runtime: Runtime, running: Running, process_file: Callable[..., str], console: ConsoleSocket
) -> None:
    """It controls the session, has the size wanted, and is named in the container's devpts."""
    running()
    path = process_file(
        "sh", "-c", "tty; stty size; read word; echo got $word; sleep 1000",
        terminal=True,
        consoleSize={"height": 12, "width": 34},
    )  # fmt: skip

    runtime.execute("--process", path, "--console-socket", str(console.path), "c")
    console.receive()
    seen = console.read_until("12 34")
    os.write(console.master, b"word\n")
    console.read_until("got word")
    # Ctrl-C reaches the program, which is in the terminal's foreground.
    os.write(console.master, b"\x03")
    console.read_until("^C")

    assert "/dev/pts/" in seen


def test_a_console_socket_that_nobody_listens_at_is_an_error(
    runtime: Runtime, running: Running, tmp_path: Path
) -> None:
    """Nothing runs without its terminal."""
    pid = running()
    words = ("--detach", "--tty", "--console-socket", str(tmp_path / "none"), "c", "sleep", "9")

    assert runtime.call("exec", *words).returncode == 255
    until(lambda: processes_of(pid) == {pid}, "the end of the process")


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Return (master, other end) of a terminal to call the runtime from."""
    master, other = pty.openpty()
    termios.tcsetwinsize(other, (40, 100))
    yield master, other
    os.close(master)
    os.close(other)


def test_a_terminal_is_carried(
    runtime: Runtime, running: Running, terminal: tuple[int, int]
) -> None:
    """With --tty the caller's terminal is the program's: size, keys, output, exit code."""
    running()
    master, other = terminal
    before = termios.tcgetattr(other)
    script = "stty size; echo ready; read word; echo got $word; exit 3"
    command = [RUNTIME, "--root", str(runtime.root), "exec", "-t", "c", "sh", "-c", script]

    with subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, start_new_session=True
    ) as process:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(master, 4096)
        os.write(master, b"word\r")
        while b"got word" not in seen:
            seen += os.read(master, 4096)
        assert process.wait(TIMEOUT_S) == 3

    assert b"40 100" in seen
    assert termios.tcgetattr(other) == before


@pytest.mark.ours
def test_much_goes_through_a_terminal(
    runtime: Runtime, running: Running, terminal: tuple[int, int]
) -> None:
    """Neither side waits for the other when both have more to say than fits in between."""
    running()
    master, other = terminal
    script = "stty raw -echo; echo ready; head -c 300000 | wc -c; head -c 200000 /dev/zero"
    command = [RUNTIME, "--root", str(runtime.root), "exec", "-t", "c", "sh", "-c", script]
    with subprocess.Popen(command, stdin=other, stdout=other, start_new_session=True) as process:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(master, 4096)
        sent = 0
        os.set_blocking(master, False)
        while b"\0" * 10 not in seen or seen.count(b"\0") < 200000:
            try:
                sent += os.write(master, b"x" * min(4096, 300000 - sent)) if sent < 300000 else 0
            except BlockingIOError:
                time.sleep(0.001)
            try:
                seen += os.read(master, 65536)
            except BlockingIOError:
                time.sleep(0.001)
        assert process.wait(TIMEOUT_S) == 0

    assert b"300000" in seen


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "TERM"), (signal.SIGUSR1, "USR1")])
def test_signals_are_passed_on(
    runtime: Runtime, running: Running, tmp_path: Path, number: int, name: str
) -> None:
    """A signal to the command is one for the program."""
    running()
    script = f"trap 'exit 9' {name}; echo ready; while :; do sleep 0.1; done"
    command = [RUNTIME, "--root", str(runtime.root), "exec", "c", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        # Readiness is the program's; that the command waits by then, nobody says.
        time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 9


def test_only_the_descriptors_that_are_named_are_passed_on(
    runtime: Runtime, running: Running
) -> None:
    """--preserve-fds passes as many on; what else the caller has open, it keeps."""
    running()
    read, write = os.pipe()
    command = [RUNTIME, "--root", str(runtime.root), "exec", "--preserve-fds", "1", "c"]
    os.write(write, b"words\n")
    os.close(write)
    done = subprocess.run(
        ["bash", "-c", f'exec 3<&{read} 7<&0; exec "$@"', "bash", *command,
         "sh", "-c", "cat <&3; ls /proc/$$/fd; true"],
        pass_fds=(read,), capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    os.close(read)

    words = done.stdout.split()
    assert words[:1] == ["words"], done.stderr
    # A shell keeps what it was started from at a high number.
    assert [word for word in words[1:] if int(word) < 10] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("preserved", [0, 1])
def test_sockets_of_the_caller_are_passed_on(
    runtime: Runtime, running: Running, preserved: int
) -> None:
    """LISTEN_FDS are 3 and up, and what --preserve-fds counts comes behind them."""
    running()
    read, write = os.pipe()
    command = [RUNTIME, "--root", str(runtime.root), "exec", f"--preserve-fds={preserved}", "c"]
    script = "echo $LISTEN_FDS $LISTEN_PID $$; ls /proc/$$/fd; true"
    done = subprocess.run(
        ["bash", "-c", f'exec 3<&{read} 4<&{read} 5<&{read}; exec "$@"', "bash",
         "env", "LISTEN_FDS=1", *command, "sh", "-c", script],
        pass_fds=(read,), capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    os.close(read)
    os.close(write)

    (count, number, own), *fds = [line.split() for line in done.stdout.splitlines()]
    assert count == "1"
    if NAME == "uxc-runtime":
        assert number == own, "a program takes the sockets only if the pid is its own"
    assert [int(fd) for (fd,) in fds if int(fd) < 10] == [0, 1, 2, 3, 4][: 4 + preserved]


@pytest.mark.ours
def test_a_missing_descriptor_is_an_error(runtime: Runtime, running: Running) -> None:
    """A promise that cannot be kept is not made."""
    running()

    done = runtime.call("exec", "--preserve-fds", "3", "c", "true")

    assert done.returncode == 255
    assert "descriptor 3 is to be preserved" in done.stderr


def test_many_run_at_once(runtime: Runtime, running: Running) -> None:
    """Each has its own streams and exit code, while others begin and end."""
    pid = running()
    command = [RUNTIME, "--root", str(runtime.root), "exec", "c", "sh", "-c"]
    many = [
        subprocess.Popen(
            [*command, f"sleep 0.{number % 5}; echo {number}; exit {number}"],
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(24)
    ]  # fmt: skip

    for number, process in enumerate(many):
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, output) == (number, f"{number}\n")
    assert processes_of(pid) == {pid}
    assert not [name for name in os.listdir(runtime.root / "c") if "exec" in name]


@pytest.mark.vm
@pytest.mark.ours
def test_an_exec_into_what_is_being_deleted_leaves_nothing(
    runtime: Runtime, running: Running
) -> None:
    """It runs and is killed, or is refused; the container goes, and all of its processes."""
    for turn in range(8):
        pid = running(name=f"b{turn}")
        link = os.readlink(f"/proc/{pid}/ns/pid")
        command = [RUNTIME, "--root", str(runtime.root), "exec", "c", "sleep", "1000"]
        many = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
        time.sleep(0.006 * turn)

        runtime.ok("delete", "--force", "c")

        codes = [process.wait(TIMEOUT_S) for process in many]
        assert set(codes) <= {137, 255}
        os.waitpid(pid, 0)
        assert not processes_in(link)


@pytest.mark.ours
def test_a_killed_exec_leaves_the_container_alone(runtime: Runtime, running: Running) -> None:
    """SIGKILL at any moment: the process is gone, or its program has run; nothing else remains."""
    pid = running()
    command = [RUNTIME, "--root", str(runtime.root), "exec", "c", "true"]
    for turn in range(30):
        with subprocess.Popen(command, start_new_session=True) as process:
            time.sleep(0.0015 * turn)
            process.kill()
            process.wait(TIMEOUT_S)

    def alone() -> bool:
        # Those whose command was killed are ours now.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return processes_of(pid) == {pid}

    until(alone, "the end of the others")
    assert runtime.call("exec", "c", "true").returncode == 0
