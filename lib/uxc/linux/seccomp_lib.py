"""libseccomp: rules about system calls become a BPF program (seccomp_rule_add(3) and its kin).

Built on ``_ctypes`` like ``libc``; docs/decisions/0021-seccomp-binding.md says why no binding is
used. Loaded only when a filter is compiled: importing this module opens the library.
"""

import _ctypes
import _struct
import errno
import posix

from uxc.linux.libc import buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBRARY = "libseccomp.so.2"

# enum scmp_compare.
COMPARE = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}

_VERSION_NUMBERS = 3
_WORD_BYTES = 4


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Unsigned(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "I"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


_library = _ctypes.dlopen(LIBRARY, 0)


def _function(name: str, result: "Any", *arguments: "Any") -> "Any":
    kind = type(
        name,
        (_ctypes.CFuncPtr,),
        {"_flags_": _ctypes.FUNCFLAG_CDECL, "_restype_": result, "_argtypes_": arguments},
    )
    return kind(_ctypes.dlsym(_library, name))


_init = _function("seccomp_init", _Pointer, _Unsigned)
_release = _function("seccomp_release", None, _Pointer)
_arch_resolve_name = _function("seccomp_arch_resolve_name", _Unsigned, _Pointer)
_arch_add = _function("seccomp_arch_add", _Int, _Pointer, _Unsigned)
_resolve_name = _function("seccomp_syscall_resolve_name", _Int, _Pointer)
_rule_add_array = _function(
    "seccomp_rule_add_array", _Int, _Pointer, _Unsigned, _Int, _Unsigned, _Pointer
)
_export_bpf = _function("seccomp_export_bpf", _Int, _Pointer, _Int)
_get_version = _function("seccomp_version", _Pointer)

# __NR_SCMP_ERROR: other negative numbers are pseudo system calls of some architecture.
_UNKNOWN = -1


def version() -> "tuple[int, int, int]":
    """Return the version of the loaded library."""
    # struct scmp_version lives in the library.
    words = type(buffer(_VERSION_NUMBERS * _WORD_BYTES)).from_address(_get_version())
    major, minor, micro = _struct.unpack("=3I", words.raw)
    return major, minor, micro


def syscall_number(name: str) -> "int | None":
    """Return libseccomp's number for the system call ``name``, None when it knows none."""
    number: int = _resolve_name(_text(name))
    return None if number == _UNKNOWN else number


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


class Filter:
    """A filter in the making, for the native architecture and those added; to be closed."""

    __slots__ = ("_context",)

    def __init__(self, default_action: int) -> None:
        """Begin with what happens to system calls without a rule (a SECCOMP_RET_* value).

        Raises OSError EINVAL when the library or the kernel does not know the action.
        """
        self._context: int | None = _init(default_action)
        if not self._context:
            _fail(-errno.EINVAL, "default action")

    def close(self) -> None:
        """Free the filter; the second call does nothing."""
        if self._context:
            _release(self._context)
            self._context = None

    def add_architecture(self, name: str) -> None:
        """Let the rules hold for the architecture, named as in seccomp_arch_add(3): ``x86_64``.

        Raises OSError: EINVAL when the library does not know it, EDOM when its byte order is not
        the native one.
        """
        token = _arch_resolve_name(_text(name))
        if not token:
            _fail(-errno.EINVAL, name)
        code = _arch_add(self._context, token)
        if code != -errno.EEXIST:
            _check(code, name)

    def add_rule(
        self, action: int, number: int, conditions: "list[tuple[int, int, int, int]]", name: str
    ) -> None:
        """Do ``action`` for the system call ``number`` when all ``conditions`` hold.

        A condition is (argument, comparison, first, second) on unsigned 64-bit numbers; the first
        is the mask for MASKED_EQ. Each argument may appear once. Raises OSError about ``name``:
        EEXIST when the same rule is there with another action.
        """
        # struct scmp_arg_cmp.
        block = b"".join(_struct.pack("=IIQQ", *condition) for condition in conditions)
        _check(_rule_add_array(self._context, action, number, len(conditions), block), name)

    def export(self) -> bytes:
        """Return the program: an array of struct sock_filter; OSError."""
        # seccomp_export_bpf_mem is younger (2.6) than the libraries in use.
        fd = posix.memfd_create("seccomp", posix.MFD_CLOEXEC)
        try:
            _check(_export_bpf(self._context, fd), "filter")
            return posix.pread(fd, posix.fstat(fd).st_size, 0)
        finally:
            posix.close(fd)


def _check(code: int, what: str) -> None:
    if code < 0:
        _fail(code, what)


def _fail(code: int, what: str) -> None:
    raise OSError(-code, posix.strerror(-code), what)


def loaded_path() -> str:
    """Return the file that the library was loaded from, empty when it cannot be told."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if path.rpartition("/")[2].startswith("libseccomp.so"):
                return "/" + path
    return ""
