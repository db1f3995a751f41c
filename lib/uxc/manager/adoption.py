"""What a new manager does with what the last one left: believe the keeper, clear away the rest.

Running containers and their wiring are not touched. Leftovers are what the last manager had begun
and not finished when it died: a pinned namespace without a container, a wiring without one, an
effective bundle without one, a container that ``create`` never finished.
"""

import logging
from typing import Any

from uxc.errors import UxcError
from uxc.manager.configuration import Configuration
from uxc.manager.containers import Containers
from uxc.manager.keepers import Keeper
from uxc.manager.loop import Loop
from uxc.manager.records import CREATING, STOPPED, UNINITIALIZED, Record
from uxc.manager.wishes import Wishes
from uxc.net import wire
from uxc.paths import Paths

log = logging.getLogger(__name__)

_POLL_S = 0.05


class Adoption:
    """Takes over from an earlier manager, or from an earlier keeper."""

    def __init__(
        self,
        loop: Loop,
        paths: Paths,
        configuration: Configuration,
        keeper: Keeper,
        containers: Containers,
        wishes: Wishes,
    ) -> None:
        """Keep what is needed for it."""
        self._loop = loop
        self._paths = paths
        self._configuration = configuration
        self._keeper = keeper
        self._containers = containers
        self._wishes = wishes

    async def at_start(self) -> None:
        """Take over from the last manager; UxcError when there is no keeper to ask."""
        await self._give_up_creations()
        for entry in await self._entries():
            record = self._containers.book.of(entry["name"])
            record.take_entry(entry)
            # Since when is not known; long enough that its end is no crash at the start.
            record.started_at = self._loop.clock()
            if record.exists:
                record.origin = self._containers.creation.bundles.origin(record.name)
        await self._clear_away()

    async def _give_up_creations(self) -> None:
        """Stop what the last manager has asked for and nobody waits for any more.

        A hook may take for ever, and no request is served before this is over.
        """
        for entry in await self._keeper.call("list"):
            if entry["status"] == CREATING:
                log.info("%s: giving its creation up", entry["name"])
                try:
                    await self._keeper.call("delete", {"name": entry["name"], "force": True})
                except UxcError as error:
                    # It has come to its end, or is being deleted: ``_entries`` waits for that.
                    log.debug("%s: %s", entry["name"], error.message)

    async def after_loss(self) -> None:
        """Take over from a keeper that has ended: what ended with it, ended."""
        entries = {entry["name"]: entry for entry in await self._entries()}
        for record in self._containers.book:
            async with self._containers.locks.of(record.name):
                entry = entries.get(record.name)
                if entry is None or entry["status"] == UNINITIALIZED:
                    if record.alive:
                        self._wishes.note_end(record, None)
                elif entry["status"] == STOPPED and record.alive:
                    self._wishes.note_end(record, entry.get("exit_code"))
                else:
                    record.take_entry(entry)

    async def _entries(self) -> list[dict[str, Any]]:
        """Return the keeper's list, once nothing in it is half made."""
        while True:
            entries: list[dict[str, Any]] = await self._keeper.call("list")
            if not any(entry["status"] == CREATING for entry in entries):
                return entries
            await self._loop.sleep(_POLL_S)

    async def _clear_away(self) -> None:
        bundles = self._containers.creation.bundles
        for record in self._containers.book:
            if not record.exists or not bundles.begun(record.name):
                continue
            if self._configuration.known(record.name):
                bundles.finish(record.name)
            else:
                # ``create`` died before it could write the section, its last step.
                await self._remove(record)
        existing = {record.name for record in self._containers.book if record.exists}
        for name, error in wire.recover(self._paths, existing).items():
            log.error("%s: %s", name, error.message)
        for record in self._containers.book:
            if not record.exists and record.pinned:
                await self._remove(record)
        for name in bundles.names():
            if name not in existing:
                log.info("%s: removing what its creation left", name)
                try:
                    await self._containers.creation.clear(name)
                except UxcError as error:
                    log.error("%s: %s", name, error.message)

    async def _remove(self, record: Record) -> None:
        log.info("%s: removing what its creation left", record.name)
        try:
            await self._containers.creation.unmake(record, force=True)
        except UxcError as error:
            log.error("%s: %s", record.name, error.message)
        self._containers.book.tidy(record.name)
