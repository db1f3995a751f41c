"""Programs that a bundle wants run at points of the life cycle (config.md, "POSIX-platform Hooks").

Works in the runtime, in a worker of the keeper and in the container's first process: it imports
nothing once called, and uses neither names of files nor anything mounted beside the hook's path.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import fcntl
import posix
import select
import time

from uxc.errors import UxcError, system_failure
from uxc.linux import fds, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from uxc.oci.spec import Hook

# memfd_create(2), since Linux 6.3: an admin may have forbidden the other ones (vm.memfd_noexec).
_MFD_NOEXEC_SEAL = 8
# What a failing hook printed last is part of the error: so much of it.
_TAIL_BYTES = 1024
_READ_BYTES = 1 << 16
# A process that the hook left behind may print for ever; after the hook's end a full pipe is read.
_LAST_READS = 16
# poll(2) takes milliseconds as a C int.
_LONGEST_WAIT_S = 1 << 20
# Of the hook that has yet to become its program; no program has seen it when this is the code.
_NOT_RUN = 127


class HookError(UxcError):
    """A hook failed; the message names it, and says how and with which words."""


def run(kind: str, hooks: "list[Hook]", state: bytes, directory: str = "/") -> None:
    """Run ``hooks`` one after the other, each with the JSON text ``state`` on its stdin.

    They start in ``directory`` (empty: where this process is), with their own environment and
    nothing of ours: no descriptors but the three streams, default signals, umask 022. What they
    print is kept for the error only. ``kind`` is the list's name in config.json. Raises HookError
    for the first that ends other than with exit code 0, that takes longer than its ``timeout``
    (it is killed, and its process group with it) or that cannot be run; the rest is not run then.
    """
    for index, hook in enumerate(hooks):
        what = f"{kind} hook #{index} ({hook.path})"
        problem = _run(what, hook, state, directory)
        if problem:
            raise HookError(f"error running {what}: {problem}")


def run_all(kind: str, hooks: "list[Hook]", state: bytes, directory: str = "/") -> "list[str]":
    """Run ``hooks`` as ``run`` does, but all of them; return a sentence for each that failed."""
    failed = []
    for index, hook in enumerate(hooks):
        what = f"{kind} hook #{index} ({hook.path})"
        problem = _run(what, hook, state, directory)
        if problem:
            failed.append(f"error running {what}: {problem}")
    return failed


def _run(what: str, hook: "Hook", state: bytes, directory: str) -> str:
    """Run one hook; return what went wrong, empty when nothing did. SystemFailure."""
    opened: list[int] = []
    try:
        stdin = _memory_file(state)
        opened.append(stdin)
        output, output_end = posix.pipe2(posix.O_CLOEXEC)
        opened += (output, output_end)
        failure, failure_end = posix.pipe2(posix.O_CLOEXEC)
        opened += (failure, failure_end)
        posix.set_blocking(output, False)
        pid, pidfd = _start(hook, directory, (stdin, output_end, failure_end))
        opened.append(pidfd)
        posix.close(failure_end)
        opened.remove(failure_end)
        return _attend(hook, pid, pidfd, output, failure)
    except OSError as error:
        raise system_failure(f"run {what}", error) from None
    finally:
        for fd in opened:
            posix.close(fd)


def _memory_file(text: bytes) -> int:
    """Return a file that holds ``text``: unlike a pipe it never blocks, nor raises SIGPIPE."""
    fd = posix.memfd_create("state", posix.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    try:
        view = memoryview(text)
        while view:
            view = view[posix.write(fd, view) :]
        posix.lseek(fd, 0, 0)
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _start(hook: "Hook", directory: str, streams: "tuple[int, int, int]") -> "tuple[int, int]":
    """Clone the hook's process: (pid, pidfd)."""
    maker = posix.getpid()
    # Handlers of ours must not run in the copy.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        pid, pidfd = proc.clone(0)
        if pid == 0:
            _become(hook, directory, streams, maker)
        return pid, pidfd
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _become(
    hook: "Hook", directory: str, streams: "tuple[int, int, int]", maker: int
) -> "NoReturn":
    """Replace this copy of the maker by the hook, or tell why not on the last of ``streams``."""
    failure = streams[2]
    try:
        # Copies first: one of them may have the number that another one is to get.
        stdin, output, failure = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in streams]
        posix.dup2(stdin, 0)
        posix.dup2(output, 1)
        posix.dup2(output, 2)
        fds.close_all_but([failure])
        # A group of its own: what the hook has started goes with it when it takes too long.
        posix.setpgid(0, 0)
        posix.umask(0o022)
        if directory:
            posix.chdir(directory)
        # Nobody would wait for a hook whose maker is gone, nor know how it ended.
        proc.set_parent_death_signal(_signal.SIGKILL)
        if posix.getppid() != maker:
            posix._exit(_NOT_RUN)
        path = hook.path.encode()
        arguments = [text.encode() for text in hook.args] or [path]
        environment = [text.encode() for text in hook.env]
        proc.reset_signals()
        proc.execve(path, arguments, environment)
    except BaseException as error:
        posix.write(failure, _reason(error, hook.path.encode()).encode(errors="replace"))
    finally:
        posix._exit(_NOT_RUN)


