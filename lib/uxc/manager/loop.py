"""The manager's event loop: fds, timers, signals, and the trampoline that drives coroutines.

Not asyncio: it costs 7 MiB and 40 ms, and pyroute2's synchronous interface refuses to run inside
its loop. All that the manager waits for are fds and the clock, so this much is enough.
"""

import heapq
import itertools
import logging
import os
import select
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
PRIORITY = select.EPOLLPRI | select.EPOLLERR


class Cancelled(BaseException):
    """Raised inside a coroutine whose task was cancelled: clean up and let it pass."""


class Future(Generic[T]):
    """A result that is not there yet; ``await`` it. Its waiters run on the loop's next round."""

    def __init__(self, loop: "Loop") -> None:
        """Make a pending future whose callbacks ``loop`` will run."""
        self._loop = loop
        self._callbacks: list[Callable[[], None]] = []
        self._done = False
        self._result: T | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._done

    @property
    def error(self) -> BaseException | None:
        """The error that ended it, if one did."""
        return self._error

    def result(self) -> T:
        """Return the result, or raise the error; only when ``done``."""
        assert self._done, "the result is not there yet"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # T may itself be None

    def set_result(self, result: T) -> None:
        """Give the result; a second result or error is ignored (the waiter may have given up)."""
        if not self._done:
            self._result = result
            self._finish()

    def set_error(self, error: BaseException) -> None:
        """Give the error that ``await`` shall raise."""
        if not self._done:
            self._error = error
            self._finish()

    def on_done(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` on the loop once the future is done."""
        if self._done:
            self._loop.call_soon(callback)
        else:
            self._callbacks.append(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Take back an ``on_done`` whose callback has not been scheduled."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def _finish(self) -> None:
        self._done = True
        for callback in self._callbacks:
            self._loop.call_soon(callback)
        self._callbacks.clear()

    def __await__(self) -> "Generator[Future[Any], None, T]":
        """Suspend the awaiting task until the future is done."""
        while not self._done:
            yield self
        return self.result()


class Task(Future[T]):
    """A coroutine that the loop drives; also the future of what it returns."""

    def __init__(self, loop: "Loop", coroutine: Coroutine[Any, Any, T], name: str) -> None:
        """Schedule the first step of ``coroutine``; ``name`` is for log lines."""
        super().__init__(loop)
        self.name = name
        self._coroutine = coroutine
        self._waits_for: Future[Any] | None = None
        self._cancelled = False
        loop.tasks.add(self)
        loop.call_soon(self._step)

    def cancel(self) -> None:
        """Raise ``Cancelled`` at the point where the coroutine waits; harmless when it is done."""
        if self._done or self._cancelled:
            return
        self._cancelled = True
        if self._waits_for is not None and not self._waits_for.done:
            # When it is done, the next step is queued already; a second one would come too many.
            self._waits_for.forget(self._step)
            self._waits_for = None
            self._loop.call_soon(self._step)

    def _finish(self) -> None:
        self._loop.tasks.discard(self)
        super()._finish()

    def _step(self) -> None:
        if self._done:
            return
        self._waits_for = None
        try:
            if self._cancelled:
                self._cancelled = False
                waits_for = self._coroutine.throw(Cancelled())
            else:
                waits_for = self._coroutine.send(None)
        except StopIteration as stop:
            self.set_result(stop.value)
        except (Exception, Cancelled) as error:
            unseen = not self._callbacks and not isinstance(error, Cancelled)
            self.set_error(error)
            if unseen:
                log.error("%s failed: %s", self.name, error, exc_info=error)
        else:
            self._waits_for = waits_for
            waits_for.on_done(self._step)
            if self._cancelled:
                # Cancelled by itself, or by what it called, before it came to wait.
                self._waits_for = None
                waits_for.forget(self._step)
                self._loop.call_soon(self._step)


class Timer:
    """A call at a later time; ``cancel`` takes it back."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        """Keep what to call and when, on the monotonic clock."""
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the callback is not called any more."""
        self.callback = None


class _Watch:
    __slots__ = ("active", "callback")

    def __init__(self, callback: Callable[[int], None]) -> None:
        self.callback = callback
        self.active = True


class Loop:
    """One epoll set, one heap of timers, one queue of ready calls; single-threaded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the epoll set; ``clock`` counts seconds and never jumps."""
        self.clock = clock
        # Those that are not done.
        self.tasks: set[Task[Any]] = set()
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False
        self._signals: dict[int, Callable[[], None]] = {}
        self._wakeup: tuple[int, int] | None = None

    # Each watch object is new, so that an event which the kernel reported for a closed fd never
    # reaches the owner of a new fd with the same number.
    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(events)`` whenever ``fd`` is ready; OSError as epoll_ctl(2)."""
        self._epoll.register(fd, events)
        self._watches[fd] = _Watch(callback)

    def rewatch(self, fd: int, events: int) -> None:
        """Change the events that are waited for on a watched ``fd``."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching ``fd``; call it before closing."""
        watch = self._watches.pop(fd, None)
        if watch is not None:
            watch.active = False
            self._epoll.unregister(fd)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` after what is running now."""
        self._ready.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` after ``delay_s`` seconds."""
        timer = Timer(self.clock() + delay_s, callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Drive ``coroutine`` beside the others; its error is logged when nobody awaits it."""
        return Task(self, coroutine, name)

    def future(self) -> Future[Any]:
        """Make a future that somebody else completes."""
        return Future(self)

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds."""
        future: Future[None] = Future(self)
        timer = self.call_later(delay_s, lambda: future.set_result(None))
        try:
            await future
        finally:
            timer.cancel()

    async def within(self, limit_s: float, awaitable: Future[T]) -> T:
        """Wait for ``awaitable`` at most ``limit_s`` seconds, else TimeoutError; it goes on."""
        both: Future[None] = Future(self)
        timer = self.call_later(limit_s, lambda: both.set_result(None))

        def wake() -> None:
            both.set_result(None)

        awaitable.on_done(wake)
        try:
            await both
        finally:
            timer.cancel()
            awaitable.forget(wake)
        if not awaitable.done:
            raise TimeoutError
        return awaitable.result()

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Run ``callback`` on the loop when signal ``number`` arrives."""
        if self._wakeup is None:
            self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
            self.watch(self._wakeup[0], READ, self._drain_signals)
        self._signals[number] = callback
        signal.signal(number, lambda *_: None)

    def _drain_signals(self, _events: int) -> None:
        assert self._wakeup is not None
        for number in os.read(self._wakeup[0], 512):
            if number in self._signals:
                self._signals[number]()

    def stop(self) -> None:
        """Let ``run`` return after this round."""
        self._running = False

    def run(self) -> None:
        """Serve until ``stop``; a failing callback is logged and the loop goes on."""
        self._running = True
        while self._running:
            self._run_ready()
            self._run_events(self._wait_s() if self._running else 0)
            self._run_timers()

    def run_until(self, awaitable: Awaitable[T]) -> T:
        """Serve until ``awaitable`` is done; return its result or raise its error."""

        async def wait() -> T:
            return await awaitable

        task = self.spawn(wait(), "main")
        task.on_done(self.stop)
        self.run()
        return task.result()

    def close(self) -> None:
        """Close the epoll set and give signal handling back."""
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for number in self._signals:
                signal.signal(number, signal.SIG_DFL)
            for fd in self._wakeup:
                os.close(fd)
            self._wakeup = None
        self._epoll.close()

    def _run_ready(self) -> None:
        # Only what is queued now: a callback that queues itself again must not starve the fds.
        for _ in range(len(self._ready)):
            self._guarded(self._ready.popleft())

    def _wait_s(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if self._ready:
            return 0
        if not self._timers:
            return -1
        return max(0.0, self._timers[0][0] - self.clock())

    def _run_events(self, wait_s: float) -> None:
        events = self._epoll.poll(wait_s)
        # Looked up before anything runs: a callback may close fds and open others.
        batch = [(self._watches[fd], mask) for fd, mask in events if fd in self._watches]
        for watch, mask in batch:
            if watch.active:
                try:
                    watch.callback(mask)
                except Exception:
                    log.exception("a handler of file events failed")

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                self._guarded(timer.callback)

    @staticmethod
    def _guarded(callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            log.exception("a call from the loop failed")


class Lock:
    """A mutual exclusion for coroutines; whoever asked first gets it first."""

    def __init__(self, loop: Loop) -> None:
        """Make a lock that is free."""
        self._loop = loop
        self._held = False
        self._waiting: deque[Future[None]] = deque()

    @property
    def idle(self) -> bool:
        """Whether nobody holds it or waits for it."""
        return not self._held and not self._waiting

    async def __aenter__(self) -> None:
        """Wait for the lock and take it."""
        if not self._held and not self._waiting:
            self._held = True
            return
        turn: Future[None] = Future(self._loop)
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done:
                self._pass_on()
            else:
                self._waiting.remove(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        """Give the lock to the next one in line."""
        self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._held = True
            self._waiting.popleft().set_result(None)
        else:
            self._held = False


class Locks:
    """One lock per name, made on demand and dropped when nobody uses it."""

    def __init__(self, loop: Loop) -> None:
        """Begin with no lock."""
        self._loop = loop
        self._locks: dict[str, Lock] = {}

    def busy(self, name: str) -> bool:
        """Whether an operation on ``name`` is going on."""
        return name in self._locks and not self._locks[name].idle

    def of(self, name: str) -> Lock:
        """Return the lock of ``name``; two operations on one container queue on it."""
        lock = self._locks.get(name)
        if lock is None:
            for other in [key for key, old in self._locks.items() if old.idle]:
                del self._locks[other]
            lock = self._locks[name] = Lock(self._loop)
        return lock
