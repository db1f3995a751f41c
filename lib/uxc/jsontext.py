"""JSON for processes that must start fast: the C scanner and encoder without the ``json`` package.

Importing ``json`` costs 7 ms (``re``, ``enum``), its two C classes 0.35 ms; the result is the same.
``json`` itself is imported only to explain a text that is wrong.
"""

from _json import encode_basestring_ascii, make_encoder, make_scanner

from uxc.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class _Context:
    """What ``make_scanner`` reads its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> "NoReturn":
        """Refuse NaN and the infinities, which RFC 8259 does not know."""
        raise ValueError(f"{name} is not JSON")


# typeshed names the scanner's own type where any object with these attributes will do.
_scan = make_scanner(_Context())  # type: ignore[arg-type]
_BLANKS = " \t\n\r"


def loads(text: str, source: str = "text") -> "Any":
    """Parse one JSON document.

    Raises InvalidError, naming ``source``, line and column, when the text is not JSON (RFC 8259).
    """
    size = len(text)
    start = 0
    while start < size and text[start] in _BLANKS:
        start += 1
    try:
        value, end = _scan(text, start)
    except (StopIteration, ValueError, SystemError, RecursionError):
        # SystemError: the scanner wants to raise json.JSONDecodeError and finds json not imported.
        _explain(text, source)
    while end < size and text[end] in _BLANKS:
        end += 1
    if end != size:
        _explain(text, source)
    return value


def _explain(text: str, source: str) -> "NoReturn":
    import json

    try:
        json.loads(text, parse_constant=_Context.parse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidError(f"{source}: not JSON at {where}: {error.msg.lower()}") from None
    except RecursionError:
        raise InvalidError(f"{source}: not usable: nested too deeply") from None
    except ValueError as error:
        raise InvalidError(f"{source}: {error}") from None
    raise AssertionError(f"json reads what its scanner refused: {source}")


def _refuse_object(value: object) -> "NoReturn":
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def dumps(value: object) -> str:
    """Write ``value`` as compact JSON in ASCII.

    Raises TypeError for what JSON cannot hold, ValueError for a reference cycle, NaN or infinity,
    InvalidError for what is nested too deeply.
    """
    encode = make_encoder(
        {}, _refuse_object, encode_basestring_ascii, None, ":", ",", False, False, False
    )
    try:
        return "".join(encode(value, 0))
    except RecursionError:
        # Read it was, with a few calls less on the stack.
        raise InvalidError("not usable as JSON: nested too deeply") from None
