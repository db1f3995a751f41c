"""libuci's context: loaded packages, their folders, and saving, committing and reverting them.

The order of locks is libuci's: the configuration file first, then the delta file.
"""

import posix

from uxc.uci import delta, lockedfile, text
from uxc.uci.exceptions import (
    UciDuplicate,
    UciException,
    UciExceptionInvalidInput,
    UciExceptionNotFound,
    UciIOError,
)
from uxc.uci.model import Package
from uxc.uci.pointer import Pointer, valid_type
from uxc.uci.scanner import Scanner, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FILE_MODE = 0o600
_DIR_MODE = 0o700
_MODE_BITS = 0o7777
_TYPE_BITS, _REGULAR, _DIRECTORY = 0o170000, 0o100000, 0o040000


def _ignore(error: UciException) -> None:
    """Take note of nothing: the error is raised as well, or it is allowed."""


class Store:
    """Packages from ``confdir``, or from ``conf2dir`` where it has a file of that name.

    Edits that are not committed are kept in ``savedir``; deltas found in every folder of
    ``delta_path``, of which ``savedir`` is the last, apply to what is loaded. ``scanner`` is the
    parser that is at work or has failed: error messages tell its position.
    """

    def __init__(self, confdir: str, savedir: str, conf2dir: str = "") -> None:
        """Use these folders; an empty ``conf2dir`` means that there are no override files."""
        self.confdir = confdir
        self.conf2dir = conf2dir
        self.savedir = savedir
        self.delta_path = [savedir]
        self.strict = True
        self.name_all = False
        self.on_parse_error: Callable[[UciException], None] = _ignore
        self.packages: list[Package] = []
        self.scanner: Scanner | None = None

    # Folders

    def set_savedir(self, path: str) -> None:
        """Save to ``path`` from now on; the old folder stays in the delta path, as in libuci."""
        if path in self.delta_path:
            self.delta_path.remove(path)
        self.delta_path.append(path)
        self.savedir = path

    def add_delta_path(self, path: str) -> None:
        """Apply the deltas in ``path`` too, before those of the save folder.

        Raises UciDuplicate when it is in the delta path already.
        """
        if path in self.delta_path:
            raise UciDuplicate
        self.delta_path.insert(-1, path)

    def list_configs(self) -> "list[str]":
        """Return the names of the packages in ``confdir``, sorted; UciExceptionNotFound if none.

        Folders, and names with a dot in them, are no packages.
        """
        try:
            names = [name for name in posix.listdir(f"{self.confdir}/") if name[:1] != "."]
        except OSError:
            names = []
        if not names:
            raise UciExceptionNotFound
        return sorted(
            name
            for name in names
            if "." not in name
            and valid_type(name)
            and _file_type(f"{self.confdir}/{name}") != _DIRECTORY
        )

    # Loading

    def find(self, name: str) -> "Package | None":
        """Return the loaded package called ``name``."""
        for package in self.packages:
            if package.name == name:
                return package
        return None

    def load(self, name: str) -> Package:
        """Read a package with the deltas that apply to it.

        ``name`` may be a path that begins with ``/`` or ``./``: such a file has no deltas. Raises
        UciExceptionNotFound, UciIOError, UciParseError, UciExceptionInvalidInput (a name that none
        can have), UciDuplicate (it is loaded already).
        """
        package_name, path, outside = self._locate(name)
        if _file_type(path) != _REGULAR:
            raise UciExceptionNotFound
        try:
            data = lockedfile.read_shared(path)
        except OSError as error:
            raise UciIOError from error
        package = self._parse(Stream(data), package_name, path)
        package.path = path
        package.has_delta = not outside
        if package.has_delta:
            for folder in self.delta_path:
                self._apply_delta(package, f"{folder}/{package.name}")
        return package

    def _locate(self, name: str) -> "tuple[str, str, bool]":
        """Return package name, path, and whether that is outside of our folders."""
        if name[:1] == "/" or name[:2] == "./":
            return name.rpartition("/")[2], name, True
        if name[:1] == ".":
            raise UciExceptionNotFound
        if not valid_type(name):
            raise UciExceptionInvalidInput
        if self.conf2dir and _file_type(f"{self.conf2dir}/{name}"):
            return name, f"{self.conf2dir}/{name}", False
        return name, f"{self.confdir}/{name}", False

    def _parse(self, stream: Stream, name: str, path: str) -> Package:
        package = self.import_text(stream, name, path)
        if package is None:
            raise AssertionError("a named package was not made")
        return package

    def import_text(
        self, stream: Stream, name: "str | None", path: str = "", into: "Package | None" = None
    ) -> "Package | None":
        """Read packages out of ``stream`` into memory; return the last one.

        Without a ``name`` the text itself must name its packages. ``into`` is a loaded package
        that the text edits. Raises UciParseError, UciDuplicate, UciIOError.
        """
        self.scanner = Scanner(stream)
        if name is not None and not valid_type(name):
            raise UciExceptionInvalidInput
        importer = text.Importer(
            self.scanner,
            name or "",
            path,
            self.strict,
            name is not None,
            into,
            lambda other: self.find(other) is not None,
        )
        try:
            package = importer.run(self.on_parse_error)
        except UciException:
            # What came before the package with the error is there, as in libuci.
            self.packages.extend(importer.packages[:-1])
            raise
        except OSError as error:
            raise UciIOError from error
        self.packages.extend(importer.packages)
        self.scanner = None
        return package

    def _apply_delta(self, package: Package, path: str) -> int:
        if _file_type(path) != _REGULAR:
            return 0
        try:
            data = lockedfile.read_shared(path)
        except OSError:
            # A delta that may not be read does not exist, as for libuci.
            return 0
        return delta.apply(Scanner(Stream(data)), package, path)

    def unload(self, package: Package) -> None:
        """Forget a loaded package and its unsaved changes."""
        if package in self.packages:
            self.packages.remove(package)

    # Looking up

    def lookup(self, pointer: Pointer) -> None:
        """Resolve ``pointer``, loading its package if need be; raises what ``load`` raises."""
        pointer.resolve(self.find(pointer.package) or self.load(pointer.package))

    # Writing

    def save(self, package: Package) -> None:
        """Append the package's unsaved changes to its delta file (UciIOError).

        A package outside of ``confdir`` has none and is committed instead.
        """
        if not package.has_delta:
            self._write(package)
            return
        if not package.changes:
            return
        data = text.encode("".join(delta.format_change(package.name, c) for c in package.changes))
        try:
            self._make_savedir()
            path = f"{self.savedir}/{package.name}"
            fd = lockedfile.open_exclusive(path, self._create_mode(package.name))
            try:
                lockedfile.append(fd, data)
            finally:
                posix.close(fd)
        except OSError as error:
            raise UciIOError from error
        package.changes.clear()

    def _make_savedir(self) -> None:
        kind = _file_type(self.savedir)
        if not kind:
            try:
                mode = posix.stat(self.confdir).st_mode & _MODE_BITS
            except OSError:
                mode = _DIR_MODE
            try:
                posix.mkdir(self.savedir, mode)
            except OSError:
                # The delta file cannot be made either, and that is the error to report.
                return
        elif kind != _DIRECTORY:
            raise UciIOError

    def _create_mode(self, name: str) -> int:
        try:
            return posix.stat(f"{self.confdir}/{name}").st_mode & _MODE_BITS
        except OSError:
            return _FILE_MODE

    def commit(self, package: Package) -> Package:
        """Write a package with all its deltas to its file; return it as it was read again.

        Without a pending change the file stays as it is. The deltas in the save folder are emptied
        once the file is in place. Raises UciIOError, UciParseError, UciExceptionInvalidInput.
        """
        if not package.has_delta:
            self._write(package)
            return package
        if package.changes:
            self.save(package)
        try:
            fd = lockedfile.open_exclusive(package.path, self._create_mode(package.name))
        except OSError as error:
            raise UciIOError from error
        try:
            return self._commit_locked(package, Stream(fd=fd))
        except OSError as error:
            raise UciIOError from error
        finally:
            posix.close(fd)

    def _commit_locked(self, package: Package, stream: Stream) -> Package:
        # Others may have changed the file since it was read: their text, our deltas.
        self.unload(package)
        fresh = self._parse(stream, package.name, package.path)
        fresh.path, fresh.has_delta = package.path, True
        applied = 0
        for folder in self.delta_path[:-1]:
            applied += self._apply_delta(fresh, f"{folder}/{fresh.name}")
        path = f"{self.savedir}/{fresh.name}"
        try:
            delta_fd = lockedfile.open_exclusive(path)
        except OSError:
            # Not there, or not ours to empty: what can be read of it still counts.
            if applied + self._apply_delta(fresh, path):
                self._replace(fresh)
            return fresh
        try:
            # Locked until it is empty, so that no change appended meanwhile is lost.
            data = lockedfile.read_all(delta_fd)
            applied += delta.apply(Scanner(Stream(data)), fresh, path)
            if applied:
                self._replace(fresh)
                posix.ftruncate(delta_fd, 0)
        finally:
            posix.close(delta_fd)
        return fresh

    def overwrite(self, package: Package) -> None:
        """Make an imported package the content of its file in ``confdir`` (UciIOError)."""
        package.path = package.path or f"{self.confdir}/{package.name}"
        self._write(package)

    def _write(self, package: Package) -> None:
        if not package.path:
            raise UciExceptionInvalidInput
        try:
            name = package.path.rpartition("/")[2]
            fd = lockedfile.open_exclusive(package.path, self._create_mode(name))
            try:
                self._replace(package)
            finally:
                posix.close(fd)
        except OSError as error:
            raise UciIOError from error

    def _replace(self, package: Package) -> None:
        lockedfile.replace(package.path, text.export(package, False, self.name_all))

    def revert(self, pointer: Pointer) -> None:
        """Drop the changes of what ``pointer`` names from the delta file and load it again.

        Raises UciExceptionInvalidInput for a package without deltas, else what ``load`` raises.
        """
        package = pointer.found_package
        if package is None or not package.has_delta:
            raise UciExceptionInvalidInput
        self.save(package)
        self.unload(package)
        self._filter_delta(package.name, pointer)
        pointer.found_package = self.load(package.name)

    def _filter_delta(self, name: str, pointer: Pointer) -> None:
        self.scanner = None
        try:
            fd = lockedfile.open_exclusive(f"{self.savedir}/{name}")
        except OSError:
            return
        try:
            scanner = Scanner(Stream(lockedfile.read_all(fd)))
            kept = delta.without(scanner, pointer.section, pointer.option)
            data = "".join(delta.format_change(name, change) for change in kept)
            lockedfile.overwrite(fd, text.encode(data))
        except UciException:
            # One damaged statement, and libuci leaves the whole file alone.
            return
        except OSError as error:
            raise UciIOError from error
        finally:
            posix.close(fd)


def _file_type(path: str) -> int:
    """Return the type bits of what is at ``path``; 0 if nothing is."""
    try:
        return posix.stat(path).st_mode & _TYPE_BITS
    except (OSError, ValueError):
        return 0
