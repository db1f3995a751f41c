"""The gate that a created container waits at: names, locks, and letting its program run.

``start`` needs nothing but this: no record is read. Either the FIFO ``exec.fifo`` tells that
somebody waits at its other end; or the file ``frozen`` names the cgroup in which the program itself
waits, and the kernel tells whether that is still so (docs/decisions/0015-frozen-at-exec.md).
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import errno
import fcntl
import posix
import select

from uxc.errors import InvalidError, NotFoundError, system_failure

GATE = "exec.fifo"
FROZEN = "frozen"
# Exists when hooks run around the start; holds what went wrong in those before it.
START_REPORT = "start.report"
_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_LONGEST_ID = 255
# Signals that end a created container, although its process may be pid 1, for which the kernel
# drops every signal without a handler (pid_namespaces(7)).
ENDING = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)
# A whole line: what the shell calls a successful read.
_TURN = b"\n"


def check_id(container_id: str) -> None:
    """Raise InvalidError unless ``container_id`` is a plain name that is safe in paths."""
    if (
        not container_id
        or container_id in (".", "..")
        or len(container_id) > _LONGEST_ID
        or not _ALLOWED.issuperset(container_id)
    ):
        raise InvalidError(
            f"invalid container ID format: '{container_id}'",
            "letters, digits and _+-. are allowed",
        )


def is_offered(directory: str) -> bool:
    """Tell whether the turn of a created container is still to be had; OSError."""
    gate = open_turn(directory)
    if gate < 0:
        return False
    try:
        poll = select.poll()
        poll.register(gate, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))
    finally:
        posix.close(gate)


def lock(path: str, wait: bool = True) -> int:
    """Lock the directory ``path`` and return the fd that holds the lock; OSError.

    Without ``wait`` it raises BlockingIOError when another process has it.

    The lock is on the directory itself, so that no lock file is ever left or in the way.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        posix.close(fd)
        raise
    return fd


def lock_container(root: str, container_id: str) -> int:
    """Lock a container against other commands and return the fd; NotFoundError."""
    check_id(container_id)
    path = f"{root}/{container_id}"
    while True:
        try:
            fd = lock(path)
        except (FileNotFoundError, NotADirectoryError):
            raise missing(container_id) from None
        except OSError as error:
            raise system_failure("lock", error) from None
        # While we waited it may have been deleted, and made again.
        try:
            if posix.stat(path).st_ino == posix.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            posix.close(fd)
            raise missing(container_id) from None
        posix.close(fd)


def missing(container_id: str) -> NotFoundError:
    """Return the error for a container that is not there; clients look for "does not exist"."""
    return NotFoundError(f"container '{container_id}' does not exist")


def let_run(root: str, container_id: str) -> bool:
    """Let a created container's program run, and return once it does; False if none waits.

    ``has_start_hooks`` tells whether ``lifecycle.finish_start`` has more to do then. Raises
    NotFoundError, SystemFailure.
    """
    # A second start waits here until the first one is through, and then finds nobody waiting; a
    # create that is not done yet holds the lock as well.
    lock = lock_container(root, container_id)
    directory = f"{root}/{container_id}"
    try:
        gate = open_turn(directory)
        if gate < 0:
            return thaw(directory)
        try:
            if not take_turn(gate):
                return False
            wait_opened(gate)
        finally:
            posix.close(gate)
    finally:
        posix.close(lock)
    return True


def has_start_hooks(root: str, container_id: str) -> bool:
    """Tell whether hooks belong to the start of the container."""
    return posix.access(f"{root}/{container_id}/{START_REPORT}", posix.F_OK)


def frozen_cgroup(directory: str) -> str:
    """Return the cgroup in which the program of a created container is frozen; "" if it is not.

    It is not any more when it was started, or was thawed by somebody else, or has died.
    """
    cgroup = _read(f"{directory}/{FROZEN}")
    return cgroup if cgroup and _is_held(cgroup) else ""


def _is_held(cgroup: str) -> bool:
    """Tell whether there are processes in the v2 cgroup that nobody has thawed.

    What was asked for is looked at, not whether all have stopped: let go by its tracer, a program
    counts as not frozen until it has come from one stop to the other (cgroup_leave_frozen()), which
    on a busy machine may be after the create.
    """
    if _read(f"{cgroup}/cgroup.freeze").strip() != "1":
        return False
    return "populated 1" in _read(f"{cgroup}/cgroup.events").splitlines()


def holds_frozen(cgroup: str) -> bool:
    """Tell whether there are processes in the v2 cgroup, and they are frozen; SystemFailure.

    A killed one leaves the cgroup frozen, and empty.
    """
    words = _read(f"{cgroup}/cgroup.events").split()
    events = dict(zip(words[::2], words[1::2], strict=True))
    return events.get("frozen") == events.get("populated") == "1"


def thaw(directory: str) -> bool:
    """Let a frozen program of a created container run; False when there is none; SystemFailure."""
    cgroup = frozen_cgroup(directory)
    if not cgroup:
        return False
    path = f"{cgroup}/cgroup.freeze"
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, b"0")
        finally:
            posix.close(fd)
        # From here on a frozen cgroup means that the container is paused.
        posix.unlink(f"{directory}/{FROZEN}")
    except OSError as error:
        raise system_failure(f"thaw {cgroup}", error) from None
    return True


def _read(path: str) -> str:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise system_failure("open", error) from None
    try:
        return posix.read(fd, 4096).decode()
    except OSError as error:
        # A cgroup that was removed after it was opened.
        if error.errno == errno.ENODEV:
            return ""
        raise system_failure(f"read {path}", error) from None
    finally:
        posix.close(fd)


def open_turn(directory: str) -> int:
    """Open the FIFO of a created container for ``take_turn``; -1 when there is none; OSError."""
    try:
        return posix.open(
            f"{directory}/{GATE}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
        )
    except FileNotFoundError:
        return -1


def take_turn(gate: int) -> bool:
    """Take the word that lets the program run; False when nobody waits for that any more.

    Who comes second waits until the program runs, to find it so.
    """
    try:
        return posix.read(gate, 1) == _TURN
    except BlockingIOError:
        # Somebody has taken it, and the exec has not closed the other end yet.
        wait_opened(gate)
        return False


def offer_turn(gate: int) -> None:
    """Let ``gate``, open both ways, have the word that lets the program run; OSError.

    The pipe is made to hold one page, which is the word's. Whoever reads that has the turn alone,
    so that also the launcher, a shell without locks, can let the program run.
    """
    fcntl.fcntl(gate, fcntl.F_SETPIPE_SZ, 1)
    posix.write(gate, _TURN)


def wait_turn(gate: int) -> None:
    """Return when the turn was taken: then there is room in the pipe again."""
    poll = select.poll()
    poll.register(gate, select.POLLOUT)
    poll.poll()


def wait_opened(gate: int) -> None:
    """Wait until nobody writes to ``gate``: the exec has closed it, or the process is gone.

    For who has read from it: the kernel does not tell those who came after the last writer.
    """
    poll = select.poll()
    poll.register(gate, 0)
    poll.poll()
