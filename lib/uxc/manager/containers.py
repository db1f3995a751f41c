"""The operations on containers, as coroutines: what they mean (docs/control.md).

Those that change a container are called with its lock held (``wishes`` does that), so that two of
them on one container queue. How a container is made is in ``creation``.
"""

import logging
import signal
import socket
from collections.abc import Callable

from uxc.config import load
from uxc.config.load import Loaded
from uxc.config.models import Config, Container
from uxc.errors import ConflictError, SystemFailure, UxcError
from uxc.manager import sections
from uxc.manager.configuration import Configuration, wrong
from uxc.manager.creation import Creation
from uxc.manager.keepers import Keeper
from uxc.manager.loop import Future, Locks, Loop
from uxc.manager.records import CREATED, RUNNING, Book, Record
from uxc.manager.settings import Settings, Values, check_name, section_name
from uxc.manager.undo import Undo
from uxc.paths import Paths

log = logging.getLogger(__name__)

Progress = Callable[[str], None]

# After a signal, "delete" gives a program this long to end before it says that it runs.
DYING_S = 2.0
# What a kernel needs to end killed processes, unless they hang in a driver.
KILL_TIMEOUT_S = 10.0


def silent(_text: str) -> None:
    """Show no progress."""


class Containers:
    """Every container, and what can be done with it."""

    def __init__(
        self, loop: Loop, paths: Paths, configuration: Configuration, keeper: Keeper
    ) -> None:
        """Begin with no record; ``adoption`` fills the book."""
        self._loop = loop
        self._paths = paths
        self._configuration = configuration
        self._keeper = keeper
        self.creation = Creation(loop, paths, keeper)
        self.book = Book(configuration.known)
        self.locks = Locks(loop)

    def known(self, name: str) -> Record:
        """Return the record of ``name``, configured, existing or being made.

        NotFoundError for others.
        """
        record = self.book.find(name)
        if record is not None and (record.exists or record.making):
            return record
        if not self._configuration.known(name):
            # Says why: mistyped, ignored, or in a file that cannot be read.
            self._configuration.container(check_name(name))
        return self.book.of(name)

    async def _settled(self, name: str) -> Record:
        """Return the record of ``name``, after what was asked before, unless it lives by now.

        A signal is not kept waiting by a "stop" that waits for the program's end.
        """
        record = self.book.find(name)
        if (record is None or not record.alive) and self.locks.busy(name):
            async with self.locks.of(name):
                pass
        return self.known(name)

    async def create(
        self, name: str, settings: Settings, pid_file: str = "", progress: Progress = silent
    ) -> Record:
        """Make the container ``name``, and its section when ``settings`` describe a new one."""
        loaded, new = self._plan_section(name, settings)
        container = _right(loaded, name, self._configuration)
        record = self.book.of(name)
        try:
            if record.alive:
                raise ConflictError(f"{name}: exists already and is {record.status}")
            record.making = True
            if record.exists:
                await self._keeper.connect()
                await self.creation.unmake(record, force=False)
            undo = Undo(name)
            try:
                await self._make(record, loaded.config, container, pid_file, undo, progress)
                if new is not None:
                    sections.add(self._paths, new[0], new[1])
            except BaseException:
                await undo.run()
                raise
            self.creation.bundles.finish(name)
        finally:
            record.making = False
            self.book.tidy(name)
        return record

    def _plan_section(
        self, name: str, settings: Settings
    ) -> tuple[Loaded, tuple[str, Values] | None]:
        """Return the configuration to create ``name`` from, and the section that is to be added."""
        loaded = self._configuration.current()
        self._configuration.require_readable(loaded)
        if not settings or name in loaded.broken:
            return loaded, None
        if name in loaded.config.containers:
            option = settings.difference(loaded.config.containers[name])
            if option:
                place = loaded.config.containers[name].place
                raise ConflictError(
                    f"{name}: is configured already, with another {option}",
                    f"see {place.file}:{place.line}; uxc create {name} uses what it says",
                )
            return loaded, None
        if name in loaded.disabled:
            return loaded, None
        section = section_name(name, {entry.name for entry in loaded.packages[0].sections})
        values = settings.values(name, section)
        return load.judge_with(loaded, section, values), (section, values)

    async def _make(
        self,
        record: Record,
        config: Config,
        container: Container,
        pid_file: str,
        undo: Undo,
        progress: Progress,
    ) -> None:
        """Make a container that does not exist; the caller runs ``undo`` on failure."""

        def waits(text: str) -> None:
            record.waiting = text.removeprefix("waiting: ")
            progress(text)

        try:
            await self.creation.wait_for_devices(config, container, waits)
        finally:
            record.waiting = ""
        await self.creation.create(record, config, container, pid_file, undo)

    async def bring_up(
        self, record: Record, progress: Progress = silent, watched: bool = False
    ) -> socket.socket | None:
        """Let the program of ``record`` run, whatever has to be done first.

        What was made for it is unmade when it does not start. With ``watched``, a viewer is
        attached before it runs, and its socket returned.
        """
        name = record.name
        viewer = None
        undo = Undo(name)
        try:
            if record.status != CREATED:
                record.making = True
                await self._make_again(record, undo, progress)
            if watched:
                viewer = await self._view(name, read_only=False)
                undo.add("leave its console", viewer.close)
            record.started_at = self._loop.clock()
            await self._keeper.call("start", {"name": name})
        except BaseException:
            await undo.run()
            raise
        finally:
            record.making = False
        if record.status == CREATED:
            record.status = RUNNING
        return viewer

    async def _make_again(self, record: Record, undo: Undo, progress: Progress) -> None:
        """Make a container that is configured and was never made, or has ended."""
        container = self._configuration.container(record.name)
        config = self._configuration.current().config
        pid_file = record.origin.pid_file if record.origin is not None else ""
        if record.exists:
            await self._keeper.connect()
            await self.creation.unmake(record, force=False)
        await self._make(record, config, container, pid_file, undo, progress)
        self.creation.bundles.finish(record.name)

    async def start(
        self, record: Record, progress: Progress = silent, watched: bool = False
    ) -> socket.socket | None:
        """Start ``record``; ConflictError when it runs, else as ``bring_up``."""
        if record.status == RUNNING:
            raise ConflictError(f"{record.name}: is running already")
        record.cancel_retry()
        return await self.bring_up(record, progress, watched)

    async def attach(self, name: str, read_only: bool) -> tuple[socket.socket, bool]:
        """Return a socket that shows the output of ``name``, and whether it is a terminal."""
        record = await self._settled(name)
        if not record.exists:
            raise ConflictError(f"{name}: has no output yet", f"start it: uxc start {name}")
        return await self._view(name, read_only), record.terminal

    async def _view(self, name: str, read_only: bool) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            await self._keeper.exchange(
                "attach", {"name": name, "read_only": read_only}, (theirs.fileno(),)
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def kill(self, name: str, number: int, everything: bool) -> None:
        """Send a signal to the first process of ``name``, or to all of them."""
        record = await self._settled(name)
        if not record.alive:
            raise ConflictError(f"{name}: is not running")
        await self._keeper.call("kill", {"name": name, "signal": number, "all": everything})
        record.told_to_end_at = self._loop.clock()

    async def stop(self, record: Record, timeout_s: float | None) -> None:
        """End the program: its stop signal, and after a while a kill of everything."""
        record.cancel_retry()
        record.waiting = ""
        if record.alive:
            await self._end(record, timeout_s)
        await self.creation.cut_off(record)

    async def _end(self, record: Record, timeout_s: float | None) -> None:
        name = record.name
        container = self._configuration.good().containers.get(name)
        number = container.stop_signal if container is not None else int(signal.SIGTERM)
        if timeout_s is None:
            timeout_s = container.stop_timeout_s if container is not None else 10
        ended = self._end_of(record)
        try:
            await self._keeper.call("kill", {"name": name, "signal": number, "all": False})
            await self._loop.within(timeout_s, ended)
        except TimeoutError:
            log.warning("%s: did not end within %d s: killed", name, timeout_s)
        except UxcError:
            if record.alive:
                raise
        if record.alive:
            await self._kill_all(record)

    async def _kill_all(self, record: Record) -> None:
        ended = self._end_of(record)
        arguments = {"name": record.name, "signal": int(signal.SIGKILL), "all": True}
        try:
            await self._keeper.call("kill", arguments)
        except UxcError:
            if record.alive:
                raise
        try:
            await self._loop.within(KILL_TIMEOUT_S, ended)
        except TimeoutError:
            raise SystemFailure(
                f"{record.name}: process {record.pid} does not end, although it was killed",
                "it hangs in the kernel; see /proc/PID/stack",
            ) from None

    def _end_of(self, record: Record) -> Future[int | None]:
        future: Future[int | None] = Future(self._loop)
        if record.alive:
            record.waiters.append(future)
        else:
            future.set_result(record.exit_code)
        return future

    async def wait(self, name: str) -> int | None:
        """Wait until the program of ``name`` has ended; return its exit code if it is known."""
        record = await self._settled(name)
        if not record.exists:
            raise ConflictError(f"{name}: was not started", f"start it: uxc start {name}")
        future = self._end_of(record)
        try:
            return await future
        finally:
            if future in record.waiters:
                record.waiters.remove(future)

    async def delete(self, record: Record, force: bool, keep_section: bool) -> None:
        """Remove ``record`` and its section; one that is not stopped only with ``force``."""
        name = record.name
        if not keep_section:
            # Nothing is removed when the section would have to stay.
            sections.check_writable(self._paths)
        if record.alive and not force:
            await self._wait_for_the_dying(record)
        if record.alive and not force:
            raise ConflictError(
                f"{name}: is {record.status}",
                f"stop it first (uxc stop {name}), or delete with --force",
            )
        record.cancel_retry()
        if record.exists:
            await self._keeper.connect()
        await self.creation.unmake(record, force)
        if not keep_section:
            sections.remove(self._paths, name)
        self.book.tidy(name)

    async def _wait_for_the_dying(self, record: Record) -> None:
        """Give a program that was just told to end the time to do so."""
        told = record.told_to_end_at
        if told is None or record.status != RUNNING:
            return
        left_s = told + DYING_S - self._loop.clock()
        if left_s <= 0:
            return
        try:
            await self._loop.within(left_s, self._end_of(record))
        except TimeoutError:
            return


def _right(loaded: Loaded, name: str, configuration: Configuration) -> Container:
    container = loaded.config.containers.get(name)
    if container is not None:
        return container
    if name in loaded.broken:
        raise wrong(loaded.broken[name])
    return configuration.container(name)
