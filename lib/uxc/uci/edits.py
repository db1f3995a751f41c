"""Edits of a package in memory, with libuci's corner cases; each may be recorded as a change."""

from uxc.uci.exceptions import UciExceptionInvalidInput, UciExceptionNotFound
from uxc.uci.model import NOWHERE, Change, Option
from uxc.uci.pointer import as_int, clamp, leading_integer, valid_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.uci.model import Package, Place, Section
    from uxc.uci.pointer import Pointer


def record(pointer: "Pointer", command: str, value: "str | None") -> None:
    """Remember an edit of what ``pointer`` names, if its package keeps deltas at all."""
    package = _package(pointer)
    if package.has_delta:
        package.changes.append(Change(command, pointer.section or "", pointer.option, value))


def set_value(pointer: "Pointer", tracked: bool, place: "Place" = NOWHERE) -> None:
    """Set an option, make a section or change its type; an empty value deletes what exists.

    Raises UciExceptionInvalidInput when the section of an option does not exist, or a value is
    missing or no section type.
    """
    package = _package(pointer)
    value, section = pointer.value, pointer.found_section
    if value is None or (section is None and (pointer.option is not None or not pointer.section)):
        raise UciExceptionInvalidInput
    if pointer.option is None and value and not valid_type(value):
        raise UciExceptionInvalidInput
    if not value:
        # libuci records this deletion even while it reads a delta file.
        if pointer.complete:
            delete(pointer, True)
        return
    if section is None:
        pointer.found_section = package.append(value, pointer.section or "", place)
    elif pointer.option is None:
        if section.type == value:
            return
        pointer.found_section = _retype(package, section, value)
    else:
        option = pointer.found_option or section.option(pointer.option)
        if option is None:
            option = Option(pointer.option, value, place, [])
            section.entries.append(option)
        elif option.value == value:
            return
        else:
            option.value = value
            option.file, option.line = place
            option.item_places = []
        pointer.found_option = option
    if tracked:
        record(pointer, "set", value)


def _retype(package: "Package", section: "Section", type_name: str) -> "Section":
    """Change a section's type; libuci gives an anonymous one its name for good unless the new
    type is as long as the old one.
    """
    if _length(section.type) != _length(type_name):
        section.anonymous = False
    section.type = type_name
    return section


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def add_section(
    package: "Package", type_name: str, tracked: bool, place: "Place" = NOWHERE
) -> "Section":
    """Append an anonymous section; libuci takes any text as its type here."""
    section = package.append(type_name, "", place)
    if tracked and package.has_delta:
        package.changes.append(Change("add", section.name, None, type_name))
    return section


def delete(pointer: "Pointer", tracked: bool) -> None:
    """Delete a section or an option, or one item of a list when the value is its index.

    An index beyond the list deletes nothing. Raises UciExceptionNotFound when the target does not
    exist, UciExceptionInvalidInput when no section is named.
    """
    package = _package(pointer)
    if not pointer.complete:
        raise UciExceptionNotFound
    section, option = pointer.found_section, pointer.found_option
    if section is None:
        raise UciExceptionInvalidInput
    if option is not None and isinstance(option.value, list) and pointer.value:
        index, unread = leading_integer(pointer.value)
        index = as_int(clamp(index, -(1 << 63), (1 << 63) - 1))
        if unread != pointer.value and 0 <= index < len(option.value):
            if tracked:
                record(pointer, "remove", pointer.value)
            del option.value[index], option.item_places[index]
        return
    if tracked:
        record(pointer, "remove", None)
    if option is not None:
        section.entries.remove(option)
        pointer.found_option = None
    else:
        package.sections.remove(section)
        package.forget_names()
        pointer.found_section = None


def add_list(pointer: "Pointer", tracked: bool, place: "Place" = NOWHERE) -> None:
    """Append an item to a list; a string becomes the first item of a new list.

    Raises UciExceptionInvalidInput when the section does not exist or there is no value.
    """
    section, option, value = pointer.found_section, pointer.found_option, pointer.value
    if section is None or value is None:
        raise UciExceptionInvalidInput
    if option is None and pointer.option is not None:
        option = pointer.found_option = Option(pointer.option, [], place, [])
        section.entries.append(option)
    # Without the name of an option libuci records the change and ignores it at the next reading.
    if option is not None:
        if not isinstance(option.value, list):
            option.item_places = [(option.file, option.line)]
            option.value = [option.value]
        option.value.append(value)
        option.item_places.append(place)
    if tracked:
        record(pointer, "list-add", value)


def del_list(pointer: "Pointer", tracked: bool) -> None:
    """Remove every item that equals the value; nothing happens if the option is no list.

    Raises UciExceptionInvalidInput when the section does not exist or there is no value.
    """
    if pointer.found_section is None or pointer.value is None:
        raise UciExceptionInvalidInput
    option = pointer.found_option
    if option is None or not isinstance(option.value, list):
        return
    if tracked:
        record(pointer, "list-del", pointer.value)
    kept = [i for i, item in enumerate(option.value) if item != pointer.value]
    option.value = [option.value[i] for i in kept]
    option.item_places = [option.item_places[i] for i in kept]


def rename(pointer: "Pointer", tracked: bool) -> None:
    """Give a section or an option the name in the value.

    Raises UciExceptionNotFound when it does not exist, UciExceptionInvalidInput without a value or
    a section. The new name is not checked: a bad one is dropped when the delta is read again.
    """
    package = _package(pointer)
    if not pointer.complete:
        raise UciExceptionNotFound
    section, option = pointer.found_section, pointer.found_option
    if section is None or pointer.value is None:
        raise UciExceptionInvalidInput
    if tracked:
        record(pointer, "rename", pointer.value)
    if option is not None:
        option.name = pointer.value
    else:
        section.name = pointer.value
        section.anonymous = False
        package.forget_names()


def reorder(package: "Package", section: "Section", position: int, tracked: bool) -> None:
    """Move a section to ``position`` (0 is first, too large is last, negative is first)."""
    old = package.sections.index(section)
    package.sections.pop(old)
    new = clamp(position, 0, len(package.sections))
    package.sections.insert(new, section)
    package.forget_names()
    if tracked and old != new and package.has_delta:
        package.changes.append(Change("order", section.name, None, str(position)))


def _package(pointer: "Pointer") -> "Package":
    if pointer.found_package is None:
        raise UciExceptionInvalidInput
    return pointer.found_package
