"""Sections as written, with the file and line of everything. Values only, no effects."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One option or list of a section; ``places`` has file and line of each value.

    The file is that of the pending change when one made the value what it is; line 0 means that
    the value stands in no file.
    """

    values: tuple[str, ...]
    places: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One ``config TYPE 'NAME'`` with its options; ``index`` counts the sections of its type."""

    type: str
    name: str
    file: str
    line: int
    anonymous: bool = False
    index: int = 0
    options: Mapping[str, Given] = field(default_factory=dict)

    def text(self, option: str) -> str:
        """Return the values of ``option`` joined by blanks, empty when it is absent."""
        given = self.options.get(option)
        return " ".join(given.values) if given else ""

    def words(self, option: str) -> tuple[str, ...]:
        """Return the values of ``option``, those with blanks split, as netifd reads its lists."""
        given = self.options.get(option)
        return tuple(word for value in given.values for word in value.split()) if given else ()

    @property
    def where(self) -> str:
        """Return ``FILE:LINE`` of the section."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """All sections of one file; none when the file is absent or could not be parsed."""

    file: str
    sections: tuple[Section, ...] = ()
    readable: bool = True

    def of_type(self, *types: str) -> tuple[Section, ...]:
        """Return the sections of these types, in the order of the file."""
        return tuple(section for section in self.sections if section.type in types)
