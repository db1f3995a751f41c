"""Text of one UCI value → one scalar. Pure; every function raises FieldError for wrong text."""

import re
import signal

from uxc.config.models import Mount, Respawn

_TRUE = frozenset(("1", "on", "true", "yes", "enabled"))
_FALSE = frozenset(("0", "off", "false", "no", "disabled"))

_UNIT_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]{1,18})\s*([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]{1,3})\s*%", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9})\s*([smhd]?)", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)
_CONTAINER_NAME = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_REALTIME = re.compile(r"RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?", re.ASCII)
_VOLUME_TAG = re.compile(r"(?:UUID|LABEL)=[^\s/]+")
_VOLUME_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)

# A container's name is also a file name (state directory, cgroup) with a suffix of ours.
MAX_CONTAINER_NAME_BYTES = 128
# RLIMIT-like sanity bounds: 64 bytes written where 64M was meant kills the program at once.
MIN_SIZE_BYTES = 64 << 10
# PID_MAX_LIMIT of 64-bit kernels (linux/threads.h).
MAX_PIDS = 1 << 22
MAX_CPUS = 8192

# What mount(8) knows for a bind mount; a filesystem's own options mean nothing to one.
BIND_OPTIONS = frozenset(
    """bind rbind ro rw rro rrw suid nosuid rsuid rnosuid dev nodev rdev rnodev exec noexec rexec
    rnoexec atime noatime ratime rnoatime diratime nodiratime rdiratime rnodiratime relatime
    norelatime rrelatime rnorelatime strictatime nostrictatime rstrictatime rnostrictatime
    symfollow nosymfollow rsymfollow rnosymfollow private rprivate slave rslave shared rshared
    unbindable runbindable""".split()
)


class FieldError(ValueError):
    """Text that does not say what it should; ``message`` says why, ``hint`` what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep both parts; ``message`` shows the text itself in quotes."""
        super().__init__(message)
        self.message = message
        self.hint = hint


def boolean(text: str) -> bool:
    """Read a truth value, in all the words that OpenWrt's shell functions and UCI tools take."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise FieldError(f"'{text}' is neither true nor false", "write '1' or '0'")


def size(text: str) -> int:
    """Read a size in bytes: a number with an optional K, M, G or T (powers of 1024)."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise FieldError(f"'{text}' is not a size", "write a number with K, M or G, such as '64M'")
    value = int(match[1]) * _UNIT_BYTES[match[2].lower()]
    if value < MIN_SIZE_BYTES:
        raise FieldError(
            f"'{text}' is only {value} bytes", "a number without a unit is bytes; write '64M'"
        )
    if value >= 1 << 63:
        raise FieldError(f"'{text}' is more than the kernel can count")
    return value


def tmpfs_size(text: str) -> str:
    """Read the size of a tmpfs as its ``size=`` takes it (tmpfs(5)): bytes, or ``N%`` of memory."""
    match = _PERCENT.fullmatch(text)
    if not match:
        return str(size(text))
    percent = int(match[1])
    if not 1 <= percent <= 100:
        raise FieldError(f"'{text}' is not between 1% and 100% of memory")
    return f"{percent}%"


def duration(text: str) -> int:
    """Read a time in whole seconds: a number with an optional s, m, h or d."""
    match = _DURATION.fullmatch(text)
    if not match:
        raise FieldError(f"'{text}' is not a time", "write seconds, or a number with s, m or h")
    return int(match[1]) * _UNIT_SECONDS[match[2].lower()]


def _whole(text: str, low: int, high: int) -> int:
    if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
        raise FieldError(f"'{text}' is not a whole number from {low} to {high}")
    return int(text)


def pids(text: str) -> int:
    """Read a number of processes for ``pids.max``."""
    return _whole(text, 1, MAX_PIDS)


def mtu(text: str) -> int:
    """Read an MTU; 68 is IPv4's least (RFC 791), 65535 the most of a veth and of a bridge."""
    return _whole(text, 68, 65535)


def cpus(text: str) -> float:
    """Read a number of processors, fractions allowed: 0.5 is half of one.

    The kernel gives out at least 1 ms of each 100 ms period (cpu.max), hence 0.01.
    """
    if not _DECIMAL.fullmatch(text) or not 0.01 <= float(text) <= MAX_CPUS:
        raise FieldError(
            f"'{text}' is not a number of processors", "write a number such as '1' or '0.5'"
        )
    return float(text)


