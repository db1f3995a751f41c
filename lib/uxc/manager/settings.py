"""What ``create`` was told about a container: as UCI options, and compared with a section. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from uxc.config.fields import FieldError, container_name, tmpfs_size
from uxc.config.models import Container
from uxc.errors import InvalidError

_NOT_IN_SECTION_NAMES = re.compile(r"[^A-Za-z0-9_]", re.ASCII)

Values = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The arguments that go into a section; None where nothing was said."""

    bundle: str | None = None
    autostart: bool | None = None
    temp_overlay_size: str | None = None
    write_overlay_path: str | None = None
    volumes: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return self != Settings()

    def values(self, name: str, section: str) -> Values:
        """Return the options of a new section ``section`` for the container ``name``."""
        values: Values = {"name": name} if name != section else {}
        if self.bundle is not None:
            values["bundle"] = self.bundle
        if self.autostart is not None:
            values["autostart"] = "1" if self.autostart else "0"
        if self.temp_overlay_size is not None:
            values["temp_overlay_size"] = self.temp_overlay_size
        if self.write_overlay_path is not None:
            values["write_overlay_path"] = self.write_overlay_path
        if self.volumes:
            values["volumes"] = list(self.volumes)
        return values

    def difference(self, container: Container) -> str:
        """Return which option of ``container`` says something else, empty when none does."""
        pairs = (
            ("bundle", self.bundle and self.bundle.rstrip("/"), container.bundle.rstrip("/")),
            ("autostart", self.autostart, container.autostart),
            ("temp_overlay_size", self._size(), container.temp_overlay_size),
            ("write_overlay_path", self.write_overlay_path, container.write_overlay_path),
            ("volumes", self.volumes, container.volumes),
        )
        return next((option for option, said, has in pairs if said is not None and said != has), "")

    def _size(self) -> str | None:
        if self.temp_overlay_size is None:
            return None
        try:
            return tmpfs_size(self.temp_overlay_size)
        except FieldError:
            # Different from every right size: the difference is told first.
            return self.temp_overlay_size


def check_name(name: str) -> str:
    """Return ``name``; InvalidError when no container can have it."""
    try:
        return container_name(name)
    except FieldError as error:
        raise InvalidError(error.message, error.hint) from None


def section_name(name: str, taken: Collection[str]) -> str:
    """Return the UCI section for the container ``name``: itself where UCI takes it as a name.

    Otherwise what UCI cannot have becomes ``_``, with a number where that is ``taken``; ``option
    name`` says the real one.
    """
    plain = _NOT_IN_SECTION_NAMES.sub("_", name)
    candidate, number = plain, 2
    while candidate in taken:
        candidate = f"{plain}_{number}"
        number += 1
    return candidate
