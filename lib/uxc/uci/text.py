"""UCI files: text to packages and back, with libuci's grammar and libuci's bytes.

``parse_file`` is for readers that want line numbers; the rest serves the store.
"""

from uxc.uci import delta, edits
from uxc.uci.exceptions import UciDuplicate, UciException, UciParseError
from uxc.uci.lockedfile import read_shared
from uxc.uci.model import Package
from uxc.uci.pointer import Pointer, valid_name, valid_type
from uxc.uci.scanner import Scanner, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from uxc.uci.model import Place, Section

_KEYWORDS = {
    b"package": "package",
    b"p": "package",
    b"config": "config",
    b"c": "config",
    b"option": "option",
    b"o": "option",
    b"list": "list",
    b"l": "list",
}


def decode(data: bytes) -> str:
    """Turn bytes of a file into str; what is not UTF-8 survives as surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Undo ``decode``."""
    return text.encode("utf-8", "surrogateescape")


class Importer:
    """Reads statements into packages: one that is given, or those that the text names.

    With ``single``, ``package`` statements are checked and ignored. With ``into``, the statements
    edit that package and are recorded as changes.
    """

    def __init__(
        self,
        scanner: Scanner,
        name: str = "",
        file: str = "",
        strict: bool = True,
        single: bool = True,
        into: "Package | None" = None,
        taken: "Callable[[str], bool]" = lambda name: False,
    ) -> None:
        """Read from ``scanner``; ``name`` is the package until the text names another.

        ``taken`` tells which package names are in use elsewhere.
        """
        self._scanner = scanner
        self._name = name
        self._file = file
        self._strict = strict
        self._single = single
        self._merge = into is not None
        self._taken = taken
        self._package = into
        self._section: Section | None = None
        # Where the present statement begins: a quoted value may end lines later.
        self._place: Place = (file, 0)
        self.packages: list[Package] = []

    def run(self, on_error: "Callable[[UciException], None]") -> "Package | None":
        """Read everything; return the package read last.

        ``on_error`` is told of each error. A parse error ends the reading only if strict, any other
        error always: UciParseError, UciDuplicate, UciExceptionInvalidInput; OSError from reading.
        """
        scanner = self._scanner
        while not scanner.stream.ended:
            try:
                if scanner.next_line() and not self._plain_statement():
                    self._statements()
            except UciException as error:
                if isinstance(error, UciParseError):
                    error.file = self._file
                on_error(error)
                if self._strict or not isinstance(error, UciParseError):
                    raise
        if self._package is None and self._name:
            self._open_package()
        return self._package

    def _plain_statement(self) -> bool:
        """Do the work of a line in the form that libuci writes; False if it is any other line."""
        words = self._scanner.plain_words()
        if words is None:
            return False
        if not words:
            return True
        self._place = self._file, self._scanner.line
        kind = _KEYWORDS.get(words[0])
        if kind == "config" and self._package is not None and 2 <= len(words) <= 3:
            type_name = decode(words[1])
            name = decode(words[2]) if len(words) == 3 else ""
            if valid_type(type_name) and (len(words) == 2 or self._fits(type_name, name)):
                self._config(type_name, name)
                return True
        elif kind in ("option", "list") and self._section is not None and len(words) == 3:
            name = decode(words[1])
            if valid_name(name):
                self._option(name, decode(words[2]), kind == "list")
                return True
        return False

    def _fits(self, type_name: str, name: str) -> bool:
        """Tell whether ``name`` is one, and no section of another type has it."""
        known = None if self._package is None else self._package.section(name)
        return valid_name(name) and (known is None or known.type == type_name)

    def _statements(self) -> None:
        """Read the statements of a line, which semicolons divide."""
        scanner = self._scanner
        scanner.skip_blanks()
        while True:
            word = scanner.keyword()
            if not word or word[:1] == b"#":
                return
            self._place = self._file, scanner.line
            kind = _KEYWORDS.get(word)
            if kind == "package":
                self._read_package()
            elif kind == "config":
                self._read_config()
            elif kind is not None:
                self._read_option(kind == "list")
            else:
                scanner.fail("invalid command")

    def _read_package(self) -> None:
        scanner = self._scanner
        scanner.past_keyword("package without name")
        name = decode(scanner.word(required=True))
        # Stricter than for the name of a file, which may be any visible text.
        if not valid_name(name.replace("-", "_")):
            scanner.fail("invalid character in name field")
        scanner.end_of_command(self._strict)
        if not self._single:
            self._name = name
            self._open_package()

    def _read_config(self) -> None:
        scanner = self._scanner
        if self._package is None:
            if not self._name:
                scanner.fail("attempting to import a file without a package name")
            self._open_package()
        scanner.past_keyword("config without name")
        type_name = decode(scanner.word(required=True))
        if not valid_type(type_name):
            scanner.fail("invalid character in type field")
        name = self._read_name(required=False)
        scanner.end_of_command(self._strict)
        if self._strict and name and not self._fits(type_name, name):
            scanner.fail("section of different type overwrites prior section with same name")
        self._config(type_name, name)

    def _read_option(self, as_list: bool) -> None:
        scanner = self._scanner
        if self._section is None:
            scanner.fail("option/list command found before the first section")
        scanner.past_keyword("option without name")
        name = self._read_name(required=True)
        value = decode(scanner.word())
        scanner.end_of_command(self._strict)
        self._option(name, value, as_list)

    def _read_name(self, required: bool) -> str:
        name = decode(self._scanner.word(required))
        if name and not valid_name(name):
            self._scanner.fail("invalid character in name field")
        return name

    def _open_package(self) -> None:
        """Begin the package that is named now."""
        self._package = self._section = None
        if self._taken(self._name) or any(p.name == self._name for p in self.packages):
            raise UciDuplicate
        self._package = Package(self._name)
        self.packages.append(self._package)

    def _config(self, type_name: str, name: str) -> None:
        package = self._package
        if package is None:
            raise AssertionError("a section outside a package")
        if not name:
            self._section = edits.add_section(package, type_name, self._merge, self._place)
            return
        pointer = Pointer(package.name, name, value=type_name)
        pointer.found_package = package
        pointer.found_section = package.section(name)
        edits.set_value(pointer, self._merge, self._place)
        self._section = pointer.found_section

    def _option(self, name: str, value: str, as_list: bool) -> None:
        package, section = self._package, self._section
        if package is None or section is None:
            raise AssertionError("an option outside a section")
        pointer = Pointer(package.name, section.name, name, value)
        pointer.found_package = package
        pointer.found_section = section
        pointer.found_option = section.option(name)
        edit = edits.add_list if as_list else edits.set_value
        edit(pointer, self._merge, self._place)


