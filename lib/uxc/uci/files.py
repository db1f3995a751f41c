"""pyuci's ``Uci`` without libuci: the same calls, results and exceptions over our own store.

What pyuci declares but does not implement (changes, load, unload), and what cannot work in its
releases (reorder, set_confdir, set_savedir), works here. Where pyuci passes over a failed save or
commit in silence, this raises.
"""

from uxc import paths
from uxc.uci import edits
from uxc.uci.exceptions import UciException, UciExceptionInvalidInput, UciExceptionNotFound
from uxc.uci.pointer import Pointer, parse_tuple
from uxc.uci.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from uxc.uci.model import Option, Package, Section

    Value: TypeAlias = str | tuple[str, ...]
    Values: TypeAlias = dict[str, Value]
    Result: TypeAlias = Value | Values | dict[str, Values]


class Uci:
    """A context in which packages are loaded at their first use and stay loaded.

    As a context manager it commits every loaded package at the end of the block if anything was
    set since the last save or commit, also when the block ends by an exception (so does pyuci).
    """

    def __init__(
        self,
        savedir: "str | None" = None,
        confdir: "str | None" = None,
        conf2dir: "str | None" = None,
    ) -> None:
        """Use these folders, by default those of UXC_PREFIX.

        The default save folder stays in the delta path when ``savedir`` is another one, as in
        libuci. An empty ``conf2dir`` means no override files.
        """
        places = paths.from_environment()
        self._open: Store | None = Store(
            places.config_dir if confdir is None else confdir,
            places.uci_save_dir,
            places.uci_conf2_dir if conf2dir is None else conf2dir,
        )
        if savedir is not None:
            self._open.set_savedir(savedir)
        self._tainted = False

    @property
    def _store(self) -> Store:
        if self._open is None:
            raise UciException("this Uci was closed at the end of its with statement")
        return self._open

    def __enter__(self) -> "Uci":
        """Return this object; UciException if it was closed."""
        if self._open is None:
            raise UciException("Entering with non-initialized object is invalid")
        return self

    def __exit__(self, *_: object) -> None:
        """Commit if anything was set, and close this object; raises as ``commit``."""
        store = self._store
        try:
            if self._tainted:
                for package in list(store.packages):
                    store.commit(package)
        finally:
            self._open = None

    def get(
        self, config: str, section: "str | None" = None, option: "str | None" = None
    ) -> "Result":
        """Return an option's value, a section's type, or a package's sections with their options.

        A list is a tuple of str. ``config`` alone may be ``package.section.option``, in which the
        section may be ``@type[index]``. Raises UciExceptionNotFound, UciExceptionInvalidInput.
        """
        pointer = self._existing(config, section, option)
        if pointer.found_option is None and pointer.found_section is not None:
            return pointer.found_section.type
        return _result(pointer)

    def get_all(
        self, config: str, section: "str | None" = None, option: "str | None" = None
    ) -> "Result":
        """Return the same as ``get``, but of a section its options instead of its type."""
        return _result(self._existing(config, section, option))

    def set(self, *arguments: object) -> None:
        """``set(config, section, type)`` or ``set(config, section, option, value)``.

        A list or tuple of str as value makes a list; an empty str deletes. Raises UciException when
        the section of an option does not exist, TypeError for what is no text.
        """
        if len(arguments) not in (3, 4):
            raise UciException("Invalid number of arguments passed to Uci.set()")
        *names, value = arguments
        items = list(value) if isinstance(value, (list, tuple)) else None
        if items is None and not isinstance(value, str):
            raise UciException("Unsupported value passed to uci.set()")
        pointer = self._lookup(*(_text(name) for name in names))
        if items is None:
            pointer.value = _text(value)
            edits.set_value(pointer, True)
        else:
            self._set_list(pointer, [_text(item) for item in items])
        self._tainted = True

    def _set_list(self, pointer: Pointer, items: "list[str]") -> None:
        if pointer.option is None or (items and pointer.found_section is None):
            raise UciExceptionInvalidInput
        if pointer.complete:
            edits.delete(pointer, True)
        for item in items:
            pointer.value = item
            edits.add_list(pointer, True)

    def add(self, config: str, section_type: str) -> str:
        """Add an anonymous section, save it, and return its name.

        Raises UciExceptionNotFound when the package does not exist.
        """
        store = self._store
        loaded = store.find(_text(config))
        package = loaded or store.load(config)
        section = edits.add_section(package, _text(section_type), True)
        store.save(package)
        if loaded is None:
            # pyuci's add leaves nothing loaded, so that a with statement does not commit it.
            store.unload(package)
        self._tainted = True
        return section.name

    def delete(
        self, config: str, section: "str | None" = None, option: "str | None" = None
    ) -> None:
        """Delete a section or an option; one that does not exist is no error.

        Raises UciExceptionNotFound when the package does not exist.
        """
        pointer = self._lookup(config, section, option)
        if pointer.complete and pointer.found_section is not None:
            edits.delete(pointer, True)
        self._tainted = True

    def rename(self, *arguments: str) -> None:
        """``rename(config, section, name)`` or ``rename(config, section, option, name)``.

        Raises UciExceptionNotFound.
        """
        if len(arguments) not in (3, 4):
            raise UciException("Invalid number of arguments passed to Uci.rename()")
        *names, new = (_text(argument) for argument in arguments)
        pointer = self._lookup(*names)
        pointer.value = new
        edits.rename(pointer, True)
        self._tainted = True

    def reorder(self, config: str, section: str, position: int) -> None:
        """Move a section to ``position``, 0 being the first; UciExceptionNotFound."""
        pointer = self._existing(config, section, None)
        if pointer.found_package is None or pointer.found_section is None:
            raise UciExceptionNotFound
        edits.reorder(pointer.found_package, pointer.found_section, position, True)
        self._tainted = True

    def save(self, config: str, section: "str | None" = None, option: "str | None" = None) -> None:
        """Append the unsaved changes of a package to its delta file; UciIOError."""
        self._store.save(self._package(config, section, option))
        self._tainted = False

    def commit(
        self, config: str, section: "str | None" = None, option: "str | None" = None
    ) -> None:
        """Write the package with all its changes to its file; all of it, whatever is named.

        Raises UciIOError, UciParseError.
        """
        self._store.commit(self._package(config, section, option))
        self._tainted = False

    def revert(
        self, config: str, section: "str | None" = None, option: "str | None" = None
    ) -> None:
        """Drop the uncommitted changes of a package, a section or an option."""
        self._store.revert(self._lookup(config, section, option))
        self._tainted = False

    def changes(self, config: "str | None" = None) -> "dict[str, list[tuple[str, ...]]]":
        """Return the saved changes of one package, or of all that have some.

        Each is (command, section[, option][, value]), with the commands of rpcd's ``uci.changes``:
        add, set, remove, rename, order, list-add, list-del. Changes not saved yet are left out.
        """
        # Read afresh: a loaded package knows only what was saved when it was loaded.
        store = Store(self._store.confdir, self._store.savedir, self._store.conf2dir)
        store.delta_path = self._store.delta_path
        found = {}
        for name in store.list_configs() if config is None else [_text(config)]:
            saved = store.load(name).saved
            if saved or config is not None:
                found[name] = [change.parts() for change in saved]
        return found

    def load(self, config: str) -> None:
        """Read a package again, dropping what was changed and not saved; UciExceptionNotFound."""
        self.unload(config)
        self._store.load(_text(config))

    def unload(self, config: str) -> None:
        """Forget a package and what was changed in it and not saved, if it is loaded."""
        package = self._store.find(_text(config))
        if package is not None:
            self._store.unload(package)

    def list_configs(self) -> "list[str]":
        """Return the names of all packages in the configuration folder; UciExceptionNotFound."""
        return self._store.list_configs()

    def confdir(self) -> str:
        """Return the folder of configuration files."""
        return self._store.confdir

    def set_confdir(self, path: str) -> None:
        """Load packages from ``path`` from now on."""
        self._store.confdir = _text(path)

    def conf2dir(self) -> str:
        """Return the folder of override files; empty if there is none."""
        return self._store.conf2dir

    def set_conf2dir(self, path: str) -> None:
        """Look for override files in ``path`` from now on; empty: nowhere."""
        self._store.conf2dir = _text(path)

    def savedir(self) -> str:
        """Return the folder of delta files that ``save`` writes."""
        return self._store.savedir

    def set_savedir(self, path: str) -> None:
        """Save to ``path`` from now on; the old folder stays in the delta path."""
        self._store.set_savedir(_text(path))

    def add_delta_path(self, path: str) -> None:
        """Apply the deltas in ``path`` too; UciDuplicate if they are already."""
        self._store.add_delta_path(_text(path))

    def _lookup(
        self, config: str, section: "str | None" = None, option: "str | None" = None
    ) -> Pointer:
        if section is None and option is None:
            pointer = parse_tuple(_text(config))
        else:
            # As in pyuci, separate names are taken as they are: no @type[index] here.
            pointer = Pointer(
                _text(config),
                None if section is None else _text(section),
                None if option is None else _text(option),
            )
        self._store.lookup(pointer)
        return pointer

    def _existing(self, config: str, section: "str | None", option: "str | None") -> Pointer:
        pointer = self._lookup(config, section, option)
        if not pointer.complete:
            raise UciExceptionNotFound
        return pointer

    def _package(self, config: str, section: "str | None", option: "str | None") -> "Package":
        package = self._lookup(config, section, option).found_package
        if package is None:
            raise UciExceptionNotFound
        return package


def _text(value: object) -> str:
    """Return ``value`` if it is what a C string can hold; TypeError or ValueError otherwise."""
    if not isinstance(value, str):
        raise TypeError(f"must be str, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError("embedded null character")
    return value


def _result(pointer: Pointer) -> "Result":
    if pointer.found_option is not None:
        return _option_value(pointer.found_option)
    if pointer.found_section is not None:
        return _section_values(pointer.found_section)
    package = pointer.found_package
    if package is None:
        raise UciExceptionNotFound
    return {section.name: _section_values(section) for section in package.sections}


def _section_values(section: "Section") -> "Values":
    return {option.name: _option_value(option) for option in section.entries}


def _option_value(option: "Option") -> "Value":
    return tuple(option.value) if isinstance(option.value, list) else option.value
