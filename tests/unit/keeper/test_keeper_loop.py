"""The event loop: handlers, reused descriptor numbers, failing handlers, signals."""

import os
import select
import signal

import pytest

from uxc.keeper.loop import READ, Loop


class Failures(list[tuple[str, Exception]]):
    """What a loop has reported."""

    def __call__(self, where: str, error: Exception) -> None:
        """Note one report."""
        self.append((where, error))


def test_a_handler_is_called_when_its_descriptor_is_ready() -> None:
    """Watching calls back with the events; unwatching ends it."""
    loop, calls = Loop(Failures()), list[int]()
    reader, writer = os.pipe()
    loop.watch(reader, READ, calls.append)
    loop.turn(0)
    assert calls == []

    os.write(writer, b"x")
    loop.turn(0)
    loop.unwatch(reader)
    loop.turn(0)
    os.close(reader)
    os.close(writer)

    assert calls == [select.EPOLLIN]


def test_an_event_of_a_closed_descriptor_never_reaches_its_successor() -> None:
    """A number that was closed and given out again within one turn is somebody else's."""
    loop, calls = Loop(Failures()), list[str]()
    first, second = os.pipe(), os.pipe()
    new: list[int] = []

    def replace(own: int, other: int) -> None:
        """Close the other ready descriptor and open a quiet one under its number."""
        calls.append(f"old {own}")
        loop.unwatch(other)
        os.close(other)
        reader, writer = os.pipe()
        assert reader == other, "the kernel gives the lowest free number"
        new.append(writer)
        loop.watch(other, READ, lambda _: calls.append("new"))

    loop.watch(first[0], READ, lambda _: replace(first[0], second[0]))
    loop.watch(second[0], READ, lambda _: replace(second[0], first[0]))
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    loop.turn(0)

    assert len(calls) == 1
    assert calls[0].startswith("old")
    for fd in (*first, *second, *new):
        os.close(fd)


def test_a_failing_handler_is_reported_and_dropped() -> None:
    """An exception ends the watching of that descriptor only."""
    failures, calls = Failures(), list[int]()
    loop = Loop(failures)
    bad, good = os.pipe(), os.pipe()
    loop.watch(bad[0], READ, lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
    loop.watch(good[0], READ, calls.append)
    os.write(bad[1], b"x")
    os.write(good[1], b"x")
    loop.turn(0)
    loop.turn(0)
    for fd in (*bad, *good):
        os.close(fd)

    assert [type(error) for _, error in failures] == [ZeroDivisionError]
    assert len(calls) == 2


def test_a_signal_is_served_between_handlers() -> None:
    """Signals wake the loop; many of one kind before a turn count once."""
    loop, calls = Loop(Failures()), list[str]()
    before = signal.getsignal(signal.SIGUSR1)
    try:
        loop.on_signal(signal.SIGUSR1, lambda: calls.append("usr1"))
        for _ in range(3):
            signal.raise_signal(signal.SIGUSR1)
        loop.turn(1)
        loop.turn(0)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)

    assert calls == ["usr1"]


def test_stop_ends_run() -> None:
    """A handler ends the loop with stop."""
    loop = Loop(Failures())
    reader, writer = os.pipe()
    loop.watch(reader, READ, lambda _: loop.stop())
    os.write(writer, b"x")

    loop.run()

    os.close(reader)
    os.close(writer)


def test_watching_a_closed_descriptor_is_an_error() -> None:
    """A wrong number raises at once and is not remembered."""
    loop = Loop(Failures())
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.watch(reader, READ, lambda _: None)

    loop.unwatch(reader)
