"""What the user wishes to run, kept in run-time state: it outlives the manager, not a boot."""

import logging
import os

from uxc import files
from uxc.errors import InvalidError, system_failure
from uxc.paths import Paths

log = logging.getLogger(__name__)

UP = "up"
DOWN = "down"


class Intents:
    """The wishes by container name; no entry means that the configuration decides."""

    def __init__(self, paths: Paths) -> None:
        """Read what an earlier manager kept."""
        self._path = f"{paths.run}/intents.json"
        self._wishes = self._read()

    def of(self, name: str) -> str | None:
        """Return UP, DOWN or None."""
        return self._wishes.get(name)

    def names(self, wish: str) -> list[str]:
        """Return the containers for which ``wish`` is kept."""
        return [name for name, kept in self._wishes.items() if kept == wish]

    def set(self, name: str, wish: str | None) -> None:
        """Keep ``wish``, or forget the one that is kept; SystemFailure when it cannot be written.

        It is on its way to nobody before it is written: a manager that dies after the answer has
        kept it.
        """
        if self._wishes.get(name) == wish:
            return
        wishes = dict(self._wishes)
        if wish is None:
            del wishes[name]
        else:
            wishes[name] = wish
        try:
            if wishes:
                files.write_json(self._path, wishes)
            else:
                os.unlink(self._path)
        except OSError as error:
            raise system_failure(f"write {self._path}", error) from None
        self._wishes = wishes

    def _read(self) -> dict[str, str]:
        try:
            wishes = files.read_json(self._path)
        except FileNotFoundError:
            return {}
        except (InvalidError, OSError) as error:
            log.error("the wishes of the last manager are lost: %s", error)
            return {}
        if not isinstance(wishes, dict):
            log.error("the wishes of the last manager are lost: not an object")
            return {}
        return {str(name): wish for name, wish in wishes.items() if wish in (UP, DOWN)}
