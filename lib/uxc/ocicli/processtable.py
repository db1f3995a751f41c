"""The table of ``ps``: lines of the host's ps(1) about some processes, or one of our own.

On routers ps(1) is busybox's, which knows no options worth passing on; without words for it we
read /proc ourselves, and the table is the same everywhere.
"""

import posix
import time

from uxc import files
from uxc.errors import InvalidError, MissingError, UxcError

# The columns of ps -ef; users are numbers, because the container has its own names for them.
_HEADER = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_PROGRAMS = ("/bin/ps", "/usr/bin/ps")
_DAY_S = 86400


def of(pids: "list[int]", words: "list[str]") -> str:
    """Return the table about ``pids``; ``words`` are for the host's ps(1). UxcError."""
    if words:
        return _of_host(pids, words)
    rows = [_HEADER, *(row for row in map(_row, sorted(pids)) if row is not None)]
    # The command is last and may be long; numbers stand to the right.
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER) - 1)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += (cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True))
        lines.append("  ".join([*cells, row[-1]]) + "\n")
    return "".join(lines)


def _row(pid: int) -> "tuple[str, ...] | None":
    """Return the cells about one process; None when it has just ended."""
    try:
        uid = posix.stat(f"/proc/{pid}").st_uid
        stat = files.read_bytes(f"/proc/{pid}/stat").decode(errors="replace")
        command = files.read_bytes(f"/proc/{pid}/cmdline")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name (field 2) may hold blanks and parentheses; the last one ends it.
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    ticks = posix.sysconf("SC_CLK_TCK")
    parent, terminal, user, system, started = (int(fields[at]) for at in (1, 4, 11, 12, 19))
    words = [word.decode(errors="backslashreplace") for word in command.split(b"\0")[:-1]]
    # Control characters in a name are the container's, the terminal is ours.
    text = "".join(char if char.isprintable() else "?" for char in " ".join(words) or f"[{name}]")
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    age = max(now - started / ticks, 1 / ticks)
    used = (user + system) / ticks
    return (
        str(uid),
        str(pid),
        str(parent),
        str(min(int(100 * used / age), 99)),
        time.strftime("%H:%M" if age < _DAY_S else "%b%d", time.localtime(time.time() - age)),
        _terminal(terminal),
        f"{int(used) // 3600:02}:{int(used) // 60 % 60:02}:{int(used) % 60:02}",
        text,
    )


def _terminal(number: int) -> str:
    """Return the name of the terminal with this device number, as stat(5) packs it."""
    major, minor = posix.major(number), posix.minor(number)
    if 136 <= major <= 143:
        return f"pts/{minor + ((major - 136) << 8)}"
    return f"tty{minor}" if major == 4 else "?"


def _of_host(pids: "list[int]", words: "list[str]") -> str:
    """Return the lines about ``pids`` of what ps(1) prints for ``words``."""
    lines = _run([b"ps", *(word.encode(errors="surrogateescape") for word in words)]).splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidError("the output of ps has no column PID", "ask for one, as in: -o pid,comm")
    column = titles.index("PID")
    wanted = set(map(str, pids))
    kept = [line for line in lines[1:] if wanted.intersection(line.split()[column : column + 1])]
    return "".join(f"{line}\n" for line in [lines[0], *kept])


def _run(words: "list[bytes]") -> str:
    """Return what the program ps prints; MissingError, UxcError when it fails."""
    program = next((path for path in _PROGRAMS if posix.access(path, posix.X_OK)), "")
    if not program:
        raise MissingError("there is no program ps on this machine")
    receiving, sending = posix.pipe()
    pid = posix.fork()
    if pid == 0:
        try:
            posix.dup2(sending, 1)
            posix.dup2(sending, 2)
            posix.execve(program, words, dict(posix.environ))
        finally:
            posix._exit(127)
    posix.close(sending)
    parts = []
    while part := posix.read(receiving, 1 << 16):
        parts.append(part)
    posix.close(receiving)
    _, status = posix.waitpid(pid, 0)
    text = b"".join(parts).decode(errors="replace")
    if status:
        reason = text.strip().splitlines()
        raise UxcError(f"ps failed: {reason[0] if reason else 'it said nothing'}")
    return text
