"""The commands of uci, with the exit codes of the real one: 255 asks for the usage text."""

from uxc.uci import delta, edits, text
from uxc.uci.exceptions import UciException, UciExceptionNotFound
from uxc.uci.pointer import parse_tuple
from uxc.uci.scanner import Scanner
from uxc.ucicli import display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.uci.model import Package
    from uxc.uci.pointer import Pointer
    from uxc.ucicli.session import Session

USAGE = 255
_LEAVE_BATCH = 254
# A command of a batch has at most so many words, its name included.
_BATCH_WORDS = 3
_ALIASES = {"ren": "rename", "del": "delete"}
_PACKAGE_COMMANDS = ("show", "changes", "export", "commit")
_SECTION_COMMANDS = (
    "get",
    "set",
    "rename",
    "revert",
    "reorder",
    "delete",
    "add_list",
    "del_list",
)
_COMMANDS_WITHOUT_VALUE = ("get", "revert")


def run(session: "Session", words: "list[str]") -> int:
    """Run the command whose name is ``words[0]``; return its exit code."""
    name = words[0].lower() if words[0].isascii() else words[0]
    name = _ALIASES.get(name, name)
    arguments = words[1:]
    if name == "batch" and not session.in_batch:
        return _batch(session)
    if name in _SECTION_COMMANDS:
        return USAGE if len(arguments) != 1 else _section_command(session, name, arguments[0])
    if name in _PACKAGE_COMMANDS:
        return USAGE if len(arguments) > 1 else _package_command(session, name, arguments)
    if name == "import":
        return USAGE if len(arguments) > 1 else _import(session, arguments)
    if name == "add":
        return USAGE if len(arguments) != 2 else _add(session, arguments[0], arguments[1])
    if name == "help":
        session.show_usage()
        return 0
    return USAGE


def _section_command(session: "Session", name: str, target: str) -> int:
    store = session.store
    try:
        pointer = parse_tuple(target)
        store.lookup(pointer)
    except UciException as error:
        session.report(error)
        return 1
    if name in _COMMANDS_WITHOUT_VALUE and pointer.value is not None:
        return 1
    if name == "get":
        return _get(session, pointer)
    if name == "revert":
        try:
            store.revert(pointer)
        except UciException:
            # The real command says nothing and returns 0, whatever comes of a revert.
            return 0
        return 0
    if name == "delete" and pointer.value is not None and not delta.index_given(pointer.value):
        return 1
    try:
        _edit(name, pointer)
        if pointer.found_package is not None:
            store.save(pointer.found_package)
    except UciException as error:
        session.report(error)
        return 1
    return 0


def _get(session: "Session", pointer: "Pointer") -> int:
    if not pointer.complete:
        session.report(UciExceptionNotFound())
        return 1
    if pointer.found_option is not None:
        value = display.display_value(pointer.found_option, session.delimiter, False)
        session.write(f"{value}\n")
    elif pointer.found_section is not None:
        session.write(f"{pointer.found_section.type}\n")
    return 0


def _edit(name: str, pointer: "Pointer") -> None:
    if name == "set":
        edits.set_value(pointer, True)
    elif name == "rename":
        edits.rename(pointer, True)
    elif name == "add_list":
        edits.add_list(pointer, True)
    elif name == "del_list":
        edits.del_list(pointer, True)
    elif name == "delete":
        edits.delete(pointer, True)
    else:
        package, section = pointer.found_package, pointer.found_section
        if package is None or section is None or pointer.value is None:
            raise UciExceptionNotFound
        edits.reorder(package, section, delta.position(pointer.value), True)


def _package_command(session: "Session", name: str, arguments: "list[str]") -> int:
    if arguments:
        return _one_package(session, name, arguments[0])
    try:
        packages = session.store.list_configs()
    except UciException as error:
        session.report(error)
        return 1
    for package in packages:
        _one_package(session, name, package)
    return 0


def _one_package(session: "Session", name: str, target: str) -> int:
    store = session.store
    try:
        pointer = parse_tuple(target)
        store.lookup(pointer)
    except UciException as error:
        session.report(error)
        return 1
    package = pointer.found_package
    if package is None:
        raise AssertionError("a package was looked up and not found")
    try:
        if name == "changes":
            display.show_changes(session, package)
        elif name == "commit":
            if session.commit:
                package = store.commit(package)
        elif name == "export":
            session.write_bytes(text.export(package, True, store.name_all))
        else:
            _show(session, pointer, package)
    except UciException as error:
        session.report(error)
        return 1
    finally:
        store.unload(package)
    return 0


def _show(session: "Session", pointer: "Pointer", package: "Package") -> None:
    if not pointer.complete:
        raise UciExceptionNotFound
    section, option = pointer.found_section, pointer.found_option
    if section is None:
        display.show_package(session, package)
    elif option is None:
        display.show_section(session, package, section, section.name)
    else:
        display.show_option(session, package, section.name, option)


def _import(session: "Session", arguments: "list[str]") -> int:
    store = session.store
    name = arguments[0] if arguments else None
    if session.merge and name is None:
        return USAGE
    existing = None
    if session.merge and name is not None:
        try:
            existing = store.load(name)
        except UciException:
            # What cannot be merged into is replaced.
            existing = None
    try:
        store.import_text(session.input, name, "", existing)
        if existing is not None:
            store.save(existing)
        else:
            _overwrite_all(session)
    except UciException as error:
        session.report(error)
        return 1
    return 0


def _overwrite_all(session: "Session") -> None:
    """Commit every imported package; only the last one's failure is told, as by the real uci."""
    failure: UciException | None = None
    for package in list(session.store.packages):
        try:
            session.store.overwrite(package)
            failure = None
        except UciException as error:
            failure = error
    if failure is not None:
        raise failure


def _add(session: "Session", name: str, type_name: str) -> int:
    store = session.store
    try:
        package = store.load(name)
        section = edits.add_section(package, type_name, True)
        store.save(package)
    except UciException as error:
        session.report(error)
        return error.code
    session.write(f"{section.name}\n")
    return 0


def _batch(session: "Session") -> int:
    """Run the commands of the input, one a line; their failures do not end it."""
    session.in_batch = True
    while not session.input.ended:
        code = _batch_line(session)
        if code == _LEAVE_BATCH:
            return 0
        if code == USAGE:
            session.complain("Unknown command\n")
        session.flush()
        session.store.packages.clear()
    session.in_batch = False
    return 0


def _batch_line(session: "Session") -> int:
    store = session.store
    # A command that loaded a package has used up libuci's one parser: line numbers start again.
    if store.scanner is None or store.scanner.stream is not session.input:
        store.scanner = Scanner(session.input)
    scanner = store.scanner
    words: list[str] = []
    scanner.next_line()
    while True:
        try:
            word = text.decode(scanner.word())
        except UciException as error:
            session.report(error)
            return 0
        if not word:
            break
        words.append(word)
        if len(words) > _BATCH_WORDS:
            session.complain("Too many arguments\n")
            return 1
    if not words:
        return 0
    if words[0].isascii() and words[0].lower() == "exit":
        return _LEAVE_BATCH
    return run(session, words)
