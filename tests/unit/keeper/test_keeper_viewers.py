"""Viewers' sockets: replay, many viewers, slow and broken ones, input, the end."""

import os
import socket
from collections.abc import Iterator

import pytest

from uxc.errors import InvalidError
from uxc.keeper.loop import Loop
from uxc.keeper.ring import Pool
from uxc.keeper.viewers import Audience, parse_window


def fail(where: str, error: Exception) -> None:
    """Let an error in a handler fail the test."""
    raise AssertionError(where) from error


class Stage:
    """An audience, its loop, and the far ends of viewers."""

    def __init__(self) -> None:
        """Begin empty."""
        self.loop = Loop(fail)
        self.audience = Audience(self.loop, Pool().ring())
        self.ends: list[socket.socket] = []

    def viewer(self, read_only: bool = False) -> socket.socket:
        """Attach one more viewer and return its end."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here.setblocking(False)
        self.ends.append(here)
        self.audience.attach(there.detach(), read_only)
        return here

    def turn(self) -> None:
        """Serve everything that is ready."""
        for _ in range(8):
            self.loop.turn(0)


def packets(end: socket.socket) -> list[bytes]:
    """Return every packet that waits on ``end``; an empty one for the end of the stream."""
    found = []
    while True:
        try:
            found.append(end.recv(1 << 17))
        except BlockingIOError:
            return found
        if not found[-1]:
            return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Give a stage and close what is left of it."""
    stage = Stage()
    yield stage
    for end in stage.ends:
        end.close()
    stage.audience.close()


def test_a_late_viewer_sees_what_was_printed_and_what_comes(stage: Stage) -> None:
    """Everything kept is replayed to whoever attaches, before what is new."""
    stage.audience.append(b"o", b"boot\r\n")
    end = stage.viewer()
    stage.audience.append(b"o", b"login: ")

    assert packets(end) == [b"oboot\r\n", b"ologin: "]


def test_every_viewer_sees_everything(stage: Stage) -> None:
    """Two viewers get the same bytes; stderr has a tag of its own."""
    first, second = stage.viewer(), stage.viewer(read_only=True)
    stage.audience.append(b"o", b"out")
    stage.audience.append(b"e", b"err")

    assert packets(first) == packets(second) == [b"oout", b"eerr"]


def test_a_slow_viewer_skips_and_holds_nobody_up(stage: Stage) -> None:
    """Who does not read loses the middle, keeps the end, and others lose nothing."""
    slow, quick = stage.viewer(), stage.viewer()
    seen = b""
    for number in range(4000):
        stage.audience.append(b"o", b"%07d\n" % number * 100)
        seen += b"".join(packet[1:] for packet in packets(quick))
    stage.turn()
    late = b""
    while more := packets(slow):
        late += b"".join(packet[1:] for packet in more)
        stage.turn()

    assert seen == b"".join(b"%07d\n" % number * 100 for number in range(4000))
    assert len(late) < len(seen)
    assert late.endswith(b"0003999\n")
    assert late.startswith(b"0000000\n")


def test_a_viewer_that_is_gone_is_forgotten(stage: Stage) -> None:
    """A closed viewer costs nothing more, and the others go on."""
    gone, left = stage.viewer(), stage.viewer()
    before = len(os.listdir("/proc/self/fd"))
    gone.close()
    stage.turn()
    stage.audience.append(b"o", b"x")

    assert len(os.listdir("/proc/self/fd")) == before - 2
    assert packets(left) == [b"ox"]


def test_input_and_window_size_reach_the_terminal(stage: Stage) -> None:
    """Packets i and w are passed on; damaged and unknown ones are ignored."""
    typed: list[bytes] = []
    sizes: list[tuple[int, int]] = []
    stage.audience.on_input = typed.append
    stage.audience.on_window = lambda rows, columns: sizes.append((rows, columns))
    end = stage.viewer()
    for packet in (b"ils\n", b"w40 120", b"w40", b"w-1 5", b"w70000 5", b"w1 2 3", b"?", b"i"):
        end.send(packet)
    stage.turn()

    assert typed == [b"ls\n", b""]
    assert sizes == [(40, 120)]


def test_a_read_only_viewer_cannot_type(stage: Stage) -> None:
    """What a read-only viewer sends is read and dropped."""
    typed: list[bytes] = []
    stage.audience.on_input = typed.append
    end = stage.viewer(read_only=True)
    end.send(b"irm -rf /\n")
    end.send(b"w1 1")
    stage.turn()

    assert typed == []


def test_a_viewer_may_stop_sending_and_go_on_watching(stage: Stage) -> None:
    """Shutting the writing side down is not the end of the viewer."""
    end = stage.viewer()
    end.shutdown(socket.SHUT_WR)
    stage.turn()
    stage.audience.append(b"o", b"still")

    assert packets(end) == [b"ostill"]


def test_paused_input_waits_in_the_socket(stage: Stage) -> None:
    """While the terminal takes nothing, viewers' packets are not read, and not lost."""
    typed: list[bytes] = []
    stage.audience.on_input = typed.append
    end = stage.viewer()
    stage.audience.pause_input(True)
    end.send(b"iwait")
    stage.turn()
    assert typed == []

    stage.audience.pause_input(False)
    stage.turn()

    assert typed == [b"wait"]


def test_the_exit_code_is_the_last_packet_for_early_and_late_viewers(stage: Stage) -> None:
    """Who attaches after the end gets the output and the exit code, like those before."""
    early = stage.viewer()
    stage.audience.append(b"o", b"bye")
    stage.audience.end(3)
    late = stage.viewer()

    assert packets(early) == packets(late) == [b"obye", b"x3", b""]


def test_an_unknown_exit_code_is_an_empty_one(stage: Stage) -> None:
    """Where nobody saw the end, the packet has no digits."""
    end = stage.viewer()
    stage.audience.end(None)

    assert packets(end) == [b"x", b""]


def test_a_viewer_must_be_a_packet_socket(stage: Stage) -> None:
    """Pipes and streams are refused and closed."""
    before = len(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe()
    with pytest.raises(InvalidError, match="must be a socket"):
        stage.audience.attach(writer, False)
    here, there = socket.socketpair()
    with pytest.raises(InvalidError, match="SOCK_SEQPACKET"):
        stage.audience.attach(there.detach(), False)
    os.close(reader)
    here.close()

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"24 80", (24, 80)),
        (b"65535 1", (65535, 1)),
        (b"65536 1", None),
        (b"", None),
        (b"a b", None),
    ],
)
def test_window_sizes_are_checked(content: bytes, size: tuple[int, int] | None) -> None:
    """Only two numbers that fit the kernel's structure are a size."""
    assert parse_window(content) == size
