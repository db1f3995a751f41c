"""The user's end of a console on a terminal of its own; the test is the keeper."""

import os
import pty
import select
import signal
import socket
import termios
import time
import traceback
from collections.abc import Callable, Iterator
from fcntl import ioctl

import pytest

from uxc.cli import console
from uxc.errors import UxcError
from uxc.linux.pty import set_size

PATIENCE_S = 10.0
DETACHED = 77


class User:
    """A client on a terminal; the test is the keeper, and the person who types."""

    def __init__(self, keys: bytes = b"\x02", interactive: bool = True) -> None:
        """Fork the client; it exits with the container's code, or ``DETACHED``."""
        self.viewer, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.viewer.settimeout(PATIENCE_S)
        self.keyboard, self.terminal = pty.openpty()
        set_size(self.terminal, 24, 80)
        self.before = termios.tcgetattr(self.terminal)

        def run() -> int | None:
            self.viewer.close()
            return console.run(there.detach(), keys, interactive)

        self.pid = _fork(run, (self.terminal,) * 3)
        there.close()

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.keyboard, keys)

    def screen(self, until: bytes) -> bytes:
        """Read the screen until ``until`` appears."""
        seen = b""
        deadline = time.monotonic() + PATIENCE_S
        while until not in seen:
            ready, _, _ = select.select([self.keyboard], [], [], deadline - time.monotonic())
            assert ready, f"saw only {seen!r}"
            seen += os.read(self.keyboard, 4096)
        return seen

    def packet(self) -> bytes:
        """Return the next packet that the client sent; empty when it hung up."""
        return self.viewer.recv(1 << 17)

    def wait(self) -> int:
        """Wait for the client's end; return its exit code, minus the signal that ended it."""
        self.screen_rest()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def screen_rest(self) -> None:
        """Let the client print, so that it can end."""
        os.set_blocking(self.keyboard, False)
        try:
            os.read(self.keyboard, 1 << 16)
        except BlockingIOError:
            return

    def is_raw(self) -> bool:
        """Tell whether the terminal passes keys on unchanged."""
        local = termios.tcgetattr(self.terminal)[3]
        return not local & (termios.ICANON | termios.ECHO | termios.ISIG)

    def close(self) -> None:
        """Close the test's ends."""
        self.viewer.close()
        os.close(self.keyboard)
        os.close(self.terminal)


def _fork(task: Callable[[], int | None], streams: tuple[int, int, int]) -> int:
    """Run ``task`` in a child with these standard streams; its exit code is the result."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        if os.isatty(0):
            ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        result = task()
        code = DETACHED if result is None else result
    except UxcError as error:
        os.write(2, error.message.encode())
        code = 98
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


@pytest.fixture
def user() -> Iterator[User]:
    """Give a user whose client has gone to raw mode and told its size."""
    user = User()
    assert user.packet() == b"w24 80"
    yield user
    user.close()


def test_keys_and_output_pass_through(user: User) -> None:
    """In raw mode, with every key as it is."""
    assert user.is_raw()
    user.viewer.send(b"ologin: ")
    assert user.screen(until=b"login: ") == b"login: "
    for keys in (b"root\r", b"\x03", b"\x04", b"\x1a", b"\x1b[A", "ä".encode()):
        user.type(keys)
        assert user.packet() == b"i" + keys
    user.viewer.send(b"x0")

    assert user.wait() == 0


def test_nothing_is_changed_in_what_the_container_prints(user: User) -> None:
    """A bare line feed stays one: the container's own terminal has made the line ends."""
    user.viewer.send(b"oa\nb\r\nc")

    assert user.screen(until=b"c") == b"a\nb\r\nc"
    user.viewer.send(b"x0")
    user.wait()


def test_the_exit_code_is_returned_and_the_terminal_restored(user: User) -> None:
    """The end of the container ends the client."""
    user.viewer.send(b"obye")
    user.viewer.send(b"x42")

    assert user.wait() == 42
    assert termios.tcgetattr(user.terminal) == user.before


def test_an_unknown_exit_code_is_not_success(user: User) -> None:
    """Nobody knows how it ended: the client does not say 0."""
    user.viewer.send(b"x")

    assert user.wait() == console.UNKNOWN_EXIT_CODE


def test_the_detach_key_leaves(user: User) -> None:
    """What was typed before is passed on, the key itself is not, the terminal is restored."""
    user.type(b"date\r\x02more")

    assert user.wait() == DETACHED
    assert user.packet() == b"idate\r"
    assert user.packet() == b""
    assert termios.tcgetattr(user.terminal) == user.before


def test_other_detach_keys() -> None:
    """A sequence, typed key by key; the default key is then a key like any other."""
    user = User(keys=console.parse_keys("ctrl-p,ctrl-q"))
    user.packet()
    user.type(b"\x02")
    assert user.packet() == b"i\x02"
    user.type(b"\x10")
    user.type(b"x")
    assert user.packet() == b"i\x10x"
    user.type(b"\x10")
    time.sleep(0.05)
    user.type(b"\x11")

    assert user.wait() == DETACHED
    user.close()


