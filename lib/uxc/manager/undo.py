"""Steps that are taken back, last first, when a later one fails."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Undo:
    """What has been done so far, as the calls that undo it."""

    def __init__(self, name: str) -> None:
        """``name`` is the container's, for log lines."""
        self._name = name
        self._steps: list[tuple[str, Callable[[], Awaitable[None] | None]]] = []

    def add(self, what: str, step: Callable[[], Awaitable[None] | None]) -> None:
        """Remember that ``step`` undoes what was just done; ``what`` completes "cannot …"."""
        self._steps.append((what, step))

    async def run(self) -> None:
        """Undo everything; a step that fails is logged, and the others are undone all the same."""
        while self._steps:
            what, step = self._steps.pop()
            try:
                result = step()
                if result is not None:
                    await result
            except Exception as error:
                log.error("%s: cannot %s: %s", self._name, what, error)
