"""``update``: change the limits of a container that was created."""

import posix

from uxc import files, jsontext
from uxc.errors import EXIT_OK, InvalidError, MissingError, system_failure
from uxc.oci import control
from uxc.ocicli.call import WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.ocicli.call import Call

# Option → where its value goes in a resources object, and how it is read.
_BYTES, _NUMBER, _TEXT = "bytes", "number", "text"
_LIMITS = {
    "memory": ("memory", "limit", _BYTES),
    "memory-reservation": ("memory", "reservation", _BYTES),
    "memory-swap": ("memory", "swap", _BYTES),
    "kernel-memory": ("memory", "kernel", _BYTES),
    "kernel-memory-tcp": ("memory", "kernelTCP", _BYTES),
    "cpu-share": ("cpu", "shares", _NUMBER),
    "cpu-shares": ("cpu", "shares", _NUMBER),
    "cpu-quota": ("cpu", "quota", _NUMBER),
    "cpu-period": ("cpu", "period", _NUMBER),
    "cpu-burst": ("cpu", "burst", _NUMBER),
    "cpu-idle": ("cpu", "idle", _NUMBER),
    "cpu-rt-period": ("cpu", "realtimePeriod", _NUMBER),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", _NUMBER),
    "cpuset-cpus": ("cpu", "cpus", _TEXT),
    "cpuset-mems": ("cpu", "mems", _TEXT),
    "pids-limit": ("pids", "limit", _NUMBER),
    "blkio-weight": ("blockIO", "weight", _NUMBER),
}
_RDT = ("l3-cache-schema", "mem-bw-schema")
OPTIONS = {"resources": WORD, **dict.fromkeys((*_LIMITS, *_RDT), WORD)}
SHORT = {"r": "resources"}
OPERANDS = (1, 1)

_STDIN = "-"
_UNITS = "bkmgtp"


def run(call: "Call") -> int:
    """Change the limits and pass warnings on."""
    for option in _RDT:
        if option in call.options:
            raise MissingError(f"--{option}: Intel RDT is not supported")
    if "resources" in call.options:
        # As runc has it: with a document, the other options do not count.
        source = call.options["resources"]
        resources = _read(source)
        source = "standard input" if source == _STDIN else source
    else:
        resources, source = from_options(call.options), "update"
    for warning in control.update(call.root, call.id, resources, source):
        call.warning(warning)
    return EXIT_OK


def from_options(options: "dict[str, str]") -> "dict[str, Any]":
    """Return the resources object that the options describe; InvalidError."""
    resources: dict[str, dict[str, int | str]] = {}
    for option, (kind, key, how) in _LIMITS.items():
        value = options.get(option, "")
        if not value:
            continue
        node = resources.setdefault(kind, {})
        if how == _TEXT:
            node[key] = value
        else:
            node[key] = _number(option, value, with_unit=how == _BYTES)
    return resources


def _number(option: str, value: str, with_unit: bool) -> int:
    text, factor = value.lower(), 1
    if with_unit:
        # Docker's way to write sizes: 512, 512b, 512k, 512kb, 512KiB.
        if text[-1] == "b":
            text = text[:-1].removesuffix("i") or text
        if text[-1] in _UNITS:
            factor = 1 << (10 * _UNITS.index(text[-1]))
            text = text[:-1]
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits != text and value != "-1"):
        what = "a number of bytes such as 512M, or -1" if with_unit else "a number"
        raise InvalidError(f"option --{option} is {what}, not '{value}'")
    return int(text) * factor


def _read(source: str) -> "dict[str, Any]":
    try:
        if source == _STDIN:
            document = jsontext.loads(_read_all(0).decode(), "standard input")
        else:
            document = files.read_json(source)
    except OSError as error:
        raise system_failure("read the resources", error) from None
    except UnicodeDecodeError:
        raise InvalidError(f"{source}: not UTF-8 text") from None
    if not isinstance(document, dict):
        raise InvalidError(f"{source}: a resources object is expected")
    return document


def _read_all(fd: int) -> bytes:
    parts = []
    left = files.MAX_DOCUMENT_BYTES
    while left > 0 and (part := posix.read(fd, 1 << 16)):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise InvalidError(f"standard input: larger than {files.MAX_DOCUMENT_BYTES} bytes")
    return b"".join(parts)
