"""A UCI package in memory: ordered sections, ordered options, and where each was written."""

from uxc.uci.exceptions import UciParseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Place: TypeAlias = tuple[str, int]

# The place of what no file holds: its file name is empty.
NOWHERE: "Place" = ("", 0)


class Option:
    """One option or list. ``value`` is a str or a list of str, as it was written.

    ``file`` and ``line`` say where the option was first written (for an uncommitted change: the
    delta file), ``item_places`` the same for each item of a list.
    """

    __slots__ = ("file", "item_places", "line", "name", "value")

    def __init__(
        self, name: str, value: "str | list[str]", place: "Place", item_places: "list[Place]"
    ) -> None:
        """Keep the value and its place."""
        self.name = name
        self.value = value
        self.file, self.line = place
        self.item_places = item_places

    @property
    def item_lines(self) -> "list[int]":
        """The line of each item of a list."""
        return [line for _, line in self.item_places]


class Section:
    """One section. ``name`` is made up (``cfg`` and digits) when ``anonymous``.

    ``entries`` are its options in order; two may bear one name after a rename, then the first
    counts.
    """

    __slots__ = ("anonymous", "entries", "file", "line", "name", "type")

    def __init__(self, name: str, type_name: str, anonymous: bool, place: "Place") -> None:
        """Make a section without options."""
        self.name = name
        self.type = type_name
        self.anonymous = anonymous
        self.file, self.line = place
        self.entries: list[Option] = []

    @property
    def options(self) -> "dict[str, Option]":
        """The options by name, in order; a new dictionary each time."""
        found: dict[str, Option] = {}
        for option in self.entries:
            found.setdefault(option.name, option)
        return found

    def option(self, name: str) -> "Option | None":
        """Return the first option called ``name``."""
        for option in self.entries:
            if option.name == name:
                return option
        return None


class Change:
    """One edit that is not committed.

    ``command`` is one of set, add, remove, rename, order, list-add, list-del (the words of rpcd's
    ``uci.changes``).
    """

    __slots__ = ("command", "option", "section", "value")

    def __init__(
        self, command: str, section: str, option: "str | None", value: "str | None"
    ) -> None:
        """Keep the parts."""
        self.command = command
        self.section = section
        self.option = option
        self.value = value

    def parts(self) -> "tuple[str, ...]":
        """Return command, section and, where it has them, option and value."""
        tail = (self.option, self.value)
        return (self.command, self.section, *(part for part in tail if part is not None))


class Package:
    """One configuration.

    ``changes`` are edits made here and not saved, ``saved`` those that were found in delta files;
    ``problems`` the parse errors that a lenient reading stepped over.
    """

    __slots__ = (
        "_by_name",
        "allocated",
        "changes",
        "has_delta",
        "name",
        "path",
        "problems",
        "saved",
        "sections",
    )

    def __init__(self, name: str) -> None:
        """Make an empty package that belongs to no file."""
        self.name = name
        self.sections: list[Section] = []
        # How many sections were ever made: the number in the next anonymous name.
        self.allocated = 0
        self.path = ""
        self.has_delta = False
        self.changes: list[Change] = []
        self.saved: list[Change] = []
        self.problems: list[UciParseError] = []
        self._by_name: dict[str, Section] | None = {}

    def section(self, name: str) -> "Section | None":
        """Return the first section called ``name``."""
        if self._by_name is None:
            self._by_name = {section.name: section for section in reversed(self.sections)}
        return self._by_name.get(name)

    def forget_names(self) -> None:
        """Say that a section was removed, moved or renamed."""
        self._by_name = None

    def append(self, type_name: str, name: str, place: "Place") -> Section:
        """Add a section at the end; an empty ``name`` makes it anonymous."""
        section = self.new_section(type_name, name, place)
        self.sections.append(section)
        if self._by_name is not None:
            self._by_name.setdefault(section.name, section)
        return section

    def new_section(self, type_name: str, name: str, place: "Place") -> Section:
        """Make and count a section that is not in the package yet."""
        self.allocated += 1
        return Section(name or self._made_up_name(type_name), type_name, not name, place)

    def _made_up_name(self, type_name: str) -> str:
        # djb2 over signed chars; libuci also hashes the options, of which there are none yet.
        value = 5381
        for byte in type_name.encode("utf-8", "surrogateescape"):
            value = (value * 33 + byte - ((byte & 0x80) << 1)) & 0xFFFFFFFF
        return f"cfg{self.allocated:02x}{value & 0xFFFF:04x}"
