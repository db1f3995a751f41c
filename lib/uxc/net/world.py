"""The two sides of one wiring, open: a socket for each, and the index of each link by its name."""

import errno
import os

from uxc.linux import ns
from uxc.net import observe
from uxc.net.ledger import Ledger
from uxc.net.model import Snapshot, Wiring
from uxc.net.ops import Op, SideName
from uxc.net.rtnl import Socket


class StepError(Exception):
    """The kernel refused ``op``."""

    def __init__(self, op: Op, error: OSError) -> None:
        """Keep what was tried and why it failed."""
        super().__init__(op.describe(), error)
        self.op = op
        self.error = error


class World:
    """Sockets on the host and in a container's namespace, which may be gone (``alive`` false).

    Links are addressed by index, never by name: a name may be somebody else's by now.
    """

    def __init__(self, netns_fd: int) -> None:
        """Open both sides; ``netns_fd`` stays the caller's, negative for a namespace that is gone.

        Raises OSError, MissingError when pyroute2 is not installed.
        """
        self.netns_fd = netns_fd
        self.alive = netns_fd >= 0
        self._indexes: dict[tuple[SideName, str], int] = {}
        self.host = Socket()
        try:
            self._inside = Socket(netns_fd) if self.alive else None
            try:
                self.home_fd = ns.open_own("net")
            except BaseException:
                if self._inside is not None:
                    self._inside.close()
                raise
        except BaseException:
            self.host.close()
            raise

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.home_fd)
        self.host.close()
        if self._inside is not None:
            self._inside.close()

    @property
    def inside(self) -> Socket:
        """The container's side; only for a namespace that is alive."""
        if self._inside is None:
            raise ValueError("the container's network namespace is gone")
        return self._inside

    def socket(self, side: SideName) -> Socket:
        """Return the socket of one side."""
        return self.host if side == "host" else self.inside

    def look(self, want: Wiring, ledger: Ledger) -> Snapshot:
        """Return what the kernel has of ``want`` and ``ledger``, and remember the indexes."""
        have = observe.observe(want, ledger, self.host, self.inside, self.netns_fd)
        self._indexes = {("host", name): link.index for name, link in have.host.links.items()}
        self._indexes |= {("inside", name): link.index for name, link in have.inside.links.items()}
        return have

    def knows(self, side: SideName, name: str) -> bool:
        """Tell whether the index of a link is known without asking."""
        return (side, name) in self._indexes

    def index(self, op: Op, name: str) -> int:
        """Return the index of link ``name`` on the side of ``op``; StepError when it is missing."""
        known = self._indexes.get((op.side, name))
        if known is None:
            (answer,) = self.socket(op.side).batch([observe.get_link(name)])
            found = observe.indexes_in(answer)
            if found is None:
                raise StepError(op, OSError(errno.ENODEV, os.strerror(errno.ENODEV)))
            known = found[0]
            self._indexes[op.side, name] = known
        return known

    def remember(self, side: SideName, name: str, index: int) -> None:
        """Note the index of a link that was just made or moved."""
        self._indexes[side, name] = index

    def forget(self, side: SideName, name: str) -> None:
        """Note that a link is not there any more."""
        self._indexes.pop((side, name), None)
