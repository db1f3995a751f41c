"""The text of ``uci show``, ``get`` and ``changes``."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.uci.model import Option, Package, Section
    from uxc.ucicli.session import Session

_PREFIXES = {"remove": "-"}
_OPERATORS = {"list-add": "+=", "list-del": "-="}


def quoted(value: str) -> str:
    """Return ``value`` in single quotes, in a form that a shell and uci read back."""
    return "'" + value.replace("'", "'\\''") + "'"


def show_package(session: "Session", package: "Package") -> None:
    """Print every section and option; anonymous sections as ``@type[index]``, unless ``-X``."""
    seen: dict[str, int] = {}
    for section in package.sections:
        index = seen.get(section.type, 0)
        seen[section.type] = index + 1
        name = section.name
        if section.anonymous and session.extended:
            name = f"@{section.type}[{index}]"
        show_section(session, package, section, name)


def show_section(session: "Session", package: "Package", section: "Section", name: str) -> None:
    """Print a section and its options under ``name``."""
    session.write(f"{package.name}.{name}={section.type}\n")
    for option in section.entries:
        show_option(session, package, name, option)


def show_option(session: "Session", package: "Package", section: str, option: "Option") -> None:
    """Print one option as an assignment."""
    value = display_value(option, session.delimiter, True)
    session.write(f"{package.name}.{section}.{option.name}={value}\n")


def display_value(option: "Option", delimiter: str, quote: bool) -> str:
    """Return the value for people; without ``quote`` only list items with blanks are quoted."""
    if isinstance(option.value, str):
        return quoted(option.value) if quote else option.value
    return delimiter.join(
        quoted(item) if quote or any(c in item for c in " \t\r\n") else item
        for item in option.value
    )


def show_changes(session: "Session", package: "Package") -> None:
    """Print the saved changes; adding, renaming and moving look like setting, as in libuci."""
    for change in package.saved:
        option = "" if change.option is None else f".{change.option}"
        line = f"{_PREFIXES.get(change.command, '')}{package.name}.{change.section}{option}"
        if change.command != "remove":
            line += _OPERATORS.get(change.command, "=") + quoted(change.value or "")
        session.write(f"{line}\n")
