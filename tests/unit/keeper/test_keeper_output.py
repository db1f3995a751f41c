"""The FIFOs of a container without terminal."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from uxc.keeper import output
from uxc.keeper.loop import Loop
from uxc.keeper.output import Output
from uxc.keeper.ring import Pool
from uxc.keeper.viewers import Audience


def fail(where: str, error: Exception) -> None:
    """Let an error in a handler fail the test."""
    raise AssertionError(where) from error


class Stage:
    """FIFOs, the container's ends of them, and a keeper's that can die and come back."""

    def __init__(self, directory: str) -> None:
        """Make the FIFOs and open the container's ends."""
        self.directory = directory
        output.make(directory)
        self.stdout, self.stderr = output.open_writers(directory)
        self.begin()

    def begin(self) -> None:
        """Be a keeper that starts."""
        self.loop = Loop(fail)
        self.ring = Pool().ring()
        self.output = Output(self.loop, Audience(self.loop, self.ring), self.directory)

    def seen(self) -> list[tuple[bytes, bytes]]:
        """Return everything in the ring with its stream."""
        cursor, found = self.ring.start(), []
        while (piece := self.ring.read(cursor, 1 << 20))[1]:
            self.ring.advance(cursor, len(piece[1]))
            found.append(piece)
        return found


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Give a stage and close what is left of it."""
    stage = Stage(f"{tmp_path}/run/web")
    yield stage
    stage.output.close()
    os.close(stage.stdout)
    os.close(stage.stderr)


def test_both_streams_are_read(stage: Stage) -> None:
    """Output keeps its stream's tag."""
    os.write(stage.stdout, b"out")
    stage.loop.turn(0)
    os.write(stage.stderr, b"err")
    stage.loop.turn(0)

    assert stage.seen() == [(b"o", b"out"), (b"e", b"err")]


def test_a_writer_survives_the_keeper(stage: Stage) -> None:
    """Without a reader writing goes on, and the next keeper reads what was written meanwhile."""
    stage.output.close()
    os.write(stage.stdout, b"nobody listens")
    stage.begin()
    stage.output.drain()

    assert stage.seen() == [(b"o", b"nobody listens")]


def test_the_container_may_open_its_output_by_name_as_anybody(stage: Stage) -> None:
    """/dev/stdout leads to the FIFO, whose mode lets every user of the container write."""
    mode = os.fstat(stage.stdout).st_mode

    assert stat.S_ISFIFO(mode)
    assert stat.S_IMODE(mode) == 0o622
    assert stat.S_IMODE(os.stat(stage.directory).st_mode) == 0o700


def test_the_containers_end_blocks(stage: Stage) -> None:
    """The keeper's non-blocking mode is not the container's."""
    assert os.get_blocking(stage.stdout)


def test_draining_ends_even_while_somebody_writes(stage: Stage) -> None:
    """A process that outlives its container and prints for ever does not hold the keeper."""
    os.set_blocking(stage.stdout, False)
    append = stage.output._audience.append

    class Busy:
        """Write again whenever something was read."""

        def append(self, stream: bytes, data: bytes) -> None:
            """Keep it, and fill the pipe again."""
            append(stream, data)
            os.write(stage.stdout, b"x" * 4096)

    os.write(stage.stdout, b"first")
    stage.output._audience = Busy()  # type: ignore[assignment]
    stage.output.drain()

    assert stage.ring.size_bytes > 4096


def test_removing_leaves_nothing_and_may_be_repeated(stage: Stage) -> None:
    """FIFOs and directory go; missing ones are fine."""
    output.remove(stage.directory)
    output.remove(stage.directory)

    assert not os.path.exists(stage.directory)


def test_leftovers_of_an_earlier_container_are_replaced(stage: Stage) -> None:
    """A new container never gets the FIFO that an old one may still hold."""
    before = os.stat(f"{stage.directory}/stdout").st_ino
    output.make(stage.directory)

    assert os.stat(f"{stage.directory}/stdout").st_ino != before
