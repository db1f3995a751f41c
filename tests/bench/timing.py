"""Time whole commands with little of our own in it, and show medians side by side."""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence

_NULL = "/dev/null"
# The program gets no terminal and prints to nowhere: what a script or a daemon would give it.
_STDIO = [
    (os.POSIX_SPAWN_OPEN, 0, _NULL, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, _NULL, os.O_WRONLY, 0),
    (os.POSIX_SPAWN_OPEN, 2, _NULL, os.O_WRONLY, 0),
]


class CommandError(Exception):
    """A command that should be timed failed."""


def command_ms(*words: str) -> float:
    """Run a program, found by its full path, and return how long it took; CommandError if bad."""
    begin = time.perf_counter_ns()
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=_STDIO)
    _, status, _ = os.wait4(pid, 0)
    end = time.perf_counter_ns()
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise CommandError(f"{' '.join(words)}: exit status {code}")
    return (end - begin) / 1e6


def call_ms(function: Callable[[], object]) -> float:
    """Call ``function`` and return how long it took."""
    begin = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - begin) / 1e6


class Series:
    """Times of several subjects in several columns; shown as medians and ratios."""

    def __init__(self, columns: Sequence[str]) -> None:
        """Have these columns, in this order."""
        self.columns = tuple(columns)
        self._times: dict[str, dict[str, list[float]]] = {}

    def add(self, subject: str, times: dict[str, float]) -> None:
        """Keep one round of ``subject``: times by column; columns may be missing."""
        table = self._times.setdefault(subject, {column: [] for column in self.columns})
        for column, time_ms in times.items():
            table[column].append(time_ms)

    def median(self, subject: str, column: str) -> float:
        """Return the median of a column, NaN of an empty one."""
        times = self._times[subject][column]
        return statistics.median(times) if times else math.nan

    def table(self) -> str:
        """Return the medians, a line for each subject."""
        return self._lines(self.median)

    def ratios(self, reference: str) -> str:
        """Return the medians as multiples of ``reference``'s."""
        return self._lines(
            lambda subject, column: self.median(subject, column) / self.median(reference, column)
        )

    def _lines(self, value: Callable[[str, str], float]) -> str:
        width = max(map(len, self._times))
        head = " " * width + "".join(f"{column:>9}" for column in self.columns)
        rows = (
            f"{subject:{width}}" + "".join(_cell(value(subject, column)) for column in self.columns)
            for subject in self._times
        )
        return "\n".join((head, *rows))


def _cell(number: float) -> str:
    return f"{'-':>9}" if math.isnan(number) else f"{number:9.2f}"
