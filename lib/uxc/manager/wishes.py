"""Who is to run: the user's wishes, boot, reload, what ended, what waits. It starts; others make.

A container is wanted when the user (or boot) has asked for it and has not stopped it since. A
wanted one that ended is started again as its respawn policy says; one that lacks a mount or a
device is started when that appears.
"""

import logging
import socket
from typing import Any

from uxc.errors import UnavailableError, UxcError
from uxc.manager import supervise
from uxc.manager.configuration import Configuration
from uxc.manager.containers import Containers, Progress
from uxc.manager.creation import MissingConditionError
from uxc.manager.doorbell import Doorbell
from uxc.manager.intents import DOWN, UP, Intents
from uxc.manager.keepers import Event
from uxc.manager.loop import Loop
from uxc.manager.records import CREATED, RUNNING, STOPPED, Record
from uxc.manager.settings import Settings

log = logging.getLogger(__name__)


class Wishes:
    """Keeps wanted containers running."""

    def __init__(
        self,
        loop: Loop,
        configuration: Configuration,
        containers: Containers,
        intents: Intents,
    ) -> None:
        """Begin with the wishes that an earlier manager has kept."""
        self._loop = loop
        self._configuration = configuration
        self._containers = containers
        self._intents = intents
        self._bell = Doorbell(loop, self._look_again)
        self._resting = False
        # The sections that are not new any more: known at the start, at a reload, or created.
        self._seen: set[str] = set(configuration.good().containers)

    def wanted(self, name: str) -> bool:
        """Whether ``name`` is to run."""
        return self._intents.of(name) == UP

    async def create(
        self, name: str, settings: Settings, pid_file: str, progress: Progress
    ) -> Record:
        """Make ``name``; no reload starts what its new section says."""
        async with self._containers.locks.of(name):
            record = await self._containers.create(name, settings, pid_file, progress)
            self._seen.add(name)
            if self.wanted(name):
                # Boot waited for something; whoever creates by hand starts by hand.
                self._intents.set(name, None)
            self._wait_for(record, "")
            return record

    async def start(self, name: str, progress: Progress, watched: bool) -> socket.socket | None:
        """Start ``name`` and want it from now on; a start that fails changes no wish."""
        async with self._containers.locks.of(name):
            record = self._containers.known(name)
            before = self._intents.of(name)
            waited = record.waiting
            # Before it runs: it may end before the answer is here, and respawn applies.
            self._intents.set(name, UP)
            try:
                viewer = await self._containers.start(record, progress, watched)
            except BaseException:
                if not record.alive:
                    self._intents.set(name, before)
                    self._wait_for(record, waited if before == UP else "")
                raise
            record.failures = 0
            self._wait_for(record, "")
            return viewer

    async def stop(self, name: str, timeout_s: float | None, wish: str | None = DOWN) -> None:
        """Stop ``name`` and keep ``wish`` about it."""
        async with self._containers.locks.of(name):
            record = self._containers.known(name)
            self._intents.set(name, wish)
            await self._containers.stop(record, timeout_s)
            self._wait_for(record, "")

    async def stop_all(self, timeout_s: float | None) -> dict[str, str]:
        """Stop everything at once; return why, for those that could not be stopped.

        It leaves no wish: what boot starts, the next boot starts again.
        """
        names = {record.name for record in self._containers.book if record.exists}
        names |= {name for name in self._intents.names(UP) if self._configuration.known(name)}
        tasks = {
            name: self._loop.spawn(self._try_to_stop(name, timeout_s), f"stop {name}")
            for name in sorted(names)
        }
        errors = {name: await task for name, task in tasks.items()}
        return {name: error.message for name, error in errors.items() if error is not None}

    async def _try_to_stop(self, name: str, timeout_s: float | None) -> UxcError | None:
        try:
            await self.stop(name, timeout_s, wish=None)
        except UxcError as error:
            return error
        return None

    async def delete(self, name: str, force: bool, keep_section: bool) -> None:
        """Remove ``name`` and every wish about it."""
        async with self._containers.locks.of(name):
            record = self._containers.known(name)
            await self._containers.delete(record, force, keep_section)
            self._intents.set(name, None)
            self._seen.discard(name)
            self._wait_for(record, "")

    async def boot(self) -> dict[str, Any]:
        """Start everything with autostart; return who was started, who waits and who failed."""
        config = self._configuration.good()
        names = [name for name, entry in config.containers.items() if entry.autostart]
        for name in names:
            self._intents.set(name, UP)
        self._seen |= set(names)
        result = await self._start_all(names)
        for name, problems in self._configuration.current().broken.items():
            result["failed"][name] = str(problems[0])
        return result

    async def _start_all(self, names: list[str]) -> dict[str, Any]:
        tasks = {
            name: self._loop.spawn(self._try(self._containers.book.of(name)), f"start {name}")
            for name in names
        }
        started, waiting, failed = [], {}, {}
        for name, task in tasks.items():
            error = await task
            record = self._containers.book.of(name)
            if error is not None:
                failed[name] = error.message
            elif record.waiting:
                waiting[name] = record.waiting
            else:
                started.append(name)
        return {"started": started, "waiting": waiting, "failed": failed}

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again; start what is new, say what a restart would change.

        With an error in it nothing is done: everything keeps running as it was.
        """
        loaded = self._configuration.current()
        problems = [str(problem) for problem in loaded.problems]
        if loaded.errors:
            return {"failed": True, "problems": problems, "notes": []}
        config = loaded.config
        new = [
            name
            for name, entry in config.containers.items()
            if entry.autostart and name not in self._seen and self._intents.of(name) != DOWN
        ]
        self._seen = set(config.containers)
        for name in new:
            self._intents.set(name, UP)
        result = await self._start_all(new)
        notes = [f"{name}: started" for name in result["started"]]
        notes += (f"{name}: waiting: {what}" for name, what in result["waiting"].items())
        notes += self._changes()
        self._look_again()
        return {
            "failed": bool(result["failed"]),
            "problems": [*problems, *result["failed"].values()],
            "notes": notes,
        }

    def _changes(self) -> list[str]:
        """Say of each existing container what its section says by now."""
        notes = []
        config = self._configuration.good()
        for record in sorted(self._containers.book, key=lambda record: record.name):
            if not record.exists or record.origin is None:
                continue
            container = config.containers.get(record.name)
            if container is None:
                notes.append(f"{record.name}: has no section any more, but is {record.status}")
                continue
            try:
                now = self._containers.creation.current_digest(config, container)
            except UxcError as error:
                notes.append(f"{record.name}: goes on, but {error.message}")
                continue
            if now != record.origin.digest:
                notes.append(f"{record.name}: changed; stop and start it to apply")
        return notes

    def on_event(self, event: Event) -> None:
        """Take an event of the keeper: a container ended."""
        record = self._containers.book.find(str(event.get("name")))
        if event.get("event") != "exit" or record is None or not record.alive:
            return
        self.note_end(record, event.get("exit_code"))

    def note_end(self, record: Record, exit_code: int | None) -> None:
        """Note that the program of ``record`` has ended, and see what is to be done about it."""
        record.ended(exit_code)
        log.info("%s: ended%s", record.name, _how(exit_code))
        self._loop.spawn(
            self._after_end(record, record.incarnation), f"{record.name}: after its end"
        )

    async def _after_end(self, record: Record, incarnation: int) -> None:
        lived_s = self._loop.clock() - record.started_at
        async with self._containers.locks.of(record.name):
            if record.incarnation != incarnation or record.status != STOPPED:
                return
            try:
                await self._containers.creation.cut_off(record)
            except UxcError as error:
                log.error("%s: cannot take its wiring back: %s", record.name, error.message)
            self._plan_respawn(record, lived_s)

    def _plan_respawn(self, record: Record, lived_s: float) -> None:
        name = record.name
        container = self._configuration.good().containers.get(name)
        decision = supervise.decide(
            container.respawn if container is not None else None,
            lived_s=lived_s,
            failures=record.failures,
            wanted=self.wanted(name),
        )
        record.failures = decision.failures
        record.cancel_retry()
        if decision.delay_s is not None:
            record.retry = self._loop.call_later(decision.delay_s, lambda: self._retry(record))
        elif self.wanted(name):
            self._intents.set(name, None)
            if decision.failures:
                log.error("%s: %s: left down", name, decision.reason)

    def _retry(self, record: Record) -> None:
        record.retry = None
        self._loop.spawn(self._try(record), f"start {record.name}")

    async def _try(self, record: Record) -> UxcError | None:
        """Start a wanted container if that is possible by now; return why it failed, if so."""
        name = record.name
        async with self._containers.locks.of(name):
            if self._resting:
                return UnavailableError(f"{name}: not started: the manager is ending")
            if record.status == RUNNING or not self.wanted(name):
                return None
            record.cancel_retry()
            try:
                if record.status != CREATED:
                    container = self._configuration.container(name)
                    config = self._configuration.current().config
                    missing = self._containers.creation.missing(config, container)
                    if missing is not None:
                        raise missing
                await self._containers.bring_up(record)
            except MissingConditionError as error:
                log.info("%s: waiting: %s", name, error.what)
                self._wait_for(record, error.what)
                return None
            except UxcError as error:
                log.error("%s", error.message)
                self._wait_for(record, "")
                self._plan_respawn(record, lived_s=0.0)
                return error
            self._wait_for(record, "")
            log.info("%s: started", name)
            return None

    def resume(self) -> None:
        """Go on where the last manager ended: start what it was asked to start and did not."""
        for name in self._intents.names(UP):
            if not self._configuration.known(name):
                self._intents.set(name, None)
                continue
            record = self._containers.book.of(name)
            if record.status == STOPPED:
                self._loop.spawn(
                    self._after_end(record, record.incarnation), f"{name}: after its end"
                )
            elif record.status != RUNNING:
                self._loop.spawn(self._try(record), f"start {name}")

    def rest(self) -> None:
        """Start nothing by ourselves any more; the wishes stay for the next manager."""
        self._resting = True
        self._bell.listen(False)

    def _wait_for(self, record: Record, what: str) -> None:
        record.waiting = what
        waiting = any(other.waiting for other in self._containers.book)
        self._bell.listen(waiting and not self._resting)

    def _look_again(self) -> None:
        for record in self._containers.book:
            if record.waiting and not self._containers.locks.busy(record.name):
                self._loop.spawn(self._try(record), f"start {record.name}")


def _how(exit_code: int | None) -> str:
    return "" if exit_code is None else f" with exit code {exit_code}"