def test_a_new_window_size_is_told(user: User) -> None:
    """SIGWINCH sends the size."""
    set_size(user.terminal, 50, 132)
    os.kill(user.pid, signal.SIGWINCH)
    assert user.packet() == b"w50 132"
    user.viewer.send(b"x0")

    assert user.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_the_client_and_restores_the_terminal(user: User, number: int) -> None:
    """The client dies of the signal, as everybody expects, but not before the terminal is right."""
    os.kill(user.pid, number)

    assert user.wait() == -number
    assert termios.tcgetattr(user.terminal) == user.before


def test_a_lost_connection_is_an_error(user: User) -> None:
    """A keeper that dies is not the end of the container: the client says what happened."""
    user.viewer.close()

    assert b"was lost" in user.screen(until=b"lost")
    assert user.wait() == 98
    assert termios.tcgetattr(user.terminal) == user.before


def test_last_words_arrive_although_keys_were_not_read(user: User) -> None:
    """The keeper may close with keys unread in the socket, which resets the connection."""
    user.type(b"x")
    time.sleep(0.1)
    user.viewer.send(b"olast words")
    user.viewer.send(b"x5")
    user.viewer.close()

    assert b"last words" in user.screen(until=b"words")
    assert user.wait() == 5


def test_much_input_waits_and_output_goes_on(user: User) -> None:
    """While the keeper takes no input the client still shows output, and loses no key."""
    typed = b""
    os.set_blocking(user.keyboard, False)
    for number in range(400):
        piece = b"%05d " % number * 150
        try:
            typed += piece[: os.write(user.keyboard, piece)]
        except BlockingIOError:
            time.sleep(0.005)
    os.set_blocking(user.keyboard, True)
    user.viewer.send(b"ostill alive")
    assert b"still alive" in user.screen(until=b"alive")

    got = b""
    while len(got) < len(typed):
        got += user.packet()[1:]
    assert got == typed
    user.viewer.send(b"x0")
    assert user.wait() == 0


def test_watching_only_sends_nothing() -> None:
    """Without input the terminal stays as it is, and Ctrl-C ends the client."""
    user = User(interactive=False)
    user.viewer.send(b"oline\n")
    assert b"line\r\n" in user.screen(until=b"line\r\n")
    assert not user.is_raw()
    user.type(b"\x03")

    assert user.wait() == -signal.SIGINT
    assert user.packet() == b""
    user.close()


class Piped:
    """A client whose input and output are pipes."""

    def __init__(self) -> None:
        """Fork the client."""
        self.viewer, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.viewer.settimeout(PATIENCE_S)
        self.stdin, self.stdout, self.stderr = os.pipe(), os.pipe(), os.pipe()
        self.pid = _fork(self._run(there), (self.stdin[0], self.stdout[1], self.stderr[1]))
        there.close()
        for fd in (self.stdin[0], self.stdout[1], self.stderr[1]):
            os.close(fd)

    def _run(self, there: socket.socket) -> Callable[[], int | None]:
        def run() -> int | None:
            for fd in (self.stdin[1], self.stdout[0], self.stderr[0]):
                os.close(fd)
            self.viewer.close()
            return console.run(there.detach(), b"\x02", True)

        return run

    def output(self, fd: int) -> bytes:
        """Read everything that comes out of a pipe."""
        with open(fd, "rb") as pipe:
            return pipe.read()


def test_a_pipe_is_passed_on_and_its_end_ends_only_the_input() -> None:
    """Bytes of a file are no keys; after its end the container's output still comes."""
    piped = Piped()
    os.write(piped.stdin[1], b"a\x02b\n")
    assert piped.viewer.recv(100) == b"ia\x02b\n"
    os.close(piped.stdin[1])
    time.sleep(0.1)
    piped.viewer.send(b"oresult\n")
    piped.viewer.send(b"ewarning\n")
    piped.viewer.send(b"?from the future")
    piped.viewer.send(b"x7")
    piped.viewer.close()

    assert os.waitstatus_to_exitcode(os.waitpid(piped.pid, 0)[1]) == 7
    assert piped.output(piped.stdout[0]) == b"result\n"
    assert piped.output(piped.stderr[0]) == b"warning\n"


def test_a_program_behind_the_pipe_may_end_first() -> None:
    """``uxc attach web | head``: the client ends without a traceback when nobody reads."""
    piped = Piped()
    os.close(piped.stdout[0])
    piped.viewer.send(b"oresult\n")

    assert os.waitstatus_to_exitcode(os.waitpid(piped.pid, 0)[1]) == DETACHED
    assert piped.output(piped.stderr[0]) == b""
    os.close(piped.stdin[1])
    piped.viewer.close()
