"""One container as the keeper sees it: its process, its output, its end."""

from __future__ import annotations

import posix

from uxc.keeper import output
from uxc.keeper.console import Console
from uxc.keeper.output import Output
from uxc.keeper.viewers import Audience

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from uxc.keeper.children import Worker
    from uxc.keeper.exits import Exit
    from uxc.keeper.loop import Loop
    from uxc.keeper.server import Request
    from uxc.oci.runtime import Creation

CREATING = "creating"
CREATED = "created"
RUNNING = "running"
STOPPED = "stopped"


class Container:
    """What has to be handed over, for one container, if ever another keeper takes its place."""

    __slots__ = (
        "_loop",
        "_output_dir",
        "audience",
        "builder",
        "console",
        "console_sock",
        "create_request",
        "creation",
        "deleting",
        "ended",
        "ends_whole",
        "gate",
        "name",
        "on_built",
        "output",
        "pid",
        "pidfd",
        "start_request",
        "started",
        "status",
        "terminal",
    )

    def __init__(self, loop: Loop, name: str, audience: Audience, output_dir: str) -> None:
        """Begin as ``creating``; plain output will have its FIFOs in ``output_dir``."""
        self._loop = loop
        self._output_dir = output_dir
        self.name = name
        self.audience = audience
        self.status = CREATING
        self.terminal = True
        self.pid = 0
        self.started = 0
        # Only of a process that is not our child, since nobody else tells us of its end.
        self.pidfd = -1
        self.ended: Exit | None = None
        self.builder: Worker | None = None
        # The same, where it needs no worker: its first process is on its way.
        self.creation: Creation | None = None
        self.create_request: Request | None = None
        # Where the core sends the terminal's master end to.
        self.console_sock: _socket.socket | None = None
        self.console: Console | None = None
        self.output: Output | None = None
        # The descriptor that reports POLLERR when the program has started.
        self.gate = -1
        self.start_request: Request | None = None
        self.deleting = False
        # Nothing is left of it when init has ended: its removal has nothing to wait for.
        self.ends_whole = False
        # What has to wait for the end of the builder.
        self.on_built: Callable[[], None] | None = None

    @property
    def alive(self) -> bool:
        """Tell whether there is, or is about to be, a process."""
        return self.status != STOPPED

    def entry(self, pinned: bool) -> dict[str, Any]:
        """Return what ``list`` says about the container."""
        return {
            "name": self.name,
            "status": self.status,
            "pid": self.pid if self.alive and self.pid else None,
            "exit_code": self.ended.code if self.ended is not None else None,
            "signal": self.ended.signal if self.ended is not None else None,
            "terminal": self.terminal,
            "pinned": pinned,
        }

    def use_output(self) -> None:
        """Read the container's FIFOs, there is no terminal; OSError as open(2)."""
        self.terminal = False
        self.output = Output(self._loop, self.audience, self._output_dir)

    def use_console(self, master_fd: int) -> None:
        """Read and write the terminal behind ``master_fd``, which is owned from now on."""
        if self.console is None:
            self.console = Console(self._loop, self.audience, master_fd)
        else:
            posix.close(master_fd)

    def end(self, ended: Exit) -> None:
        """Take in what was printed last, then tell the viewers how it ended."""
        self.status = STOPPED
        self.ended = ended
        if self.console is not None:
            self.console.drain()
            self.console.close()
        if self.output is not None:
            # Not closed: without a pid namespace other processes may still print.
            self.output.drain()
        self.audience.end(ended.code)
        self.close_pidfd()

    def close_pidfd(self) -> None:
        """Stop to watch a process that is not our child."""
        if self.pidfd >= 0:
            self._loop.unwatch(self.pidfd)
            posix.close(self.pidfd)
            self.pidfd = -1

    def close_gate(self) -> None:
        """Stop to wait for the program's start."""
        if self.gate >= 0:
            self._loop.unwatch(self.gate)
            posix.close(self.gate)
            self.gate = -1

    def close_console_sock(self) -> None:
        """Expect no terminal any more."""
        if self.console_sock is not None:
            self._loop.unwatch(self.console_sock.fileno())
            self.console_sock.close()
            self.console_sock = None

    def close(self) -> None:
        """Give everything back: descriptors, viewers, memory, FIFOs; OSError as unlink(2)."""
        self.close_gate()
        self.close_pidfd()
        self.close_console_sock()
        if self.console is not None:
            self.console.close()
        if self.output is not None:
            self.output.close()
        self.audience.close()
        output.remove(self._output_dir)
