"""pyuci's interface: ``Uci`` and its exceptions, by libuci where it exists, else by our files.

Loaded when asked for, so that whoever needs one module of this room pays for that one alone.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXCEPTIONS = (
    "UciDuplicate",
    "UciException",
    "UciExceptionInvalidInput",
    "UciExceptionNotFound",
    "UciIOError",
    "UciParseError",
)


def __getattr__(name: str) -> "Any":
    if name == "Uci":
        from uxc.uci import backend

        return backend.choose()
    if name in _EXCEPTIONS:
        from uxc.uci import exceptions

        return getattr(exceptions, name)
    raise AttributeError(f"module 'uxc.uci' has no attribute '{name}'")
