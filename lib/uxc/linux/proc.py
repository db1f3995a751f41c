"""Processes: making them with clone3, and their attributes; ``pid`` names them surely."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _struct
import posix

from uxc.linux import const
from uxc.linux.libc import (
    StringVector,
    address,
    buffer,
    fail,
    fork_hook,
    locked_syscall,
    memory_at,
    syscall,
)
from uxc.linux.pid import Stat as Stat
from uxc.linux.pid import pidfd_of as pidfd_of
from uxc.linux.pid import pidfd_open as pidfd_open
from uxc.linux.pid import send_signal as send_signal
from uxc.linux.pid import start_time as start_time
from uxc.linux.pid import stat as stat

_before_fork = fork_hook("PyOS_BeforeFork")
_after_fork_child = fork_hook("PyOS_AfterFork_Child")
_after_fork_parent = fork_hook("PyOS_AfterFork_Parent")

RLIM_INFINITY = (1 << 64) - 1


def clone(flags: int, cgroup_fd: int = -1) -> "tuple[int, int]":
    """Fork with clone3(2): return (0, -1) in the child, (pid, pidfd) in the parent.

    ``flags`` are CLONE_NEW* and CLONE_PARENT; ``cgroup_fd`` places the child into that v2 cgroup at
    birth. The interpreter's fork hooks run around the call as around os.fork(), and its lock is
    held from the first to the last. Raises OSError; call it from a process with one thread.
    """
    pidfd = buffer(4)
    into = const.CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0
    arguments = _struct.pack(
        "=11Q",
        flags | const.CLONE_PIDFD | into,
        address(pidfd),
        0,
        0,
        # A sibling ends with the signal that we end with ourselves (clone(2)).
        0 if flags & const.CLONE_PARENT else _signal.SIGCHLD,
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


def get_fd(pidfd: int, number: int) -> int:
    """Return a copy of the descriptor ``number`` of another process (pidfd_getfd(2)).

    Needs CAP_SYS_PTRACE over a process that is not dumpable.
    """
    return syscall("pidfd_getfd", number, pidfd, number)


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


def raise_hard_limit(resource: int, hard: int) -> None:
    """Raise the hard limit of this process to ``hard`` if it is lower, the soft one stays."""
    limits = buffer(16)
    syscall("prlimit64", None, 0, resource, None, limits)
    soft, now = _struct.unpack("=2Q", limits.raw)
    if now < hard:
        set_limit(resource, soft, hard)


def rename(text: str) -> None:
    """Show ``text`` as the command line of this process, cut to its length, and no environment.

    Others may read the former of any process that they see, and with CAP_PERFMON the latter; what
    was typed and what is set (paths, secrets) is not for them. Python has its own copies of both.
    """
    fd = posix.open("/proc/self/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        fields = posix.read(fd, 4096).rpartition(b") ")[2].split()
    finally:
        posix.close(fd)
    # proc(5) counts from 1: 3 is the state, 48 to 51 are where the arguments begin and end, and
    # the environment.
    start, end, first, last = map(int, fields[45:49])
    size = end - start
    # The last byte stays NUL: the kernel would show what is behind it otherwise.
    memory_at(start, size).raw = text.encode()[: size - 1].ljust(size, b"\0")
    memory_at(first, last - first).raw = bytes(last - first)


def join_session_keyring() -> int:
    """Join a new session keyring without a name and return its serial; OSError as keyctl(2)."""
    return syscall("keyctl", "session keyring", const.KEYCTL_JOIN_SESSION_KEYRING, None)


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
        # What it was at start, and since then nobody but Python has changed it. None: the kernel
        # lets nobody change it, or a C library keeps it for itself.
        if _signal.getsignal(number) not in (_signal.SIG_DFL, None):
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