def stop_signal(text: str) -> int:
    """Read a signal: its number, or its name with or without SIG, ``RTMIN+3`` included."""
    if _WHOLE.fullmatch(text):
        number = int(text)
        if 1 <= number <= signal.SIGRTMAX:
            return number
    else:
        word = text.upper().removeprefix("SIG")
        match = _REALTIME.fullmatch(word)
        if match:
            base = signal.SIGRTMIN if match[1] == "MIN" else signal.SIGRTMAX
            offset = int(f"{match[2]}{match[3]}") if match[3] else 0
            if signal.SIGRTMIN <= base + offset <= signal.SIGRTMAX:
                return base + offset
        else:
            known = getattr(signal, f"SIG{word}", None)
            if isinstance(known, signal.Signals):
                return known.value
    raise FieldError(f"'{text}' is not a signal", "write a name such as 'TERM', or its number")


def container_name(text: str) -> str:
    """Read a container's name, as runtimes take it: letters, digits, ``_ . + -``."""
    if not _CONTAINER_NAME.fullmatch(text) or text in {".", ".."}:
        raise FieldError(
            f"'{text}' is not a container name", "use letters, digits, '_', '.', '+' and '-'"
        )
    if len(text) > MAX_CONTAINER_NAME_BYTES:
        raise FieldError(f"the name is longer than {MAX_CONTAINER_NAME_BYTES} characters")
    return text


def absolute_path(text: str) -> str:
    """Read a path that begins at the root; a trailing slash is dropped."""
    if not text.startswith("/"):
        raise FieldError(f"'{text}' is not an absolute path", "begin it with '/'")
    if "\0" in text or "\n" in text:
        raise FieldError("the path holds a control character")
    return text.rstrip("/") or "/"


def below_root(text: str) -> str:
    """Read an absolute path that is not the root itself and does not climb by ``..``."""
    path = absolute_path(text)
    if path.lstrip("/") in {"", "."}:
        raise FieldError(f"'{text}' is the root directory itself")
    if ".." in path.split("/"):
        raise FieldError(f"'{text}' goes up by '..'", "write the directory that is meant")
    return path


def environment(text: str) -> str:
    """Read ``NAME=VALUE``; the value may be empty and hold anything but a zero byte."""
    name, equals, _ = text.partition("=")
    if not equals:
        raise FieldError(f"'{text}' has no '='", "write NAME=VALUE")
    if not name or any(letter.isspace() for letter in name) or "\0" in text:
        raise FieldError(f"'{name}' is not the name of a variable", "write NAME=VALUE")
    return text


def mount(text: str) -> Mount:
    """Read ``SOURCE:DESTINATION[:OPTION,…]``, a bind mount of a host path.

    It is recursive unless ``bind`` is among the options.
    """
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        raise FieldError(f"'{text}' is not a mount", "write SOURCE:DESTINATION or …:ro")
    source = absolute_path(parts[0])
    destination = below_root(parts[1])
    options = tuple(filter(None, parts[2].split(","))) if len(parts) == 3 else ()
    for option in options:
        if option not in BIND_OPTIONS:
            raise FieldError(
                f"'{option}' is not an option of a bind mount", "write 'ro', 'noexec', 'nosuid' …"
            )
    if not {"bind", "rbind"} & set(options):
        options = ("rbind", *options)
    return Mount(source=source, destination=destination, options=options)


def volume(text: str) -> str:
    """Read what must be mounted first: a path, ``UUID=…``, ``LABEL=…`` or a volume's name."""
    if text.startswith("/"):
        return below_root(text)
    if _VOLUME_TAG.fullmatch(text) or _VOLUME_NAME.fullmatch(text):
        return text
    raise FieldError(f"'{text}' is not a volume", "write a path, UUID=…, LABEL=… or its name")


def respawn(text: str) -> Respawn | None:
    """Read a truth value, or procd's three numbers: threshold, timeout (seconds) and retries."""
    words = text.split()
    if len(words) == 3:
        threshold, timeout, retry = (_whole(word, 0, (1 << 31) - 1) for word in words)
        return Respawn(threshold_s=threshold, timeout_s=timeout, retry=retry)
    try:
        wanted = boolean(text)
    except FieldError:
        raise FieldError(
            f"'{text}' does not say when to respawn",
            "write '1', or threshold, timeout and retry such as '3600 5 5'",
        ) from None
    return Respawn() if wanted else None
