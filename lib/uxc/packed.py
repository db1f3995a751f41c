"""Modules from one file: what the programs that start often import, without a search for each.

An import looks at directories, opens, reads and checks a file: four fifths of its time for modules
as small as ours (docs/decisions/0024). ``lib/pack.py`` puts the byte code of many into one file,
this module first of all, which the launcher executes from there. An entry whose source has changed
since is left to the ordinary import, and so is everything when there is no such file.

Layout: a head of 32 KiB with the triple (code of this module, index, size of the file), then the
code of the others, all as ``marshal`` writes it. The name has the interpreter's version, on which
byte code depends.
"""

import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import EXTENSION_SUFFIXES, ExtensionFileLoader
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    # Is it a package? Its path below the library, the source's mtime (ns) and size, where its
    # code is in the file, how long, and the packed modules that it imports when it is executed.
    Entry = tuple[bool, str, int, int, int, int, tuple[str, ...]]

_Module: "type[ModuleType]" = type(sys)
# Those that commands need first of all. The importer would read three directories for them.
_EXTENSIONS = ("_ctypes", "_json")


class Finder:
    """What ``sys.meta_path`` asks first: finds and loads the modules of one file."""

    __slots__ = ("_fd", "_index", "_library")

    def __init__(self, fd: int, index: "dict[str, Entry]", library: str) -> None:
        """Take the open file, its index, and the directory that holds the sources."""
        self._fd = fd
        self._index = index
        self._library = library

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        """Return how to load ``name``, None for what is not here or has changed since."""
        if name in _EXTENSIONS:
            return _extension(name)
        entry = self._fresh(name)
        if entry is None:
            return None
        place = self._library + entry[1]
        # The importer wants two methods, typeshed a subclass of the base class of all loaders.
        spec = ModuleSpec(name, self, origin=place, is_package=entry[0])  # type: ignore[arg-type]
        spec.has_location = True
        if entry[0]:
            spec.submodule_search_locations = [self._directory(entry)]
        return spec

    def create_module(self, spec: object) -> None:
        """Leave making the module to the importer."""

    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module, and what it imports before it."""
        entry = self._index[module.__name__]
        self._load_needed(entry)
        exec(self._code(entry), module.__dict__)

    def _fresh(self, name: str) -> "Entry | None":
        entry = self._index.get(name)
        if entry is None:
            return None
        try:
            found = posix.stat(self._library + entry[1])
        except FileNotFoundError:
            # Packages for routers come without sources.
            return entry
        return entry if (found.st_mtime_ns, found.st_size) == entry[2:4] else None

    def _directory(self, entry: "Entry") -> str:
        return (self._library + entry[1]).rpartition("/")[0]

    def _code(self, entry: "Entry") -> "CodeType":
        code: CodeType = loads(posix.pread(self._fd, entry[5], entry[4]))
        return code

    def _load_needed(self, entry: "Entry") -> None:
        """Load what the entry imports, each before who wants it.

        The import statements find it in ``sys.modules`` then and have nothing left to do, which
        costs a fifth of what the importer does for a module.
        """
        modules = sys.modules
        for name in entry[6]:
            if name not in modules:
                needed = self._fresh(name)
                if needed is not None:
                    self._load(name, needed)

    def _load(self, name: str, entry: "Entry") -> None:
        parent, _, last = name.rpartition(".")
        if parent and parent not in sys.modules:
            # It has changed; the importer comes to it, and then to this one.
            return
        self._load_needed(entry)
        module = _Module(name)
        module.__file__ = self._library + entry[1]
        module.__package__ = name if entry[0] else parent
        if entry[0]:
            module.__path__ = [self._directory(entry)]
        sys.modules[name] = module
        try:
            exec(self._code(entry), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
        if parent:
            setattr(sys.modules[parent], last, module)


def _extension(name: str) -> "ModuleSpec | None":
    """Return how to load a module in C of the interpreter's own, None when it is not there."""
    for directory in sys.path:
        if directory.endswith("/lib-dynload"):
            place = f"{directory}/{name}{EXTENSION_SUFFIXES[0]}"
            if posix.access(place, posix.R_OK):
                return ModuleSpec(name, ExtensionFileLoader(name, place), origin=place)
    return None


def use(fd: int, head: "tuple[CodeType, dict[str, Entry], int]", library: str) -> None:
    """Let imports of this process look into the open file first; EOFError when it is not whole."""
    _, index, size = head
    if posix.fstat(fd).st_size != size:
        raise EOFError
    sys.meta_path.insert(0, Finder(fd, index, library))
