"""libuci through pyuci: the only importer of the module ``uci``; ImportError where it is missing.

pyuci (0.8 to 0.10) declares methods that do nothing useful: reorder always fails, changes, load
and unload are not implemented, set_confdir and set_savedir return before they set anything. Here
they work, by a new libuci context or by the delta files, which are the same for both backends.
Exceptions are ours, so that callers need to know one set of classes.
"""

import uci

from uxc.uci import files
from uxc.uci.exceptions import (
    UciDuplicate,
    UciException,
    UciExceptionInvalidInput,
    UciExceptionNotFound,
    UciIOError,
    UciParseError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

if not hasattr(uci, "Uci"):
    raise ImportError("the module 'uci' is not the binding of libuci")

_CLASSES = (
    UciExceptionInvalidInput,
    UciExceptionNotFound,
    UciIOError,
    UciParseError,
    UciDuplicate,
)
# Releases before 0.10 know two exceptions only.
_InvalidInput = getattr(uci, "UciExceptionInvalidInput", uci.UciException)


class Uci:
    """The same as ``files.Uci``; libuci knows no folder of override files but its own."""

    def __init__(self, savedir: "str | None" = None, confdir: "str | None" = None) -> None:
        """Use these folders, by default those that libuci was built with."""
        self._savedir = savedir
        self._confdir = confdir
        self._closed = False
        # What pyuci does not tell: which packages are loaded, and which have unsaved changes.
        self._loaded: set[str] = set()
        self._unsaved: set[str] = set()
        self._tainted = False
        self._uci = self._fresh()

    def _fresh(self) -> "Any":
        folders = {"savedir": self._savedir, "confdir": self._confdir}
        return uci.Uci(**{name: path for name, path in folders.items() if path is not None})

    def _renew(self, dropped: str = "") -> None:
        """Forget everything loaded; save unsaved changes first, but those of ``dropped``."""
        for name in sorted(self._unsaved - {dropped}):
            self._call("save", name)
        self._unsaved.clear()
        self._loaded.clear()
        self._uci = self._fresh()

    def _call(self, method: str, *arguments: object) -> "Any":
        if self._closed:
            raise UciException("this Uci was closed at the end of its with statement")
        function: Callable[..., Any] = getattr(self._uci, method)
        # pyuci splits "package.section" inside the very str object that it is given.
        copies = [item[:1] + item[1:] if isinstance(item, str) else item for item in arguments]
        try:
            return function(*copies)
        except uci.UciExceptionNotFound:
            raise UciExceptionNotFound from None
        except uci.UciException as error:
            text = str(error)
            for cls in _CLASSES:
                if text.startswith(cls.text):
                    raise cls from None
            if isinstance(error, _InvalidInput) and _InvalidInput is not uci.UciException:
                raise UciExceptionInvalidInput from None
            raise UciException(text) from None

    def _use(self, method: str, *arguments: object) -> "Any":
        """Call a method whose first argument names the package that it loads."""
        result = self._call(method, *arguments)
        self._loaded.add(_package(arguments))
        return result

    def _change(self, method: str, *arguments: object) -> None:
        self._use(method, *arguments)
        self._unsaved.add(_package(arguments))
        self._tainted = True

    def __enter__(self) -> "Uci":
        """Return this object; UciException if it was closed."""
        if self._closed:
            raise UciException("Entering with non-initialized object is invalid")
        return self

    def __exit__(self, *_: object) -> None:
        """Commit every loaded package if anything was set, and close this object."""
        if self._tainted:
            for name in sorted(self._loaded):
                self._call("commit", name)
        self._closed = True

    def get(self, config: str, *names: str) -> "Any":
        """See ``files.Uci.get``."""
        return self._use("get", config, *names)

    def get_all(self, config: str, *names: str) -> "Any":
        """See ``files.Uci.get_all``."""
        return self._use("get_all", config, *names)

    def set(self, *arguments: object) -> None:
        """See ``files.Uci.set``."""
        self._change("set", *arguments)

    def delete(self, config: str, *names: str) -> None:
        """See ``files.Uci.delete``."""
        self._change("delete", config, *names)

    def rename(self, *arguments: str) -> None:
        """See ``files.Uci.rename``."""
        self._change("rename", *arguments)

    def add(self, config: str, section_type: str) -> str:
        """See ``files.Uci.add``; pyuci refuses it for a package that is loaded."""
        if config in self._loaded:
            self._renew()
        name: str = self._call("add", config, section_type)
        self._tainted = True
        return name

    def reorder(self, config: str, section: str, position: int) -> None:
        """See ``files.Uci.reorder``; unsaved changes are saved on the way."""
        self._renew()
        other = files.Uci(savedir=self.savedir(), confdir=self.confdir())
        other.reorder(config, section, position)
        other.save(config)
        # Loaded again, so that the end of a with statement commits it.
        self._use("get", config)
        self._tainted = True

    def save(self, config: str, *names: str) -> None:
        """See ``files.Uci.save``."""
        self._settle("save", config, *names)

    def commit(self, config: str, *names: str) -> None:
        """See ``files.Uci.commit``."""
        self._settle("commit", config, *names)

    def revert(self, config: str, *names: str) -> None:
        """See ``files.Uci.revert``."""
        self._settle("revert", config, *names)

    def _settle(self, method: str, *arguments: str) -> None:
        self._use(method, *arguments)
        self._unsaved.discard(_package(arguments))
        self._tainted = False

    def changes(self, config: "str | None" = None) -> "dict[str, list[tuple[str, ...]]]":
        """See ``files.Uci.changes``: it reads the same delta files."""
        return files.Uci(savedir=self.savedir(), confdir=self.confdir()).changes(config)

    def load(self, config: str) -> None:
        """See ``files.Uci.load``; unsaved changes of other packages are saved on the way."""
        self._renew(dropped=config)
        self._use("get", config)

    def unload(self, config: str) -> None:
        """See ``files.Uci.unload``; unsaved changes of other packages are saved on the way."""
        self._renew(dropped=config)

    def list_configs(self) -> "list[str]":
        """See ``files.Uci.list_configs``."""
        names: list[str] = self._call("list_configs")
        return names

    def confdir(self) -> str:
        """Return the folder of configuration files."""
        path: str = self._call("confdir")
        return path

    def set_confdir(self, path: str) -> None:
        """Load packages from ``path`` from now on; UciException while changes are unsaved."""
        self._require_saved()
        self._confdir = path
        self._renew()

    def savedir(self) -> str:
        """Return the folder of delta files that ``save`` writes."""
        path: str = self._call("savedir")
        return path

    def set_savedir(self, path: str) -> None:
        """Save to ``path`` from now on; UciException while changes are unsaved."""
        self._require_saved()
        self._savedir = path
        self._renew()

    def _require_saved(self) -> None:
        if self._unsaved:
            names = ", ".join(sorted(self._unsaved))
            raise UciException(f"save or commit first, what was changed would be lost: {names}")


def _package(arguments: "tuple[object, ...]") -> str:
    """Return the package in the first argument, which may be ``package.section.option``."""
    return str(arguments[0]).partition(".")[0]
