"""Run a command of uxc-runtime and note when its functions begin and end, in both processes.

    python3 -I -S stamped.py LIBRARY SPANS NOTES WORD...

SPANS is a file with a line for each function, "module function". NOTES is a file of AREAS times
AREA_BYTES, which the cloned first process shares: an area for each process, a count and then
records (line in SPANS, begin, end, of it importing; nanoseconds of time.perf_counter_ns()). The
first record of the command is its first line. The program under test has no code for this: its
functions are replaced when their modules have come in. Lean like the program, so that little is
added to what is measured.
"""

import time

FIRST_LINE = time.perf_counter_ns()

import _frozen_importlib as importer  # type: ignore[import-not-found]  # noqa: E402
import _struct  # noqa: E402
import mmap  # noqa: E402
import posix  # noqa: E402
import sys  # noqa: E402
from marshal import loads  # noqa: E402

AREAS, AREA_BYTES = 2, 1 << 15
RECORD = "=qqqq"
RECORD_BYTES = 32
_now = time.perf_counter_ns


class Stamps:
    """Where the notes go."""

    def __init__(self, path: str) -> None:
        fd = posix.open(path, posix.O_RDWR)
        self._map = mmap.mmap(fd, AREAS * AREA_BYTES)
        posix.close(fd)
        self._home = posix.getpid()
        # Time spent importing so far; what comes in with an import is not counted twice.
        self.importing = 0
        self._depth = 0

    def note(self, line: int, begin: int, end: int, importing: int) -> None:
        """Keep one record, in the area of the process that this is."""
        area = 0 if posix.getpid() == self._home else AREA_BYTES
        count = _struct.unpack_from("=q", self._map, area)[0]
        at = area + 8 + count * RECORD_BYTES
        _struct.pack_into(RECORD, self._map, at, line, begin, end, importing)
        _struct.pack_into("=q", self._map, area, count + 1)

    def wrap(self, owner: object, name: str, line: int) -> None:
        """Note each call of the function ``name`` of a module or a class."""
        function = getattr(owner, name)

        def stamped(*args: object, **named: object) -> object:
            importing, begin = self.importing, _now()
            try:
                return function(*args, **named)
            finally:
                self.note(line, begin, _now(), self.importing - importing)

        setattr(owner, name, stamped)

    def watch_imports(self, wanted: "dict[str, list[tuple[str, int]]]") -> None:
        """Count the time of imports, and wrap the functions of modules that have come in."""
        find_and_load = importer._find_and_load

        def watched(name: str, import_: object) -> object:
            if self._depth:
                return find_and_load(name, import_)
            self._depth = 1
            begin = _now()
            try:
                return find_and_load(name, import_)
            finally:
                self._depth = 0
                self.importing += _now() - begin
                for module in [module for module in wanted if module in sys.modules]:
                    for function, line in wanted.pop(module):
                        owner: object = sys.modules[module]
                        *classes, last = function.split(".")
                        for part in classes:
                            owner = getattr(owner, part)
                        self.wrap(owner, last, line)

        importer._find_and_load = watched


def _wanted(path: str) -> "dict[str, list[tuple[str, int]]]":
    fd = posix.open(path, posix.O_RDONLY)
    text = posix.read(fd, 1 << 16).decode()
    posix.close(fd)
    wanted: dict[str, list[tuple[str, int]]] = {}
    for line, words in enumerate(text.splitlines()):
        module, function = words.split()
        wanted.setdefault(module, []).append((function, line))
    return wanted


def main() -> None:
    """Be the program; never returns."""
    library, spans, notes, *words = sys.argv[1:]
    stamps = Stamps(notes)
    stamps.note(-1, FIRST_LINE, FIRST_LINE, 0)
    # As bin/uxc-runtime does it.
    sys.path.append(library)
    packed = posix.open(
        f"{library}/packed.{sys.implementation.cache_tag}", posix.O_RDONLY | posix.O_CLOEXEC
    )
    head = loads(posix.pread(packed, 1 << 15, 0))
    names: dict[str, object] = {}
    exec(head[0], names)
    names["use"](packed, head, library)  # type: ignore[operator]
    stamps.watch_imports(_wanted(spans))
    begin = _now()
    from uxc.ocicli import main as program

    stamps.note(-2, begin, _now(), stamps.importing)
    begin, importing = _now(), stamps.importing
    code = program.main(words)
    stamps.note(-3, begin, _now(), stamps.importing - importing)
    posix._exit(code)


if __name__ == "__main__":
    main()
