"""What must be there before a container can run, and which part of it is missing. Pure."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """What is mounted on this host: the mount points, and the devices (``major:minor``)."""

    points: frozenset[str]
    devices: frozenset[str]


def parse_mounts(text: str) -> Mounted:
    """Read the text of ``/proc/self/mountinfo`` (proc(5))."""
    points, devices = set(), set()
    for line in text.splitlines():
        fields = line.split(" ", 5)
        if len(fields) > 4:
            devices.add(fields[2])
            points.add(_unescape(fields[4]))
    return Mounted(points=frozenset(points), devices=frozenset(devices))


def missing_volume(
    volumes: tuple[str, ...], mounted: Mounted, device_of: Callable[[str], str | None]
) -> str | None:
    """Return the first of ``volumes`` that is not mounted, None when all are.

    A path must be a mount point; ``UUID=`` and ``LABEL=`` name a filesystem, whose ``major:minor``
    ``device_of`` knows; a bare name is the last part of a mount point, as uvol makes them.
    """
    for volume in volumes:
        if volume.startswith("/"):
            there = volume in mounted.points
        elif "=" in volume:
            there = device_of(volume) in mounted.devices
        else:
            there = any(point.rpartition("/")[2] == volume for point in mounted.points)
        if not there:
            return volume
    return None


def missing_device(devices: tuple[str, ...], exists: Callable[[str], bool]) -> str | None:
    """Return the first of the lent ``devices`` that the host does not have."""
    return next((device for device in devices if not exists(device)), None)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    for code in ("\\040", "\\011", "\\012", "\\134"):
        text = text.replace(code, chr(int(code[1:], 8)))
    return text