def _reason(error: BaseException, path: bytes) -> str:
    if not isinstance(error, OSError):
        return repr(error)
    subject = f"{error.filename}: " if error.filename not in (None, path) else ""
    return subject + (error.strerror or "").lower()


def _attend(hook: "Hook", pid: int, pidfd: int, output: int, failure: int) -> str:
    """Wait for the hook's end, and end it when that is due; return what went wrong."""
    ended = False
    deadline = None if hook.timeout is None else time.monotonic() + hook.timeout
    printed = _Tail()
    try:
        ended = _wait(pidfd, output, printed, deadline)
    finally:
        if not ended:
            _kill(pid, pidfd)
        status = posix.waitpid(pid, 0)[1]
    if not ended:
        problem = f"hook ran past specified timeout of {hook.timeout}s"
    elif status == 0:
        return ""
    else:
        # Only a process that has not become its program holds the other end.
        reason = posix.read(failure, _TAIL_BYTES)
        if reason:
            return f"cannot be executed: {reason.decode(errors='replace')}"
        if posix.WIFSIGNALED(status):
            problem = f"killed by signal {posix.WTERMSIG(status)}"
        else:
            problem = f"exit status {posix.WEXITSTATUS(status)}"
    for _ in range(_LAST_READS):
        if not printed.read(output):
            break
    return problem + printed.told()


def _wait(pidfd: int, output: int, printed: "_Tail", deadline: "float | None") -> bool:
    """Read what the hook prints until it ends; False when ``deadline`` came first."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(output, select.POLLIN)
    while True:
        wait_ms = None
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            wait_ms = int(min(left, _LONGEST_WAIT_S) * 1000) + 1
        ready = [fd for fd, _ in poll.poll(wait_ms)]
        if pidfd in ready:
            return True
        if output in ready and not printed.read(output):
            poll.unregister(output)


def _kill(pid: int, pidfd: int) -> None:
    """End the hook and its process group; nobody has waited for it, so the pid is still its."""
    try:
        posix.killpg(pid, _signal.SIGKILL)
    except ProcessLookupError:
        # Not in its group yet, or no longer: the hook itself is all that we know.
        pass
    proc.send_signal(pidfd, _signal.SIGKILL)


class _Tail:
    """The last of what a hook has printed."""

    __slots__ = ("_cut", "_text")

    def __init__(self) -> None:
        self._text = b""
        self._cut = False

    def read(self, fd: int) -> bool:
        """Take what is there; tell whether there may be more."""
        try:
            part = posix.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        text = self._text + part
        self._cut = self._cut or len(text) > _TAIL_BYTES
        self._text = text[-_TAIL_BYTES:]
        return bool(part)

    def told(self) -> str:
        """Return it as the end of a one-line message, empty when there is none."""
        lines = self._text.decode(errors="replace").split("\n")
        texts = [text for line in lines if (text := _printable(line))]
        if not texts:
            return ""
        return (": …" if self._cut else ": ") + "; ".join(texts)


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line).strip()
