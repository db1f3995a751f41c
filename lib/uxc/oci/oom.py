"""Hearing of it when the kernel kills in a container for want of memory."""

import errno
import posix

from uxc import files
from uxc.errors import system_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.state import State


class Watch:
    """``fd`` polls ``events`` when something may have happened; ``count`` then tells how often.

    ``fd`` is -1 when the container is in no memory cgroup: nothing is ever told then.
    """

    __slots__ = ("_control", "_killed", "_v2", "fd")

    def __init__(self, state: "State", layout: "Layout") -> None:
        """Begin to watch; SystemFailure."""
        self.fd = -1
        self._control = -1
        self._killed = 0
        self._v2 = False
        cgroup = state.cgroup or {}
        mount = layout.v1.get("memory", "")
        try:
            if mount and mount in cgroup.get("hierarchies", ()):
                self._watch_v1(f"{mount}/{cgroup['path']}")
            elif cgroup.get("unified"):
                self._watch_v2(f"{cgroup['unified']}/{cgroup['path']}/memory.events")
        except OSError as error:
            self.close()
            raise system_failure("watch the memory of the container", error) from None

    def _watch_v1(self, directory: str) -> None:
        self.fd = posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK)
        self._control = posix.open(f"{directory}/memory.oom_control", posix.O_RDONLY)
        posix.set_inheritable(self._control, False)
        pair = f"{self.fd} {self._control}".encode()
        control = posix.open(f"{directory}/cgroup.event_control", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(control, pair)
        finally:
            posix.close(control)

    def _watch_v2(self, path: str) -> None:
        self._v2 = True
        try:
            self.fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except FileNotFoundError:
            return
        self._killed = self._read_v2()

    @property
    def polls_priority(self) -> bool:
        """Whether ``fd`` is a file that polls POLLPRI; else it polls POLLIN."""
        return self._v2

    def count(self) -> int:
        """Return how many kills there were since the last look."""
        if self.fd < 0:
            return 0
        if self._v2:
            before, self._killed = self._killed, self._read_v2()
            return self._killed - before
        try:
            count = posix.eventfd_read(self.fd)
        except BlockingIOError:
            return 0
        # The end of a cgroup rings as well.
        try:
            posix.pread(self._control, 1, 0)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise
        return count

    def _read_v2(self) -> int:
        try:
            words = posix.pread(self.fd, files.MAX_DOCUMENT_BYTES, 0).decode().split()
        except OSError as error:
            # The cgroup has been removed.
            if error.errno == errno.ENODEV:
                return self._killed
            raise
        return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", "0"))

    def close(self) -> None:
        """Stop watching."""
        for fd in (self.fd, self._control):
            if fd >= 0:
                posix.close(fd)
        self.fd = self._control = -1
