"""The event loop and its trampoline, with real pipes and a clock of the test's own."""

import os
import signal
from collections.abc import Iterator

import pytest

from uxc.manager.loop import READ, Cancelled, Future, Lock, Locks, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Give a loop that is closed afterwards."""
    made = Loop()
    yield made
    made.close()


def test_a_coroutine_returns_what_it_awaited(loop: Loop) -> None:
    """Results and errors travel through futures and tasks."""
    future: Future[int] = Future(loop)

    async def inner() -> int:
        return await future + 1

    async def outer() -> int:
        return await loop.spawn(inner(), "inner") + 1

    loop.call_soon(lambda: future.set_result(40))

    assert loop.run_until(outer()) == 42


def test_an_error_reaches_who_awaits(loop: Loop) -> None:
    """An exception in a task is raised in the one that waits for it."""

    async def fails() -> None:
        raise KeyError("x")

    async def waits() -> None:
        await loop.spawn(fails(), "fails")

    with pytest.raises(KeyError):
        loop.run_until(waits())


def test_an_error_that_nobody_awaits_is_logged(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """A background task does not fail in silence, and the loop goes on."""

    async def fails() -> None:
        raise KeyError("x")

    loop.spawn(fails(), "the chore")
    loop.run_until(loop.sleep(0))

    assert "the chore failed" in caplog.text


def test_sleep_takes_its_time_and_timers_keep_their_order(loop: Loop) -> None:
    """Timers fire in the order of their times; a cancelled one does not."""
    seen: list[int] = []
    loop.call_later(0.02, lambda: seen.append(2))
    loop.call_later(0.01, lambda: seen.append(1))
    loop.call_later(0.015, lambda: seen.append(9)).cancel()

    loop.run_until(loop.sleep(0.03))

    assert seen == [1, 2]


def test_within_gives_up_and_lets_it_go_on(loop: Loop) -> None:
    """TimeoutError after the limit; what was waited for is not ended by that."""
    future: Future[str] = Future(loop)

    async def wait() -> str:
        with pytest.raises(TimeoutError):
            await loop.within(0.01, future)
        loop.call_soon(lambda: future.set_result("late"))
        return await loop.within(5, future)

    assert loop.run_until(wait()) == "late"


def test_cancel_raises_where_the_coroutine_waits(loop: Loop) -> None:
    """It can clean up, even by waiting again, and is done then."""
    seen: list[str] = []

    async def waits() -> None:
        try:
            await loop.future()
        except Cancelled:
            await loop.sleep(0)
            seen.append("cleaned up")
            raise

    task = loop.spawn(waits(), "waits")

    async def cancel() -> None:
        await loop.sleep(0)
        task.cancel()
        task.cancel()
        with pytest.raises(Cancelled):
            await task

    loop.run_until(cancel())

    assert seen == ["cleaned up"]


def test_cancel_after_the_result_came_counts_once(loop: Loop) -> None:
    """A task that is about to go on is stepped once, not twice."""
    future: Future[None] = Future(loop)
    other: Future[None] = Future(loop)
    steps: list[str] = []

    async def waits() -> None:
        try:
            await future
        except Cancelled:
            steps.append("cancelled")
            await other
            steps.append("went on")

    task = loop.spawn(waits(), "waits")

    async def act() -> None:
        await loop.sleep(0)
        future.set_result(None)
        task.cancel()
        await loop.sleep(0.01)
        assert steps == ["cancelled"]
        other.set_result(None)
        await task

    loop.run_until(act())

    assert steps == ["cancelled", "went on"]


def test_files_wake_their_watcher(loop: Loop) -> None:
    """A callback gets the events of its own descriptor."""
    reader, writer = os.pipe()
    seen: list[bytes] = []
    done: Future[None] = Future(loop)

    def on_event(_events: int) -> None:
        seen.append(os.read(reader, 10))
        done.set_result(None)

    loop.watch(reader, READ, on_event)
    os.write(writer, b"x")
    loop.run_until(done)
    loop.unwatch(reader)
    os.close(reader)
    os.close(writer)

    assert seen == [b"x"]


def test_an_event_of_a_closed_file_reaches_nobody(loop: Loop) -> None:
    """A number that was given to a new file in the same round keeps the old event to itself."""
    first, second = os.pipe(), os.pipe()
    calls: list[str] = []
    done: Future[None] = Future(loop)

    def replace(_events: int) -> None:
        calls.append("first")
        for reader in (first[0], second[0]):
            loop.unwatch(reader)
        number = second[0]
        os.close(number)
        fresh = os.pipe()
        assert number in fresh
        loop.watch(fresh[0], READ, lambda _events: calls.append("wrong"))
        done.set_result(None)

    loop.watch(first[0], READ, replace)
    loop.watch(second[0], READ, replace)
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    loop.run_until(done)

    assert calls == ["first"]


def test_a_failing_callback_does_not_end_the_loop(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback."""
    loop.call_soon(lambda: [].pop())

    loop.run_until(loop.sleep(0))

    assert "IndexError" in caplog.text


def test_signals_are_handled_in_the_loop(loop: Loop) -> None:
    """The handler runs as an ordinary callback."""
    done: Future[str] = Future(loop)
    loop.on_signal(signal.SIGUSR1, lambda: done.set_result("USR1"))
    signal.raise_signal(signal.SIGUSR1)

    async def wait() -> str:
        return await done

    assert loop.run_until(wait()) == "USR1"


def test_a_lock_goes_to_who_asked_first(loop: Loop) -> None:
    """Holders follow each other in the order of their asking; a cancelled one is passed over."""
    lock = Lock(loop)
    order: list[int] = []

    async def hold(number: int) -> None:
        async with lock:
            await loop.sleep(0)
            order.append(number)

    async def run() -> None:
        tasks = [loop.spawn(hold(number), str(number)) for number in range(4)]
        await loop.sleep(0)
        tasks[2].cancel()
        for number in (0, 1, 3):
            await tasks[number]

    loop.run_until(run())

    assert order == [0, 1, 3]
    assert lock.idle


def test_locks_are_kept_by_name_while_they_are_used(loop: Loop) -> None:
    """Another name is another lock."""
    locks = Locks(loop)

    async def run() -> None:
        async with locks.of("a"):
            assert locks.busy("a")
            assert not locks.busy("b")
            async with locks.of("b"):
                assert locks.of("a") is locks.of("a")
        assert not locks.busy("a")

    loop.run_until(run())
