"""Where ``uxc-runtime`` says what happened: stderr for people, ``--log`` for containerd and Podman.

Both get every error. The log is lines of JSON, or of ``key=value`` text, as runc writes them; the
programs above read level, msg and time.
"""

import posix
import time

from uxc import jsontext

_LONGEST = 2000


def say(name: str, log: int, as_json: bool, level: str, message: str, hint: str = "") -> None:
    """Tell stderr as the program ``name``, and the log when ``log`` is a descriptor."""
    prefix = "" if level == "error" else f"{level}: "
    text = f"{name}: {prefix}{_one_line(message)}\n"
    _write(2, text + (f"{name}: hint: {_one_line(hint)}\n" if hint else ""))
    if log >= 0:
        _write(log, _record(as_json, level, message) + "\n")


def _one_line(text: str) -> str:
    """Return ``text`` without what would end the line early or steer the reader's terminal.

    Ids, paths and what else is quoted may come from whoever made the image.
    """
    if not text.isprintable():
        text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    if len(text) > _LONGEST:
        # Clients look for words at the end.
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return text


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
