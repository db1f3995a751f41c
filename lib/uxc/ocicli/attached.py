"""A program in the foreground: signals and terminal bytes carried to it, its exit code back."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _socket
import posix
import select

from uxc.linux import fds, proc, pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.execoptions import ExecOptions
    from uxc.ocicli.call import Call

_CHUNK_BYTES = 1 << 16
# What these do to us they shall do to the container's program instead.
_FORWARDED = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGCONT,
    _signal.SIGALRM,
)


def execute(options: "ExecOptions", call: "Call") -> int:
    """Execute a process in a container; return its exit code, 128+n for signal n."""
    from uxc.oci import execution

    terminal = None
    process = options.process if isinstance(options.process, dict) else {}
    wanted = options.changes.terminal or process.get("terminal") is True
    if wanted and not options.console_socket:
        terminal = Terminal()
        options.console_fd = terminal.container_end
        if posix.isatty(0):
            # Now, for the program may look before we hear that it runs.
            options.changes.console_size = pty.get_size(0)
    try:
        made = execution.execute(options)
        if terminal is not None:
            terminal.receive()
        for warning in made.warnings:
            call.warning(warning)
        posix.close(made.pidfd)
        return wait(made.pid, terminal)
    finally:
        if terminal is not None:
            terminal.close()


def wait(pid: int, terminal: "Terminal | None") -> int:
    """Carry signals, and bytes between the terminals, until the child ``pid`` ends.

    Returns its exit code, 128+n for signal n.
    """
    pidfd = proc.pidfd_open(pid)
    try:
        for number in _FORWARDED:
            _signal.signal(number, _Forwarder(pidfd))
        if terminal is not None:
            terminal.carry(pidfd)
        return proc.wait_exit_code(pid)
    finally:
        for number in _FORWARDED:
            _signal.signal(number, _signal.SIG_DFL)
        posix.close(pidfd)


class _Forwarder:
    """A signal handler that sends the signal on."""

    __slots__ = ("_pidfd",)

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd

    def __call__(self, number: int, _frame: object) -> None:
        try:
            proc.send_signal(self._pidfd, number)
        except ProcessLookupError:
            # It has just ended; waiting for it tells.
            return


class Terminal:
    """The caller's terminal on one side, the container's on the other."""

    __slots__ = ("_master", "_modes", "_ours", "container_end")

    def __init__(self) -> None:
        """Make the socket whose other end, ``container_end``, takes the container's master."""
        self._ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
        self.container_end = theirs.detach()
        self._master = -1
        self._modes: list[object] | None = None

    def receive(self) -> None:
        """Take the master that was sent, and put the caller's terminal into raw mode."""
        from uxc.protocol import receive_with_fds

        fds.close_quietly(self.container_end)
        self.container_end = -1
        _, received, _ = receive_with_fds(self._ours, _CHUNK_BYTES)
        self._master = received[0]
        if posix.isatty(0):
            import termios

            self._modes = termios.tcgetattr(0)
            raw = termios.tcgetattr(0)
            raw[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP)
            raw[0] &= ~termios.IXON
            raw[1] &= ~termios.OPOST
            raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
            termios.tcsetattr(0, termios.TCSADRAIN, raw)
            self._copy_size()
            _signal.signal(_signal.SIGWINCH, lambda _number, _frame: self._copy_size())

    def _copy_size(self) -> None:
        rows, columns = pty.get_size(0)
        pty.set_size(self._master, rows, columns)

    def carry(self, pidfd: int) -> None:
        """Carry bytes both ways until the program has ended and its last output is out."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._master, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        ended = False
        while True:
            ready = dict(poll.poll(0 if ended else None))
            if ended and self._master not in ready:
                return
            if 0 in ready and not self._to_container():
                poll.unregister(0)
            if self._master in ready and not self._from_container():
                return
            if pidfd in ready and not ended:
                ended = True
                poll.unregister(pidfd)

    def _to_container(self) -> bool:
        data = posix.read(0, _CHUNK_BYTES)
        if data:
            posix.write(self._master, data)
        else:
            # End of input, as the terminal would send it for Ctrl-D.
            posix.write(self._master, b"\x04")
        return bool(data)

    def _from_container(self) -> bool:
        try:
            data = posix.read(self._master, _CHUNK_BYTES)
        except OSError:
            # EIO: the last process closed its end.
            return False
        view = memoryview(data)
        while view:
            view = view[posix.write(1, view) :]
        return bool(data)

    def close(self) -> None:
        """Give the caller's terminal back as it was."""
        if self._modes is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)  # type: ignore[arg-type]
        fds.close_quietly(self._master)
        fds.close_quietly(self.container_end)
        self._ours.close()
