"""Delta files: edits that were saved but not committed, one file a package."""

from uxc.uci import edits
from uxc.uci.exceptions import (
    UciException,
    UciExceptionInvalidInput,
    UciExceptionNotFound,
    UciParseError,
)
from uxc.uci.model import Change
from uxc.uci.pointer import as_int, leading_integer, parse_tuple, valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.uci.model import Package
    from uxc.uci.pointer import Pointer
    from uxc.uci.scanner import Scanner

_COMMANDS = {
    "+": "add",
    "-": "remove",
    "@": "rename",
    "^": "order",
    "|": "list-add",
    "~": "list-del",
}
_PREFIXES = {command: prefix for prefix, command in _COMMANDS.items()}
_ULONG = 1 << 64


def read_change(scanner: "Scanner") -> "tuple[str, Pointer]":
    """Read the statement at the scanner's line: its command and its target.

    Raises UciParseError or UciExceptionInvalidInput when it is no delta statement.
    """
    text = scanner.word().decode("utf-8", "surrogateescape")
    if not scanner.at_end:
        raise UciExceptionInvalidInput
    command = _COMMANDS.get(text[:1], "set")
    pointer = parse_tuple(text if command == "set" else text[1:])
    value = pointer.value
    if (
        pointer.section is None
        or pointer.extended
        or (value is None and command != "remove")
        or (command == "order" and pointer.option is not None)
        or (command == "rename" and not valid_name(value or ""))
        or (command in ("list-add", "list-del") and pointer.option is None)
    ):
        raise UciExceptionInvalidInput
    return command, pointer


def apply(scanner: "Scanner", package: "Package", file: str) -> int:
    """Apply the statements of a delta file to ``package``; return how many could be applied.

    Each one that was understood is added to the package's ``saved``. A damaged statement, or one
    whose target is gone, is ignored: as much as possible of a delta is kept.
    """
    applied = 0
    while not scanner.stream.ended:
        if not scanner.next_line():
            continue
        try:
            _apply_one(scanner, package, file)
            applied += 1
        except UciException:
            # libuci's rule for deltas: the line counts for nothing.
            continue
    return applied


def _apply_one(scanner: "Scanner", package: "Package", file: str) -> None:
    place = file, scanner.line
    command, pointer = read_change(scanner)
    if pointer.package != package.name:
        raise UciParseError
    package.saved.append(Change(command, pointer.section or "", pointer.option, pointer.value))
    pointer.resolve(package)
    if command == "order":
        _reorder(package, pointer)
    elif command == "rename":
        edits.rename(pointer, False)
    elif command == "remove":
        edits.delete(pointer, False)
    elif command == "list-add":
        edits.add_list(pointer, False, place)
    elif command == "list-del":
        edits.del_list(pointer, False)
    else:
        edits.set_value(pointer, False, place)
        if command == "add" and pointer.option is None and pointer.found_section is not None:
            pointer.found_section.anonymous = True


def _reorder(package: "Package", pointer: "Pointer") -> None:
    if pointer.found_section is None:
        raise UciExceptionNotFound
    edits.reorder(package, pointer.found_section, position(pointer.value or ""), False)


def position(text: str) -> int:
    """Read a position as libuci does: strtoul into an int, so that text counts as 0."""
    value = leading_integer(text)[0]
    if not -_ULONG < value < _ULONG:
        value = _ULONG - 1
    return as_int(value)


def index_given(text: str) -> bool:
    """Tell whether ``text`` begins with an integer, or is empty, as sscanf's ``%d`` sees it."""
    return leading_integer(text)[1] != text or not text.strip(" \t\n\v\f\r")


def format_change(package: str, change: Change) -> str:
    """Write one statement with its newline."""
    option = "" if change.option is None else f".{change.option}"
    head = f"{_PREFIXES.get(change.command, '')}{package}.{change.section}{option}"
    if change.value is None:
        return f"{head}\n"
    value = change.value.replace("'", "'\\''")
    return f"{head}='{value}'\n"


def without(scanner: "Scanner", section: "str | None", option: "str | None") -> "list[Change]":
    """Return the statements of a delta file that are not about ``section`` (and ``option``).

    None matches everything. Raises UciException at the first damaged statement: libuci reverts
    nothing then.
    """
    kept = []
    while not scanner.stream.ended:
        if not scanner.next_line():
            continue
        command, pointer = read_change(scanner)
        if (section is not None and pointer.section != section) or (
            option is not None and pointer.option != option
        ):
            kept.append(Change(command, pointer.section or "", pointer.option, pointer.value))
    return kept
