"""Processes: making them with clone3, naming them surely, and their attributes."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _struct
import errno
import posix

from uxc.linux import const
from uxc.linux.libc import StringVector, address, buffer, fail, fork_hook, locked_syscall, syscall

_before_fork = fork_hook("PyOS_BeforeFork")
_after_fork_child = fork_hook("PyOS_AfterFork_Child")
_after_fork_parent = fork_hook("PyOS_AfterFork_Parent")

RLIM_INFINITY = (1 << 64) - 1


class Stat:
    """What ``/proc/PID/stat`` tells: the state letter and the start time in clock ticks."""

    __slots__ = ("start_time", "state")

    def __init__(self, state: str, start_time: int) -> None:
        """Keep the fields as proc(5) counts them: 3 and 22."""
        self.state = state
        self.start_time = start_time

    @property
    def alive(self) -> bool:
        """Tell whether the process still runs code: zombies and dying ones do not."""
        return self.state not in "ZXx"


def stat(pid: int) -> Stat:
    """Read the stat of ``pid``; raises ProcessLookupError when there is no such process."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            text = posix.read(fd, 4096)
        finally:
            posix.close(fd)
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, "No such process", str(pid)) from None
    # The name (field 2) may hold blanks and parentheses; what follows the last one is safe.
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[19]))


def start_time(pid: int) -> int:
    """Return when ``pid`` started, in clock ticks since boot; ProcessLookupError as ``stat``.

    Pid and start time together name a process for as long as the machine runs: pids come again.
    """
    return stat(pid).start_time


def pidfd_open(pid: int) -> int:
    """Return a close-on-exec pidfd of ``pid``; raises ProcessLookupError when it is gone."""
    return posix.pidfd_open(pid)


def pidfd_of(pid: int, started: int) -> int:
    """Return a pidfd of the process ``pid`` that started at ``started`` (clock ticks).

    Raises ProcessLookupError when it is gone, or when its pid is somebody else's now.
    """
    fd = posix.pidfd_open(pid)
    try:
        # Read after the pidfd was opened: from here on the pid cannot be given away unseen.
        if stat(pid).start_time != started:
            raise ProcessLookupError(errno.ESRCH, "No such process", str(pid))
    except BaseException:
        posix.close(fd)
        raise
    return fd


def send_signal(pidfd: int, signal: int) -> None:
    """Send ``signal`` to the process behind ``pidfd``; OSError as pidfd_send_signal(2)."""
    _signal.pidfd_send_signal(pidfd, signal)


def clone(flags: int, cgroup_fd: int = -1) -> "tuple[int, int]":
    """Fork with clone3(2): return (0, -1) in the child, (pid, pidfd) in the parent.

    ``flags`` are CLONE_NEW* only; ``cgroup_fd`` places the child into that v2 cgroup at birth. The
    interpreter's fork hooks run around the call as around os.fork(), and its lock is held from
    the first to the last. Raises OSError; call it from a process with one thread.
    """
    pidfd = buffer(4)
    into = const.CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0
    arguments = _struct.pack(
        "=11Q",
        flags | const.CLONE_PIDFD | into,
        address(pidfd),
        0,
        0,
        _signal.SIGCHLD,
        0,
        0,
        0,
        0,
        0,
        cgroup_fd if into else 0,
    )
    _before_fork()
    pid, error = locked_syscall("clone3", arguments, len(arguments))
    if pid == 0:
        _after_fork_child()
        return 0, -1
    _after_fork_parent()
    if pid < 0:
        fail(error, "clone3")
    return pid, int(_struct.unpack("=i", pidfd.raw)[0])


def execve(path: bytes, arguments: "list[bytes]", environment: "list[bytes]") -> None:
    """Replace the program by ``path``; returns only by raising OSError about the path.

    The strings go to the kernel as they are: an environment entry needs no ``=``, and doubles and
    their order stay.
    """
    argv, envp = StringVector(arguments), StringVector(environment)
    syscall("execve", path, path, argv.array, envp.array)


def execve_fd(fd: int, arguments: "list[bytes]", environment: "list[bytes]") -> None:
    """Replace the program by the one open at ``fd`` (execveat(2)); returns only by raising."""
    argv, envp = StringVector(arguments), StringVector(environment)
    syscall("execveat", fd, fd, b"\0", argv.array, envp.array, const.AT_EMPTY_PATH)


def set_name(name: str) -> None:
    """Name the calling thread for ps(1) and /proc/PID/comm; 15 bytes are kept."""
    syscall("prctl", name, const.PR_SET_NAME, name.encode()[:15] + b"\0")


def set_subreaper(on: bool = True) -> None:
    """Make orphaned descendants children of this process (PR_SET_CHILD_SUBREAPER)."""
    syscall("prctl", "subreaper", const.PR_SET_CHILD_SUBREAPER, int(on))


def set_dumpable(on: bool) -> bool:
    """Allow or forbid others of the same user to look into this process; return what was before.

    Not dumpable: /proc/PID/{exe,root,fd,…} and ptrace need CAP_SYS_PTRACE over our own user
    namespace, which a container's root does not have.
    """
    before = syscall("prctl", "dumpable", const.PR_GET_DUMPABLE)
    syscall("prctl", "dumpable", const.PR_SET_DUMPABLE, int(on))
    return before == 1


def set_parent_death_signal(signal: int) -> None:
    """Ask for ``signal`` when the parent thread ends; 0 asks for none. An exec keeps it."""
    syscall("prctl", "parent death signal", const.PR_SET_PDEATHSIG, signal)


def set_no_new_privileges() -> None:
    """Forbid for ever that an execve gives privileges (set-id bits, file capabilities)."""
    syscall("prctl", "no_new_privs", const.PR_SET_NO_NEW_PRIVS, 1)


def set_limit(resource: int, soft: int, hard: int, pid: int = 0) -> None:
    """Set a limit by its kernel number (prlimit(2)); RLIM_INFINITY means none."""
    syscall("prlimit64", None, pid, resource, _struct.pack("=2Q", soft, hard), None)


def join_session_keyring(name: str) -> int:
    """Join a new session keyring called ``name`` and return its serial; OSError as keyctl(2)."""
    return syscall("keyctl", name, const.KEYCTL_JOIN_SESSION_KEYRING, name.encode() + b"\0")


def set_domainname(name: str) -> None:
    """Set the NIS domain name of the current UTS namespace."""
    data = name.encode()
    syscall("setdomainname", name, data, len(data))


def load_seccomp_filter(program: bytes, flags: int) -> int:
    """Load a BPF program (struct sock_filter[]) with SECCOMP_FILTER_FLAG_* ``flags``."""
    count = len(program) // 8
    memory = buffer(len(program))
    memory.raw = program
    header = _struct.pack("@HP", count, address(memory))
    return syscall("seccomp", "filter", const.SECCOMP_SET_MODE_FILTER, flags, header)


def reset_signals() -> None:
    """Give every signal its default action back and unblock all.

    An ignored signal stays ignored across execve(2), and Python ignores SIGPIPE and SIGXFSZ.
    """
    for number in _signal.valid_signals():
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def wait_exit_code(pid: int) -> int:
    """Wait for the child ``pid`` and return its exit code, 128+n when signal n ended it."""
    _, status = posix.waitpid(pid, 0)
    return exit_code(status)


def exit_code(status: int) -> int:
    """Turn a wait status into a shell's exit code: 128+n when signal n ended the process."""
    if posix.WIFSIGNALED(status):
        return 128 + posix.WTERMSIG(status)
    return posix.WEXITSTATUS(status)
