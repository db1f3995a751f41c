"""The one door to the C library: system calls that Python's own modules do not have.

Built on ``_ctypes``, the C half of ctypes, because importing ``ctypes`` costs 3 ms. Every failure
becomes an OSError of the fitting subclass with errno, the kernel's text, and the thing in
``filename``.
"""

import _ctypes
import posix

from uxc.linux.const import NR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A C ``long``: what syscall(2) takes first and returns."""

    _type_ = "l"


class _Word(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A machine word: an integer of any sign, NULL (None), or the address of bytes or a Buffer."""

    _type_ = "P"


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _Syscall(_ctypes.CFuncPtr):
    """``long syscall(long, ...)``; the interpreter lock is released while the kernel works."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long
    _argtypes_ = (_Long, _Word, _Word, _Word, _Word, _Word, _Word)


class _LockedSyscall(_ctypes.CFuncPtr):
    """The same with the interpreter lock held: between the fork hooks nobody else may run."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = _Long
    _argtypes_ = (_Long, _Word, _Word, _Word, _Word, _Word, _Word)


class _ForkHook(_ctypes.CFuncPtr):
    """``void PyOS_…(void)``."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = None
    _argtypes_ = ()


_library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None: the program itself
_syscall_address = _ctypes.dlsym(_library, "syscall")
_syscall = _Syscall(_syscall_address)
_locked_syscall = _LockedSyscall(_syscall_address)
_get_errno = _ctypes.get_errno
_strerror = posix.strerror


def fail(number: int, what: "str | bytes | int | None") -> "NoReturn":
    """Raise the OSError for errno ``number`` about ``what``."""
    raise OSError(number, _strerror(number), what)


def syscall(
    name: str,
    what: "str | bytes | int | None",
    a: "Any" = 0,
    b: "Any" = 0,
    c: "Any" = 0,
    d: "Any" = 0,
    e: "Any" = 0,
    f: "Any" = 0,
) -> int:
    """Make the system call ``name`` and return its result.

    Arguments are words: integers, None for NULL, bytes (read by the kernel) or a buffer made by
    ``buffer()``. Raises OSError about ``what``.
    """
    result: int = _syscall(NR[name], a, b, c, d, e, f)
    if result == -1:
        fail(_get_errno(), what)
    return result


def locked_syscall(name: str, a: "Any" = 0, b: "Any" = 0) -> "tuple[int, int]":
    """Make a call that may return twice, keeping the interpreter lock: (result, errno)."""
    result: int = _locked_syscall(NR[name], a, b, 0, 0, 0, 0)
    return result, _get_errno() if result == -1 else 0


def fork_hook(name: str) -> "Any":
    """Return the interpreter's C function ``name`` (PyOS_BeforeFork and its kin)."""
    return _ForkHook(_ctypes.dlsym(_library, name))


_buffer_types: "dict[int, Any]" = {}


def buffer(size: int) -> "Any":
    """Return ``size`` zero bytes that the kernel may write to; ``.raw`` reads and writes them."""
    kind = _buffer_types.get(size)
    if kind is None:
        kind = type("Buffer", (_ctypes.Array,), {"_type_": _Byte, "_length_": size})
        _buffer_types[size] = kind
    return kind()


def memory_at(place: int, size: int) -> "Any":
    """Return the ``size`` bytes of this process at the address ``place``, as ``buffer`` does."""
    kind: Any = type("Memory", (_ctypes.Array,), {"_type_": _Byte, "_length_": size})
    return kind.from_address(place)


def address(memory: "Any") -> int:
    """Return the address of a buffer, for structures that hold pointers; keep it alive."""
    return _ctypes.addressof(memory)


class StringVector:
    """A NULL-terminated ``char *[]`` as execve(2) takes it; owns its strings."""

    __slots__ = ("_strings", "array")

    def __init__(self, strings: "list[bytes]") -> None:
        """Copy ``strings``; raises ValueError when one contains a NUL byte."""
        for text in strings:
            if b"\0" in text:
                raise ValueError("a NUL byte in an argument or environment string")
        block = b"".join(text + b"\0" for text in strings)
        self._strings = buffer(len(block) or 1)
        self._strings.raw = block or b"\0"
        count = len(strings) + 1
        self.array = type("Pointers", (_ctypes.Array,), {"_type_": _Word, "_length_": count})()
        at = _ctypes.addressof(self._strings)
        for index, text in enumerate(strings):
            self.array[index] = at
            at += len(text) + 1
