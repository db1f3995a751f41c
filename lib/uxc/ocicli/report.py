"""Where ``uxc-runtime`` says what happened: stderr for people, ``--log`` for containerd and Podman.

Both get every error. The log is lines of JSON, or of ``key=value`` text, as runc writes them; the
programs above read level, msg and time.
"""

import posix
import time

from uxc import jsontext


def say(name: str, log: int, as_json: bool, level: str, message: str, hint: str = "") -> None:
    """Tell stderr as the program ``name``, and the log when ``log`` is a descriptor."""
    prefix = "" if level == "error" else f"{level}: "
    _write(2, f"{name}: {prefix}{message}\n" + (f"{name}: hint: {hint}\n" if hint else ""))
    if log >= 0:
        _write(log, _record(as_json, level, message) + "\n")


def _record(as_json: bool, level: str, message: str) -> str:
    # RFC 3339: containerd drops a message whose time it cannot parse.
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if as_json:
        return jsontext.dumps({"level": level, "msg": message, "time": when})
    # In a JSON string nothing can end the line or the field early.
    return f'time="{when}" level={level} msg={jsontext.dumps(message)}'


def _write(fd: int, text: str) -> None:
    try:
        posix.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        # Nobody is there to be told.
        return
