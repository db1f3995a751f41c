"""Our own commits: edits that go straight into a configuration file and nowhere else.

libuci commits every pending change that it finds, so that ``uxc enable`` would put another
admin's half-finished edits into force. It cannot be told not to: its default save folder stays in
its delta path for good. So a transaction takes libuci's lock on the file, edits what is committed
and replaces the file; no delta is read, written or emptied.
"""

import posix
import time

from uxc.errors import ConflictError, InvalidError, NotFoundError, system_failure
from uxc.uci import edits, lockedfile, text
from uxc.uci.exceptions import UciException, UciParseError
from uxc.uci.pointer import Pointer, valid_name, valid_text, valid_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.paths import Paths
    from uxc.uci.model import Package, Section

# The only configuration that may begin to exist by an edit of ours.
_OWN_PACKAGE = "uxc"
_FILE_MODE = 0o600
# LuCI waits so many seconds for the confirmation, or longer if luci.apply.rollback says so.
_ROLLBACK_SECONDS = 90
_ROLLBACK_SLACK = 5


class Transaction:
    """One package, locked against all other writers while the ``with`` block lasts.

    The block's edits are committed together at its end; if it raises, nothing was changed.
    """

    def __init__(self, places: "Paths", name: str) -> None:
        """Prepare to edit the package ``name``; nothing is opened yet."""
        self._places = places
        self._name = name
        self._path = ""
        self._fd = -1
        self._made = False
        self._before = b""
        self._package: Package | None = None

    def __enter__(self) -> "Transaction":
        """Lock and read the file.

        Raises ConflictError while LuCI may roll its last changes back, NotFoundError when there is
        no such configuration, InvalidError when it is not readable as UCI, SystemFailure.
        """
        refuse_while_rollback(self._places)
        self._path = f"{self._places.uci_conf2_dir}/{self._name}"
        if not _exists(self._path):
            self._path = f"{self._places.config_dir}/{self._name}"
        try:
            self._fd = self._open()
            try:
                data = lockedfile.read_all(self._fd)
                self._package = text.parse(data, self._name, self._path)
            except BaseException:
                self._close()
                raise
        except UciParseError as error:
            raise InvalidError(f"{self._path}:{error.line}: {error.reason.lower()}") from None
        except FileNotFoundError:
            raise NotFoundError(f"there is no configuration {self._path}") from None
        except OSError as error:
            raise system_failure(f"open {self._path}", error) from None
        self._before = text.export(self._package, False)
        return self

    def _open(self) -> int:
        try:
            return lockedfile.open_exclusive(self._path)
        except FileNotFoundError:
            if self._name != _OWN_PACKAGE:
                raise
        self._made = True
        return lockedfile.open_exclusive(self._path, _FILE_MODE)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        """Commit if the block ended well and changed something; SystemFailure if that fails."""
        try:
            if kind is None and self._package is not None:
                self._commit(self._package)
        except OSError as error:
            raise system_failure(f"write {self._path}", error) from None
        finally:
            self._close()

    def _commit(self, package: "Package") -> None:
        data = text.export(package, False)
        if data != self._before:
            lockedfile.replace(self._path, data)
            self._made = False

    def _close(self) -> None:
        try:
            if self._made:
                posix.unlink(self._path)
        finally:
            posix.close(self._fd)
            self._fd = -1

    def section(self, name: str) -> "Section | None":
        """Return the committed section called ``name`` as the edits so far have made it."""
        return self._opened().section(name)

    @property
    def sections(self) -> "list[Section]":
        """All sections, in order."""
        return list(self._opened().sections)

    def add(self, type_name: str, name: str = "") -> str:
        """Append a section and return its name; an empty ``name`` makes it anonymous.

        Raises ConflictError when the name is taken, InvalidError when UCI does not allow it.
        """
        package = self._opened()
        if not valid_type(type_name) or (name and not valid_name(name)):
            raise InvalidError(f"'{name or type_name}' cannot name a section in UCI")
        if name and package.section(name) is not None:
            raise ConflictError(f"{self._path} has a section '{name}' already")
        return package.append(type_name, name, (self._path, 0)).name

    def set(self, section: str, option: str, value: "str | list[str]") -> None:
        """Set an option, or with a list of values a list; what is empty is deleted.

        Raises NotFoundError without such a section, InvalidError for what UCI cannot hold.
        """
        pointer = self._pointer(section, option)
        values = [value] if isinstance(value, str) else value
        if not valid_name(option) or not all(valid_text(item) for item in values):
            raise InvalidError(f"option '{option}' of '{section}' cannot be written in UCI")
        if isinstance(value, str):
            pointer.value = value
            edits.set_value(pointer, False)
            return
        found = pointer.found_option
        if found is not None and value:
            # In the place of the old value, not behind the other options.
            found.value = list(value)
            found.item_places = [(found.file, found.line)] * len(value)
            return
        self.delete(section, option)
        for item in value:
            pointer = self._pointer(section, option, item)
            edits.add_list(pointer, False)

    def delete(self, section: str, option: str = "") -> None:
        """Delete a section, or one option of it if it is there; NotFoundError without section."""
        pointer = self._pointer(section, option or None)
        if pointer.complete:
            edits.delete(pointer, False)

    def rename(self, section: str, name: str) -> None:
        """Rename a section; NotFoundError, ConflictError, InvalidError as ``add``."""
        pointer = self._pointer(section, None, name)
        if not valid_name(name):
            raise InvalidError(f"'{name}' cannot name a section in UCI")
        if self._opened().section(name) is not None:
            raise ConflictError(f"{self._path} has a section '{name}' already")
        edits.rename(pointer, False)

    def _pointer(self, section: str, option: "str | None", value: "str | None" = None) -> Pointer:
        pointer = Pointer(self._name, section, option, value)
        pointer.resolve(self._opened())
        if pointer.found_section is None:
            raise NotFoundError(f"{self._path} has no section '{section}'")
        return pointer

    def _opened(self) -> "Package":
        if self._package is None or self._fd < 0:
            raise AssertionError("a transaction is used outside of its with block")
        return self._package


def refuse_while_rollback(places: "Paths") -> None:
    """Raise ConflictError while rpcd may put older files back (LuCI's "apply" with a countdown).

    What a window leaves behind is the folder ``snapshot-files``, with a copy of each file that it
    changed: made when it opens, removed when it closes. An apply without rollback leaves the same
    folder for good, hence the limit on its age.
    """
    folder = f"{places.rpcd_dir}/snapshot-files"
    try:
        names = sorted(name for name in posix.listdir(folder) if name[:1] != ".")
        age = time.time() - posix.stat(folder).st_mtime
    except OSError:
        # No folder, no rpcd, or it closed the window this moment.
        return
    left = _rollback_seconds(places) + _ROLLBACK_SLACK - abs(age)
    if names and left > 0:
        raise ConflictError(
            f"LuCI may still roll back its changes to {', '.join(names)}",
            f"confirm or revert them in LuCI, or try again in {int(left) + 1} seconds",
        )


def _rollback_seconds(places: "Paths") -> int:
    try:
        luci = text.parse_file(f"{places.config_dir}/luci", strict=False)
    except (OSError, UciException):
        return _ROLLBACK_SECONDS
    section = luci.section("apply")
    option = None if section is None else section.option("rollback")
    value = "" if option is None else option.value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return max(int(value[:9]), _ROLLBACK_SECONDS)
    return _ROLLBACK_SECONDS


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True
