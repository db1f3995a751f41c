"""``events``: statistics of a container at intervals, and kills for want of memory, as they come.

A JSON object a line, as runc prints them; ends when the container does.
"""

import posix
import select
import time

from uxc import jsontext
from uxc.errors import EXIT_OK, ConflictError, InvalidError, system_failure
from uxc.linux import pid
from uxc.oci import oom, state, stats
from uxc.oci.cgroup import layout as layouts
from uxc.ocicli.call import FLAG, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.state import State
    from uxc.ocicli.call import Call

OPTIONS = {"stats": FLAG, "interval": WORD}
SHORT: "dict[str, str]" = {}
OPERANDS = (1, 1)

_DEFAULT_INTERVAL = "5s"
# The units of a duration as Go's programs write it.
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(call: "Call") -> int:
    """Print statistics once (--stats), or events until the container ends."""
    interval_s = parse_duration(call.options.get("interval", _DEFAULT_INTERVAL))
    if interval_s <= 0:
        raise InvalidError("the interval must be greater than 0")
    container = state.load(call.root, call.id)
    if container.status() == "stopped":
        raise ConflictError(f"container with id {call.id} is not running")
    try:
        layout = layouts.probe()
    except OSError as error:
        raise system_failure("read the mounted cgroups", error) from None
    if "stats" in call.options:
        _print_stats(call, container, layout)
        return EXIT_OK
    try:
        pidfd = pid.pidfd_of(container.pid, container.start_time)
    except ProcessLookupError:
        return EXIT_OK
    watch = oom.Watch(container, layout)
    try:
        _follow(call, container, layout, watch, pidfd, interval_s)
    finally:
        watch.close()
        posix.close(pidfd)
    return EXIT_OK


def parse_duration(text: str) -> float:
    """Return the seconds in a duration such as ``1m30s`` or ``500ms``; InvalidError."""
    total_s = 0.0
    rest = text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:digits], rest[digits:]
        letters = len(rest) - len(rest.lstrip("nuµmsh"))
        unit, rest = rest[:letters], rest[letters:]
        if unit not in _UNITS_S or not number.strip(".") or number.count(".") > 1:
            break
        total_s += float(number) * _UNITS_S[unit]
    else:
        if text:
            return total_s
    raise InvalidError(f"'{text}' is no duration", "as in 5s, 500ms or 1m30s")


def _follow(
    call: "Call", container: "State", layout: "Layout", watch: oom.Watch, pidfd: int, every_s: float
) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if watch.fd >= 0:
        poll.register(watch.fd, select.POLLPRI if watch.polls_priority else select.POLLIN)
    next_s = time.monotonic() + every_s
    while True:
        ready = dict(poll.poll(max(0, int((next_s - time.monotonic()) * 1000))))
        # Also when nothing is ready: a kill that ended the container shows up as its end.
        for _ in range(watch.count()):
            _print(call, "oom")
        if pidfd in ready:
            return
        if time.monotonic() >= next_s:
            _print_stats(call, container, layout)
            next_s += every_s


def _print_stats(call: "Call", container: "State", layout: "Layout") -> None:
    _print(call, "stats", stats.read(container, layout))


def _print(call: "Call", kind: str, data: object = None) -> None:
    event = {"type": kind, "id": call.id}
    call.print(jsontext.dumps(event if data is None else {**event, "data": data}) + "\n")
