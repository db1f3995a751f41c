"""The configuration as the manager sees it: read again whenever a file has changed."""

import time

from uxc.config import load
from uxc.config.load import Loaded
from uxc.config.models import Config, Container
from uxc.config.problem import Problem
from uxc.errors import InvalidError, NotFoundError, UxcError
from uxc.paths import Paths

# The kernel stamps files with a clock that ticks this slowly (CONFIG_HZ_100 and a spare one): a
# file that was that young when it was read may have changed under the same stamp.
_STAMP_NS = 20_000_000


class Configuration:
    """Both files, cached by their identity; the last readable state for what runs already."""

    def __init__(self, paths: Paths) -> None:
        """Read nothing yet."""
        self._paths = paths
        self._loaded: Loaded | None = None
        self._good: Loaded | None = None
        self._certain = False

    def current(self) -> Loaded:
        """Return what the files say now."""
        cached = self._loaded if self._certain else None
        if cached is not None and load.fingerprint(self._paths) == cached.fingerprint:
            return cached
        return self._read()

    def _read(self) -> Loaded:
        now_ns = time.time_ns()
        loaded = self._loaded = load.load(self._paths)
        stamps = [state[3] for state in loaded.fingerprint if state is not None]
        self._certain = all(stamp + _STAMP_NS < now_ns for stamp in stamps)
        if all(package.readable for package in loaded.packages):
            self._good = loaded
        return loaded

    def good(self) -> Config:
        """Return the newest configuration whose files could be parsed; it may be empty."""
        self.current()
        return self._good.config if self._good is not None else Config()

    def disabled(self, name: str) -> bool:
        """Whether the section of ``name`` says ``enabled '0'``."""
        return name in self.current().disabled

    def known(self, name: str) -> bool:
        """Whether a section, right or wrong, declares ``name``; disabled ones count as absent."""
        loaded = self.current()
        return name in loaded.config.containers or name in loaded.broken

    def container(self, name: str) -> Container:
        """Return the container ``name`` as configured.

        Raises InvalidError with file and line when its section is wrong, NotFoundError when there
        is none.
        """
        loaded = self.current()
        container = loaded.config.containers.get(name)
        if container is not None:
            return container
        self.require_readable(loaded)
        if name in loaded.broken:
            raise wrong(loaded.broken[name])
        if name in loaded.disabled:
            place = loaded.disabled[name]
            raise NotFoundError(
                f"{name}: its section is ignored",
                f"{place.file}:{place.line} says option enabled '0'",
            )
        raise NotFoundError(
            f"{name}: no such container", f"make it: uxc create {name} PATH-OF-BUNDLE"
        )

    @staticmethod
    def require_readable(loaded: Loaded) -> None:
        """Raise InvalidError when a file cannot be parsed, with the place."""
        for package in loaded.packages:
            if not package.readable:
                raise wrong(
                    tuple(each for each in loaded.problems if not each.kind and each.is_error)
                )


def wrong(problems: tuple[Problem, ...]) -> UxcError:
    """Make one error of the problems of a section: the first, and how many more there are."""
    first = problems[0]
    more = f" (and {len(problems) - 1} more: uxc check)" if len(problems) > 1 else ""
    return InvalidError(f"{first}{more}", first.hint)