def export(package: Package, header: bool, name_all: bool = False) -> bytes:
    """Write a package as libuci does.

    ``header`` puts the ``package`` statement first, ``name_all`` names anonymous sections too.
    """
    parts = [f"package {_escape(package.name)}\n"] if header else []
    for section in package.sections:
        parts.append(f"\nconfig {_escape(section.type)}")
        if name_all or not section.anonymous:
            parts.append(f" '{_escape(section.name)}'")
        parts.append("\n")
        for option in section.entries:
            name = _escape(option.name)
            if isinstance(option.value, list):
                parts.extend(f"\tlist {name} '{_escape(item)}'\n" for item in option.value)
            else:
                parts.append(f"\toption {name} '{_escape(option.value)}'\n")
    parts.append("\n")
    return encode("".join(parts))


def _escape(text: str) -> str:
    return text.replace("'", "'\\''")


def parse(data: bytes, name: str, file: str = "", strict: bool = True) -> Package:
    """Read the text of one package called ``name``; ``file`` is what its places will say.

    Raises UciParseError if ``strict``; otherwise wrong statements are left out and listed in the
    package's ``problems``.
    """
    problems: list[UciParseError] = []

    def keep(error: UciException) -> None:
        if isinstance(error, UciParseError):
            problems.append(error)

    package = Importer(Scanner(Stream(data)), name, file, strict).run(keep)
    if package is None:
        raise AssertionError("a named package was not made")
    package.problems = problems
    return package


def parse_file(path: str, strict: bool = True, deltas: "tuple[str, ...]" = ()) -> Package:
    """Read the configuration file at ``path``, named by its last component.

    ``deltas`` are the folders of delta files that apply on top, in order; they may be missing.
    What a delta sets has the delta file and its line for a place. Raises OSError as open(2) and
    read(2), UciParseError as ``parse`` (a damaged line of a delta is ignored, as libuci does).
    """
    name = path.rpartition("/")[2]
    package = parse(read_shared(path), name, path, strict)
    package.path = path
    package.has_delta = True
    for folder in deltas:
        delta_path = f"{folder}/{name}"
        try:
            data = read_shared(delta_path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        delta.apply(Scanner(Stream(data)), package, delta_path)
    return package
