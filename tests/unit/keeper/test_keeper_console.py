"""The keeper's end of a terminal: output, input that waits, hang-ups, the size."""

import errno
import os
import socket
import termios
import time
from collections.abc import Iterator

import pytest

from uxc.keeper.console import Console
from uxc.keeper.loop import Loop
from uxc.keeper.ring import Pool
from uxc.keeper.viewers import Audience
from uxc.linux import pty


def fail(where: str, error: Exception) -> None:
    """Let an error in a handler fail the test."""
    raise AssertionError(where) from error


class Stage:
    """A terminal whose master end a console has, and one viewer."""

    def __init__(self) -> None:
        """Open the terminal; its other end is ``peer``, in raw mode."""
        self.loop = Loop(fail)
        self.audience = Audience(self.loop, Pool().ring())
        master, self.peer = os.openpty()
        mode = termios.tcgetattr(self.peer)
        mode[0], mode[1], mode[3] = 0, 0, 0
        termios.tcsetattr(self.peer, termios.TCSANOW, mode)
        self.name = os.ttyname(self.peer)
        self.console = Console(self.loop, self.audience, master)
        self.end, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.setblocking(False)
        self.audience.attach(there.detach(), False)

    def turns(self, count: int = 10) -> None:
        """Serve everything that is ready; a terminal passes bytes on a little later."""
        for _ in range(count):
            self.loop.turn(0.01)

    def seen(self) -> bytes:
        """Return what the viewer was shown."""
        parts = []
        while True:
            try:
                packet = self.end.recv(1 << 17)
            except BlockingIOError:
                return b"".join(parts)
            parts.append(packet[1:])


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Give a stage and close what is left of it."""
    stage = Stage()
    yield stage
    stage.console.close()
    stage.audience.close()
    stage.end.close()
    if stage.peer >= 0:
        os.close(stage.peer)


def test_output_reaches_the_viewer(stage: Stage) -> None:
    """What a program writes to its terminal is shown."""
    os.write(stage.peer, b"hello")
    stage.turns()

    assert stage.seen() == b"hello"


def test_what_is_typed_reaches_the_program(stage: Stage) -> None:
    """Input packets come out of the other end."""
    stage.end.send(b"iecho\r")
    stage.turns()

    assert os.read(stage.peer, 100) == b"echo\r"


def test_the_window_size_is_set(stage: Stage) -> None:
    """A size packet changes what the program sees."""
    stage.end.send(b"w50 132")
    stage.turns()

    assert pty.get_size(stage.peer) == (50, 132)


def test_input_that_nobody_reads_waits_and_is_not_lost(stage: Stage) -> None:
    """More than the terminal takes stays with the viewer until the program reads."""
    sent = 0
    text = bytes(range(256)) * 16
    while True:
        try:
            stage.end.send(b"i" + text)
        except BlockingIOError:
            break
        sent += len(text)
        stage.turns(1)
    assert sent > 8 * len(text), "more than a terminal takes"

    got = b""
    os.set_blocking(stage.peer, False)
    deadline = time.monotonic() + 20
    while len(got) < sent and time.monotonic() < deadline:
        try:
            got += os.read(stage.peer, 1 << 16)
        except BlockingIOError:
            stage.loop.turn(0.01)

    assert got == text * (sent // len(text))


def test_a_hang_up_is_not_the_end(stage: Stage) -> None:
    """An init closes its terminal, and opens it again by name: both halves are seen."""
    os.write(stage.peer, b"one ")
    os.close(stage.peer)
    stage.turns()
    stage.peer = os.open(stage.name, os.O_RDWR | os.O_NOCTTY)
    os.write(stage.peer, b"two")
    stage.turns()

    assert stage.seen() == b"one two"


def test_a_hang_up_does_not_make_the_loop_spin(stage: Stage) -> None:
    """While nobody has the terminal open the loop sleeps."""
    os.close(stage.peer)
    stage.peer = -1
    stage.turns()
    before = time.process_time()
    for _ in range(20):
        stage.loop.turn(0.02)

    assert time.process_time() - before < 0.1


def test_typing_at_a_hung_up_terminal_is_harmless(stage: Stage) -> None:
    """Input for nobody vanishes or waits for the next program; the loop goes on."""
    os.close(stage.peer)
    stage.peer = -1
    stage.turns()
    for _ in range(40):
        stage.end.send(b"i" + b"x" * 1000)
        stage.turns(1)
    stage.peer = os.open(stage.name, os.O_RDWR | os.O_NOCTTY)
    os.write(stage.peer, b"alive")
    stage.turns()

    assert stage.seen() == b"alive"


def test_the_last_words_are_drained(stage: Stage) -> None:
    """What was written just before the end is read before the master is closed."""
    os.write(stage.peer, b"last words")
    os.close(stage.peer)
    stage.peer = -1
    stage.console.drain()
    stage.console.close()

    assert stage.seen() == b"last words"


def test_closing_hangs_the_program_up(stage: Stage) -> None:
    """Once the keeper lets go, the terminal's users get the kernel's hang-up."""
    stage.console.close()

    assert os.read(stage.peer, 1) == b""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at below
        os.write(stage.peer, b"x")
    assert caught.value.errno == errno.EIO
