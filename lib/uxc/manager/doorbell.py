"""Tells when something may have appeared: a mount, or a network device. It says no more than that.

Open only while somebody waits: an idle manager is not woken by other people's mounts and links.
"""

import logging
import os
import socket
from collections.abc import Callable

from uxc.manager.conditions import Mounted, parse_mounts
from uxc.manager.loop import PRIORITY, READ, Loop

log = logging.getLogger(__name__)

_MOUNTINFO = "/proc/self/mountinfo"
# linux/rtnetlink.h: the multicast group of links, as a bit for bind(2).
_RTMGRP_LINK = 1
_DRAIN_BYTES = 1 << 16


class Doorbell:
    """Rings ``on_ring`` when the mounts or the links of this host have changed."""

    def __init__(self, loop: Loop, on_ring: Callable[[], None]) -> None:
        """Prepare a closed doorbell."""
        self._loop = loop
        self._on_ring = on_ring
        self._mounts: int | None = None
        self._links: socket.socket | None = None

    def listen(self, wanted: bool) -> None:
        """Open or close it; OSError as open(2) and socket(2)."""
        if wanted and self._mounts is None:
            self._open()
        elif not wanted and self._mounts is not None:
            self._close()

    def _open(self) -> None:
        # Changes are reported as an exceptional condition (proc_pid_mountinfo(5)).
        self._mounts = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        self._loop.watch(self._mounts, PRIORITY, lambda _events: self._on_ring())
        links = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        links.bind((0, _RTMGRP_LINK))
        self._links = links
        self._loop.watch(links.fileno(), READ, self._drain)

    def _close(self) -> None:
        if self._mounts is not None:
            self._loop.unwatch(self._mounts)
            os.close(self._mounts)
            self._mounts = None
        if self._links is not None:
            self._loop.unwatch(self._links.fileno())
            self._links.close()
            self._links = None

    def _drain(self, _events: int) -> None:
        assert self._links is not None
        try:
            while self._links.recv(_DRAIN_BYTES):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            # ENOBUFS: messages were lost, which changes nothing: whoever is rung looks at all.
            log.debug("link events: %s", error.strerror)
        self._on_ring()


def mounted() -> Mounted:
    """Return what is mounted in this process's namespace; OSError as read(2)."""
    with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as text:
        return parse_mounts(text.read())


def device_of(volume: str) -> str | None:
    """Return ``major:minor`` of the block device that ``UUID=…`` or ``LABEL=…`` names, if any."""
    tag, _, value = volume.partition("=")
    try:
        status = os.stat(f"/dev/disk/by-{tag.lower()}/{value}")
    except OSError:
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def device_exists(name: str) -> bool:
    """Whether this process's network namespace has a device of that name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
