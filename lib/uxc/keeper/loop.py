"""The keeper's event loop: file descriptors and signals, one thread, no timers."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import errno
import posix
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
ERROR = select.EPOLLERR
HANGUP = select.EPOLLHUP
EDGE = select.EPOLLET


class Loop:
    """Call a handler when its descriptor is ready or its signal came.

    ``report(where, error)`` is told about an exception that left a handler. The descriptor is
    no longer watched then: it would be ready again at once, and the loop would spin.
    """

    __slots__ = ("_epoll", "_handlers", "_running", "_signals", "_turn", "_wakeup", "report")

    def __init__(self, report: Callable[[str, Exception], None]) -> None:
        """Make the epoll object and the pipe that signals wake it with; OSError as they raise."""
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self.report = report
        self._handlers: dict[int, tuple[Handler, int]] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        self._turn = 0
        self._running = False
        self._wakeup = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        self._epoll.register(self._wakeup[0], READ)

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call ``handler`` with the ready events whenever ``fd`` is ready for one of ``events``.

        EPOLLERR and EPOLLHUP are always among them (epoll_ctl(2)). Watching again replaces both.
        """
        known = self._handlers.get(fd)
        if known is None:
            self._epoll.register(fd, events)
            self._handlers[fd] = (handler, self._turn)
        else:
            self._epoll.modify(fd, events)
            self._handlers[fd] = (handler, known[1])

    def watches(self, fd: int) -> bool:
        """Tell whether ``fd`` is watched."""
        return fd in self._handlers

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``, watched or not; to be called before it is closed.

        The kernel drops a closed descriptor from epoll only with its last duplicate, and the next
        one to be opened gets the same number.
        """
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def on_signal(self, number: int, handler: Callable[[], None]) -> None:
        """Call ``handler`` in the loop, outside of any other handler, when the signal came."""
        self._signals[number] = handler
        _signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        # Without a handler in Python the interpreter does not write to the wake-up descriptor.
        _signal.signal(number, _ignore)

    def stop(self) -> None:
        """Make ``run`` return after the present turn."""
        self._running = False

    def run(self) -> None:
        """Serve until ``stop`` is called."""
        self._running = True
        while self._running:
            self.turn(-1)

    def turn(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` seconds (-1: for ever) and serve what is ready, once."""
        ready = self._epoll.poll(timeout_s)
        self._turn += 1
        for fd, events in ready:
            if fd == self._wakeup[0]:
                self._serve_signals()
                continue
            handler, since = self._handlers.get(fd, (None, 0))
            # A handler of this turn may have closed the descriptor, and another may have been
            # given its number: then the event is not meant for the one who watches it now.
            if handler is None or since == self._turn:
                continue
            try:
                handler(events)
            except Exception as error:
                self.report("a file descriptor's handler", error)
                self._drop(fd)

    def _drop(self, fd: int) -> None:
        try:
            self.unwatch(fd)
        except OSError:
            # EBADF: the handler closed it before it failed, and the kernel has forgotten it.
            return

    def _serve_signals(self) -> None:
        try:
            numbers = set(posix.read(self._wakeup[0], 4096))
        except BlockingIOError:
            return
        for number in numbers & self._signals.keys():
            try:
                self._signals[number]()
            except Exception as error:
                self.report("a signal's handler", error)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has told the loop already."""


def would_block(error: OSError) -> bool:
    """Tell whether ``error`` only says that a non-blocking descriptor is not ready."""
    return error.errno in (errno.EAGAIN, errno.EINTR)
