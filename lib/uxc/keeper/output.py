"""Output of a container without terminal: two FIFOs, read into the ring.

A FIFO is opened for reading and writing by both sides. So the death of the keeper neither kills
the container by SIGPIPE nor loses what waits in the pipe: writers block at 64 KiB until the next
keeper reads on (fifo(7)).
"""

from __future__ import annotations

import posix

from uxc import files
from uxc.keeper.loop import READ
from uxc.keeper.viewers import ERROR_OUTPUT, OUTPUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.keeper.loop import Loop
    from uxc.keeper.viewers import Audience

# The directory is root's, so only the container reaches a FIFO, through /proc/self/fd. There its
# programs may run as anybody and open /dev/stdout by name, which asks the mode for permission.
_FIFO_MODE = 0o622
_STREAMS = (("stdout", OUTPUT), ("stderr", ERROR_OUTPUT))
_READ_BYTES = 64 << 10
# What is left in two full pipes; a process that outlives its container may write without end.
_DRAIN_READS = 16


def make(directory: str) -> None:
    """Make the FIFOs below ``directory`` anew; OSError as mkdir(2) and mkfifo(3)."""
    files.make_dirs(directory, 0o700)
    for name, _ in _STREAMS:
        path = f"{directory}/{name}"
        _unlink(path)
        posix.mkfifo(path, 0o600)
        posix.chmod(path, _FIFO_MODE)


def open_writers(directory: str) -> tuple[int, int]:
    """Open the container's ends, for stdout and stderr; OSError as open(2)."""
    first = posix.open(f"{directory}/stdout", posix.O_RDWR | posix.O_CLOEXEC)
    try:
        return first, posix.open(f"{directory}/stderr", posix.O_RDWR | posix.O_CLOEXEC)
    except OSError:
        posix.close(first)
        raise


def remove(directory: str) -> None:
    """Remove the FIFOs and the directory; missing ones are fine."""
    for name, _ in _STREAMS:
        _unlink(f"{directory}/{name}")
    try:
        posix.rmdir(directory)
    except FileNotFoundError:
        return


def _unlink(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return


class Output:
    """The keeper's ends of one container's FIFOs."""

    __slots__ = ("_audience", "_fds", "_loop")

    def __init__(self, loop: Loop, audience: Audience, directory: str) -> None:
        """Open both FIFOs and start to read them; OSError as open(2)."""
        self._loop = loop
        self._audience = audience
        self._fds: list[tuple[int, bytes]] = []
        try:
            for name, stream in _STREAMS:
                # Not the container's open file: O_NONBLOCK would be the container's, too.
                path = f"{directory}/{name}"
                fd = posix.open(path, posix.O_RDWR | posix.O_NONBLOCK | posix.O_CLOEXEC)
                self._fds.append((fd, stream))
                self._watch(fd, stream)
        except OSError:
            self.close()
            raise

    def drain(self) -> None:
        """Read what is left after the container's init has ended."""
        for fd, stream in self._fds:
            for _ in range(_DRAIN_READS):
                if not self._read(fd, stream):
                    break

    def close(self) -> None:
        """Close both ends."""
        for fd, _ in self._fds:
            self._loop.unwatch(fd)
            posix.close(fd)
        self._fds.clear()

    def _watch(self, fd: int, stream: bytes) -> None:
        self._loop.watch(fd, READ, lambda _events: self._serve(fd, stream))

    def _serve(self, fd: int, stream: bytes) -> None:
        # One read a turn, however much there is: no container keeps the others waiting.
        self._read(fd, stream)

    def _read(self, fd: int, stream: bytes) -> bool:
        """Read once; tell whether there may be more."""
        try:
            data = posix.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._audience.append(stream, data)
        return bool(data)
