"""Workers and orphans: results, crashes, ends that come before anybody waits for them."""

import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from uxc.errors import ConflictError, InternalError, SystemFailure, UxcError
from uxc.keeper.children import Children, Report
from uxc.keeper.loop import Loop
from uxc.linux import proc

PATIENCE_S = 10.0


class Parent:
    """What a keeper is to its children."""

    def __init__(self) -> None:
        """Adopt orphans."""
        proc.set_subreaper()
        self.loop = Loop(self.fail)
        self.children = Children(self.loop, lambda: None)
        self.finished: list[tuple[Any, UxcError | None]] = []

    @staticmethod
    def fail(where: str, error: Exception) -> None:
        """Let an error in a handler end the process that plays the keeper."""
        raise SystemExit(f"{where}: {error!r}")

    def work(self, task: Callable[[Report], Any], **options: Any) -> Any:
        """Start a worker whose result is noted."""
        return self.children.work(
            "do it", task, lambda result, error: self.finished.append((result, error)), **options
        )

    def until(self, condition: Callable[[], object]) -> None:
        """Serve until ``condition`` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.loop.turn(0.05)


def in_a_process(play: Callable[[Parent], None]) -> None:
    """Run ``play`` in a child, whose children are nobody else's; fail if it does."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            play(Parent())
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    if said:
        pytest.fail(said, pytrace=False)


def test_a_result_comes_back() -> None:
    """What a task returns is what done gets; progress comes before it, with descriptors."""

    def play(parent: Parent) -> None:
        told: list[tuple[dict[str, Any], bytes]] = []

        def task(report: Report) -> dict[str, int]:
            reader, writer = os.pipe()
            os.write(writer, b"hi")
            report.progress({"half": True}, (reader,))
            return {"answer": 42}

        def on_progress(message: dict[str, Any], fds: list[int]) -> None:
            told.append((message, os.read(fds[0], 10)))

        parent.work(task, on_progress=on_progress)
        parent.until(lambda: parent.finished)
        assert parent.finished == [({"answer": 42}, None)]
        assert told == [({"half": True}, b"hi")]

    in_a_process(play)


def test_errors_come_back_as_what_they_are() -> None:
    """Errors of ours keep kind and hint, OSErrors name the step, bugs name the place."""

    def refuse(_report: Report) -> None:
        raise ConflictError("it is busy", "wait")

    def miss(_report: Report) -> None:
        os.open("/no/such/file", os.O_RDONLY)

    def play(parent: Parent) -> None:
        for task in (refuse, miss, lambda _report: 1 // 0):
            count = len(parent.finished)
            parent.work(task)
            parent.until(lambda count=count: len(parent.finished) > count)
        conflict, system, bug = (error for _, error in parent.finished)
        assert isinstance(conflict, ConflictError)
        assert (conflict.message, conflict.hint) == ("it is busy", "wait")
        assert isinstance(system, SystemFailure)
        assert system.message == "cannot do it /no/such/file: no such file or directory"
        assert isinstance(bug, InternalError)
        assert "ZeroDivisionError" in bug.message
        assert "test_keeper_children.py:" in bug.message

    in_a_process(play)


def test_a_worker_that_dies_without_a_word_has_crashed() -> None:
    """Signals and early exits become errors, after the process was reaped."""

    def play(parent: Parent) -> None:
        killed = parent.work(lambda _report: time.sleep(100))
        killed.kill()
        parent.until(lambda: parent.finished)
        left = parent.work(lambda _report: os._exit(3))
        parent.until(lambda: len(parent.finished) == 2)
        messages = [str(error) for _, error in parent.finished]
        assert messages == ["cannot do it: ended by signal 9", "cannot do it: ended by exit code 3"]
        assert killed.crashed
        assert left.crashed

    in_a_process(play)


def test_killing_a_worker_kills_what_it_has_started() -> None:
    """A hook that hangs dies with the builder that runs it."""

    def play(parent: Parent) -> None:
        reader, writer = os.pipe()

        def task(_report: Report) -> None:
            if os.fork() == 0:
                os.write(writer, b"x")
            time.sleep(100)

        worker = parent.work(task, keep=(writer,))
        os.close(writer)
        os.read(reader, 1)
        worker.kill()
        parent.until(lambda: parent.finished)
        assert os.read(reader, 1) == b"", "nobody has the other end any more"

    in_a_process(play)


def test_an_end_before_its_report_is_remembered() -> None:
    """An init that dies while its builder still works has its exit code all the same."""

    def task(_report: Report) -> dict[str, int]:
        reader, writer = os.pipe()
        if os.fork() == 0:
            # The orphan: its parent, right here, ends first.
            pid = os.fork()
            if pid == 0:
                time.sleep(0.1)
                os._exit(5)
            os.write(writer, b"%d %d" % (pid, proc.start_time(pid)))
            os._exit(0)
        pid, started = map(int, os.read(reader, 100).split())
        os.wait()
        while proc_exists(pid):
            time.sleep(0.01)
        return {"pid": pid, "started": started}

    def play(parent: Parent) -> None:
        ends: list[int] = []
        parent.work(task)
        parent.until(lambda: parent.finished)
        ((result, error),) = parent.finished
        assert error is None
        parent.children.adopt_init(result["pid"], result["started"], ends.append)
        assert [os.waitstatus_to_exitcode(status) for status in ends] == [5]

    in_a_process(play)


def proc_exists(pid: int) -> bool:
    """Tell whether there is a process ``pid``, zombie or not."""
    return os.path.exists(f"/proc/{pid}")


def test_an_end_after_its_report_is_told() -> None:
    """The usual order: adopted first, ended later, by a signal."""

    def task(_report: Report) -> dict[str, int]:
        pid = os.fork()
        if pid == 0:
            time.sleep(100)
        return {"pid": pid, "started": proc.start_time(pid)}

    def play(parent: Parent) -> None:
        ends: list[int] = []
        parent.work(task)
        parent.until(lambda: parent.finished)
        result, _ = parent.finished[0]
        parent.children.adopt_init(result["pid"], result["started"], ends.append)
        os.kill(result["pid"], signal.SIGKILL)
        parent.until(lambda: ends)
        assert os.WTERMSIG(ends[0]) == signal.SIGKILL

    in_a_process(play)


def test_a_worker_has_no_descriptor_of_the_keeper() -> None:
    """Only the standard ones, its socket, and what it was given."""

    def play(parent: Parent) -> None:
        kept, other = os.pipe()
        parent.work(lambda _report: sorted(map(int, os.listdir("/proc/self/fd"))), keep=(kept,))
        parent.until(lambda: parent.finished)
        fds = parent.finished[0][0]
        # The listing itself has one, and the socket one.
        assert {0, 1, 2, kept} <= set(fds)
        assert len(fds) == 6
        assert other not in fds

    in_a_process(play)
