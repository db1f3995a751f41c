"""Child processes: short-lived workers for whatever may take time, and the reaping of all others.

Nobody waits inside the keeper: a step that reads a disk, runs a hook or waits for a process is
done by a forked worker, which answers with packets on a socket of its own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _socket
import gc
import posix
import sys

from uxc import protocol
from uxc.errors import InternalError, SystemFailure, UxcError, from_kind, system_failure
from uxc.keeper.loop import READ, would_block
from uxc.linux import fds as descriptors
from uxc.linux import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from uxc.keeper.loop import Loop

    # A worker's task gets its end of the socket; what it returns is the result.
    Task = Callable[["Report"], "Any"]
    Progress = Callable[["dict[str, Any]", "list[int]"], None]
    Done = Callable[["Any", "UxcError | None"], None]


class Report:
    """The worker's end of its socket."""

    __slots__ = ("_sock",)

    def __init__(self, sock: _socket.socket) -> None:
        """Send on ``sock``."""
        self._sock = sock

    def progress(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Tell the keeper something before the task is done; OSError as sendmsg(2)."""
        protocol.send_packet(self._sock, message, fds)

    def success(self, result: Any) -> None:
        """Say that the task is done."""
        protocol.send_packet(self._sock, {"done": True, "result": result})

    def failure(self, error: UxcError) -> None:
        """Say why the task is not done."""
        text = {"kind": error.kind, "message": error.message, "hint": error.hint}
        protocol.send_packet(self._sock, {"done": True, "error": text})


class Worker:
    """A forked child that runs one task, as the keeper sees it."""

    __slots__ = ("_done", "_loop", "_on_progress", "_sock", "_what", "crashed", "pid")

    def __init__(
        self,
        loop: Loop,
        pid: int,
        sock: _socket.socket,
        what: str,
        on_progress: Progress | None,
        done: Done,
    ) -> None:
        """Listen to the worker ``pid`` on ``sock``; ``what`` it does is for messages."""
        self._loop = loop
        self.pid = pid
        self._sock = sock
        self._what = what
        self._on_progress = on_progress
        self._done: Done | None = done
        # The process ended without a word: what it has begun may lie about.
        self.crashed = False
        sock.setblocking(False)
        loop.watch(sock.fileno(), READ, self._serve)

    def ended(self, status: int) -> None:
        """Finish after the process was reaped; what it said before is still in the socket."""
        # A process that a hook left behind may hold a copy of the worker's end for ever, so the
        # end of the process counts and not the end of the stream.
        while self._done is not None and self._receive():
            pass
        if self._done is not None:
            self.crashed = True
            reason = f"exit code {posix.WEXITSTATUS(status)}"
            if posix.WIFSIGNALED(status):
                reason = f"signal {posix.WTERMSIG(status)}"
            self._finish(None, SystemFailure(f"cannot {self._what}: ended by {reason}"))

    def kill(self) -> None:
        """End the worker, if it still works; ``done`` is called when it has been reaped."""
        if self._done is not None:
            # Not reaped yet, or it would have finished: the pid is still ours. The group holds
            # the hooks that it runs and an init that has no session of its own yet.
            posix.killpg(self.pid, _signal.SIGKILL)

    def _serve(self, _events: int) -> None:
        self._receive()

    def _receive(self) -> bool:
        """Take one packet; tell whether there may be more."""
        try:
            message, fds = protocol.receive_packet(self._sock, "a worker")
        except OSError as error:
            if not would_block(error):
                self._loop.unwatch(self._sock.fileno())
            return False
        if message is None:
            self._loop.unwatch(self._sock.fileno())
            return False
        if message.get("done"):
            protocol.close_all(fds)
            text = message.get("error")
            failure = from_kind(text["kind"], text["message"], text["hint"]) if text else None
            self._finish(message.get("result"), failure)
        elif self._on_progress is not None:
            self._on_progress(message, fds)
        else:
            protocol.close_all(fds)
        return True

    def _finish(self, result: Any, error: UxcError | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            done(result, error)


class Children:
    """All child processes of the keeper: workers, the containers' init, and orphans."""

    __slots__ = ("_inits", "_loop", "_orphans", "_workers", "before_task")

    def __init__(self, loop: Loop, before_task: Callable[[], None]) -> None:
        """Reap in ``loop``; each worker calls ``before_task`` first."""
        self._loop = loop
        self._workers: dict[int, Worker] = {}
        self._inits: dict[int, Callable[[int], None]] = {}
        # Ends of processes that are nobody yet: an init may die before its builder has told us
        # its pid.
        self._orphans: dict[int, int] = {}
        self.before_task = before_task
        loop.on_signal(_signal.SIGCHLD, self.reap)

    def work(
        self,
        what: str,
        task: Task,
        done: Done,
        on_progress: Progress | None = None,
        keep: tuple[int, ...] = (),
    ) -> Worker:
        """Run ``task`` in a forked child and call ``done`` with its result or its error.

        The child has no descriptor of ours but /dev/null as 0, 1, 2, its socket and those in
        ``keep``. ``what`` completes "cannot …" if the child is killed. Raises OSError as fork(2).
        """
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            pid = posix.fork()
            if pid == 0:
                self._run(theirs, what, task, keep)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        # Done here, so that it is done before anybody can kill the group.
        posix.setpgid(pid, pid)
        worker = Worker(self._loop, pid, ours, what, on_progress, done)
        self._workers[pid] = worker
        return worker

    def adopt_init(self, pid: int, started: int, ended: Callable[[int], None]) -> None:
        """Call ``ended`` with the wait status when ``pid``, started at ``started``, has ended.

        For one that we trace also with each stop.
        """
        status = self._orphans.pop(pid, None)
        if status is not None and _start_time(pid) != started:
            ended(status)
        else:
            self._inits[pid] = ended

    def forget_init(self, pid: int) -> None:
        """Call nobody for ``pid``, which its maker has waited for: the number comes again."""
        self._inits.pop(pid, None)

    def reap(self) -> None:
        """Reap every child that has ended."""
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            try:
                self._reaped(pid, status)
            except Exception as error:
                # The others are reaped all the same.
                self._loop.report(f"the end of process {pid}", error)
        if not self._workers:
            self._orphans.clear()

    def _reaped(self, pid: int, status: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is not None:
            worker.ended(status)
            return
        stopped = posix.WIFSTOPPED(status)
        ended = self._inits.get(pid) if stopped else self._inits.pop(pid, None)
        if ended is not None:
            ended(status)
        elif self._workers:
            self._orphans[pid] = status

    def _run(self, sock: _socket.socket, what: str, task: Task, keep: tuple[int, ...]) -> NoReturn:
        # Whatever happens, this copy of the keeper must not return into the keeper's loop.
        try:
            forget_keeper()
            proc.reset_signals()
            # Python's own default: a write to a hook that is gone must be an error, not our end.
            _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
            report = Report(sock)
            try:
                descriptors.close_all_but([sock.fileno(), *keep])
                self.before_task()
                result = task(report)
            except UxcError as error:
                report.failure(error)
            except OSError as error:
                report.failure(system_failure(what, error))
            except Exception as error:
                report.failure(InternalError(f"{type(error).__name__}: {error} ({place(error)})"))
            else:
                report.success(result)
                posix._exit(0)
        finally:
            posix._exit(1)


def forget_keeper() -> None:
    """Make a forked child safe from what it has inherited."""
    # A socket object of the keeper that were collected here would close a number that by then
    # belongs to something else.
    gc.disable()
    _signal.set_wakeup_fd(-1)


def _start_time(pid: int) -> int | None:
    try:
        return proc.start_time(pid)
    except ProcessLookupError:
        return None


def place(error: BaseException) -> str:
    """Return ``file:line`` of where ``error`` was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return sys.argv[0]
    name = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{name}:{trace.tb_lineno}"
