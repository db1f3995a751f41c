"""What the manager knows of each container: what the keeper said, and what is planned."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from uxc.manager.loop import Future, Timer

UNINITIALIZED = "uninitialized"
CREATING = "creating"
CREATED = "created"
RUNNING = "running"
STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Of what a container was made; kept beside its effective bundle, for the next manager.

    ``digest`` tells whether its configuration has changed since. ``network`` is the namespace
    that was wired, empty when the network room has nothing to undo. ``interfaces`` is what
    ``list`` shows of them.
    """

    bundle: str
    digest: str
    network: str = ""
    pid_file: str = ""
    interfaces: tuple[dict[str, Any], ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """One container; ``status`` and the facts after it are the keeper's, the rest is ours."""

    name: str
    status: str = UNINITIALIZED
    pid: int = 0
    exit_code: int | None = None
    terminal: bool = False
    pinned: bool = False
    origin: Origin | None = None
    # Somebody has begun to make it, and has neither finished nor taken it back.
    making: bool = False
    # What a container that is to run lacks, as "mount /mnt/sda1".
    waiting: str = ""
    # Counts creations: whoever waited for a lock sees whether it is still the same one.
    incarnation: int = 0
    started_at: float = 0.0
    failures: int = 0
    retry: Timer | None = None
    # When it was last told to end: it may be about to.
    told_to_end_at: float | None = None
    waiters: list[Future[int | None]] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        """Whether the keeper has it."""
        return self.status != UNINITIALIZED

    @property
    def alive(self) -> bool:
        """Whether it has a process, or is about to have one."""
        return self.status in (CREATING, CREATED, RUNNING)

    @property
    def status_text(self) -> str:
        """The status as it is shown, with what it waits for."""
        if self.alive:
            return self.status
        if self.waiting:
            return f"waiting: {self.waiting}"
        if self.making:
            return CREATING
        if self.retry is not None:
            return "waiting: respawn"
        return self.status

    def take_entry(self, entry: dict[str, Any]) -> None:
        """Believe what the keeper's ``list`` says."""
        self.status = entry["status"]
        self.pid = entry.get("pid") or 0
        self.exit_code = entry.get("exit_code")
        self.terminal = bool(entry.get("terminal"))
        self.pinned = entry["pinned"]

    def take_creation(self, pid: int, terminal: bool) -> None:
        """Note that the keeper has just created it."""
        self.status = CREATED
        self.pid = pid
        self.exit_code = None
        self.terminal = terminal

    def forget_process(self) -> None:
        """Note that the keeper has it no more."""
        self.status = UNINITIALIZED
        self.pid = 0
        self.exit_code = None
        self.origin = None
        self.told_to_end_at = None
        self.release(None)

    def ended(self, exit_code: int | None) -> None:
        """Note that its first process has ended."""
        self.status = STOPPED
        self.pid = 0
        self.exit_code = exit_code
        self.told_to_end_at = None
        self.release(exit_code)

    def release(self, exit_code: int | None) -> None:
        """Answer everybody who waits for the end."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.set_result(exit_code)

    def cancel_retry(self) -> None:
        """Plan no start any more."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None


class Book:
    """All records, by name; one is made when its name is first used and goes when it says nothing.

    ``configured`` tells whether a name stands in the configuration.
    """

    def __init__(self, configured: Callable[[str], bool]) -> None:
        """Begin empty."""
        self._configured = configured
        self._records: dict[str, Record] = {}

    def __iter__(self) -> Iterator[Record]:
        """Iterate over a copy: operations may add and remove records meanwhile."""
        return iter(list(self._records.values()))

    def find(self, name: str) -> Record | None:
        """Return the record of ``name``, if there is one."""
        return self._records.get(name)

    def of(self, name: str) -> Record:
        """Return the record of ``name``, made when it is missing."""
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = Record(name)
        return record

    def tidy(self, name: str) -> None:
        """Drop the record of ``name`` when nothing exists under it and nobody configures it."""
        record = self._records.get(name)
        if record is not None and not record.exists and not self._configured(name):
            record.cancel_retry()
            record.release(None)
            del self._records[name]
