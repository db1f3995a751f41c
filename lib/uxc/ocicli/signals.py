"""Signals by the names and numbers that people and programs type."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it

from uxc.errors import InvalidError

TERMINATE: int = _signal.SIGTERM


def parse(text: str) -> int:
    """Return the number of a signal given as number or name, with or without SIG; InvalidError."""
    if text.isascii() and text.isdigit():
        number = int(text)
    else:
        name = text.upper().removeprefix("SIG")
        number = _number(name)
    if not 0 < number <= _signal.SIGRTMAX:
        raise InvalidError(f"unknown signal '{text}'")
    return number


def _number(name: str) -> int:
    # Real-time signals are named by their distance from either end, as in kill(1).
    for base in ("RTMIN", "RTMAX"):
        if name.startswith(base):
            distance = name[len(base) :]
            if not distance:
                return int(getattr(_signal, f"SIG{base}"))
            if distance[1:].isdigit() and distance[0] == ("+" if base == "RTMIN" else "-"):
                return int(getattr(_signal, f"SIG{base}")) + int(distance)
            return 0
    found = getattr(_signal, f"SIG{name}", 0)
    return int(found) if isinstance(found, int) and not name.startswith("_") else 0
