"""What a UCI operation is about: ``package.section.option=value`` and what it was resolved to."""

from uxc.uci.exceptions import UciExceptionInvalidInput, UciParseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.uci.model import Option, Package, Section


def valid_name(text: str) -> bool:
    """Tell whether ``text`` may name a section or an option: ASCII letters, digits, underscore."""
    if not text.isascii():
        return False
    rest = text.replace("_", "")
    return rest.isalnum() if rest else bool(text)


def valid_type(text: str) -> bool:
    """Tell whether ``text`` may be a section type or a package name: visible ASCII characters."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def valid_text(text: str) -> bool:
    """Tell whether ``text`` may be a value: no control characters but tab, newline and return."""
    return text.isprintable() or not any(c < " " and c not in "\t\n\r" for c in text)


class Pointer:
    """Names, and the elements they were found to stand for.

    ``extended``: the section is written ``@type[index]``, or is no valid name at all.
    ``complete``: everything that was named exists.
    """

    __slots__ = (
        "complete",
        "extended",
        "found_option",
        "found_package",
        "found_section",
        "option",
        "package",
        "section",
        "value",
    )

    def __init__(
        self,
        package: str,
        section: "str | None" = None,
        option: "str | None" = None,
        value: "str | None" = None,
    ) -> None:
        """Name the target; nothing is looked up yet."""
        self.package = package
        self.section = section
        self.option = option
        self.value = value
        self.extended = False
        self.complete = False
        self.found_package: Package | None = None
        self.found_section: Section | None = None
        self.found_option: Option | None = None

    def resolve(self, package: "Package", allow_extended: bool = True) -> None:
        """Find the named section and option in ``package``; what does not exist is left None.

        Raises UciExceptionInvalidInput when the section is neither a name nor ``@type[index]``.
        """
        self.found_package = package
        if self.section is None:
            self.complete = True
            return
        if not self.extended:
            section = package.section(self.section)
        elif allow_extended:
            section = _indexed_section(package, self.section)
        else:
            raise UciExceptionInvalidInput
        if section is None:
            return
        self.found_section = section
        if self.extended:
            self.section = section.name
        if self.option is not None:
            self.found_option = section.option(self.option)
            if self.found_option is None:
                return
        self.complete = True


def parse_tuple(text: str) -> Pointer:
    """Read ``package[.section[.option]][=value]``.

    Raises UciParseError (without a place) when a part has characters that it must not have.
    """
    target, equals, value = text.partition("=")
    parts = target.split(".")
    if len(parts) > 3:
        raise UciParseError
    pointer = Pointer(
        parts[0],
        parts[1] if len(parts) > 1 else None,
        parts[2] if len(parts) > 2 else None,
        value if equals else None,
    )
    if (
        not valid_type(pointer.package)
        or (pointer.option is not None and not valid_name(pointer.option))
        or not valid_text(value)
    ):
        raise UciParseError
    pointer.extended = pointer.section is not None and not valid_name(pointer.section)
    return pointer


def _indexed_section(package: "Package", text: str) -> "Section | None":
    """Find ``@type[index]`` or ``@[index]``; a negative index counts from the end."""
    type_name, bracket, rest = text[1:].partition("[")
    number, closing, tail = rest.partition("]")
    if text[:1] != "@" or not bracket or not closing or tail:
        raise UciExceptionInvalidInput
    index, unread = leading_integer(number)
    if (unread and number) or (type_name and not valid_type(type_name)):
        raise UciExceptionInvalidInput
    index = as_int(clamp(index, -(1 << 63), (1 << 63) - 1))
    sections = [s for s in package.sections if not type_name or s.type == type_name]
    if index < 0:
        index += len(sections)
    return sections[index] if 0 <= index < len(sections) else None


def leading_integer(text: str) -> "tuple[int, str]":
    """Split a decimal integer off the front, as strtol does: its value (0 if none) and the rest.

    Without any digit the rest is all of ``text``.
    """
    rest = text.lstrip(" \t\n\v\f\r")
    negative = rest[:1] == "-"
    if rest[:1] in ("+", "-"):
        rest = rest[1:]
    size = 0
    while size < len(rest) and rest[size] in "0123456789":
        size += 1
    if not size:
        return 0, text
    # Python refuses to convert huge texts; twenty digits are beyond every limit already.
    value = int(rest[:size].lstrip("0")[:20] or "0")
    return -value if negative else value, rest[size:]


def clamp(value: int, low: int, high: int) -> int:
    """Return ``value``, or the limit it is beyond."""
    return max(low, min(high, value))


def as_int(value: int) -> int:
    """Cut ``value`` down to a C int of 32 bits, as an assignment does."""
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
