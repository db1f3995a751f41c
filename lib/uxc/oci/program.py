"""The last steps before the container's program: who it is, what it may do, where it starts.

Runs in the child, in the order that privileges allow: what needs a capability comes before the
capability goes.
"""

import errno
import posix

from uxc.errors import InvalidError, UxcError, system_failure
from uxc.linux import caps, path, proc
from uxc.oci import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.plan import ProgramPlan
    from uxc.oci.seccomp import Program

_IS_TYPE = 0o170000
# What setresuid(2) takes for "leave it as it is": the program would be the runtime's user.
_UNCHANGED = (1 << 32) - 1
_NULL_RDEV = posix.makedev(1, 3)
_PASSWD = "/etc/passwd"
_PASSWD_BYTES = 1 << 20
# passwd(5): name, password, uid, gid, comment, home, shell.
_HOME = 5
# What a shell answers for a program that is missing, or that cannot be run.
EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126


def set_limits(plan: "ProgramPlan", pid: int = 0) -> None:
    """Apply the resource limits to the process ``pid``, 0 for this one; SystemFailure."""
    for number, soft, hard in plan.limits:
        try:
            proc.set_limit(number, soft, hard, pid)
        except OSError as error:
            raise system_failure(f"set resource limit {number} to {soft}:{hard}", error) from None


def raise_limits(plan: "ProgramPlan") -> None:
    """Lift the hard limits that are too low for ``set_limits`` later, without privileges.

    Set as they are now, a low one would be in the way of what is still to be done. SystemFailure.
    """
    for number, soft, hard in plan.limits:
        try:
            proc.raise_hard_limit(number, hard)
        except OSError as error:
            raise system_failure(f"set resource limit {number} to {soft}:{hard}", error) from None


def own_stdio(uid: int) -> None:
    """Give the standard streams to the user, so that it may reopen them (/dev/stdout).

    Not /dev/null, which is everybody's; and where the file system refuses, it stays as it is.
    """
    for fd in (0, 1, 2):
        try:
            found = posix.fstat(fd)
            if found.st_uid == uid:
                continue
            if found.st_mode & _IS_TYPE == 0o020000 and found.st_rdev == _NULL_RDEV:
                continue
            posix.fchown(fd, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EINVAL, errno.EPERM, errno.EROFS):
                raise system_failure(f"give stream {fd} to user {uid}", error) from None


def open_directory(root: int, place: str) -> int:
    """Return an fd of the working directory ``place`` in ``root``, made when it is missing.

    Opened beneath the root: "/proc/self/fd/7" would be a way out (CVE-2024-21626).
    """
    try:
        return path.make_in_root(root, place, directory=True)
    except OSError as error:
        raise system_failure("open the working directory", error) from None


def enter_directory(fd: int, place: str) -> None:
    """Make the directory behind ``fd``, called ``place``, the working one and close ``fd``."""
    try:
        posix.fchdir(fd)
        posix.close(fd)
    except OSError as error:
        raise system_failure(f"change directory to {place}", error) from None


def set_oom_score(pid: int, score: int) -> None:
    """Set the oom_score_adj of ``pid``, of our pid namespace; SystemFailure."""
    try:
        fd = posix.open(f"/proc/{pid}/oom_score_adj", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, str(score).encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise system_failure(f"set oomScoreAdj to {score}", error) from None


def check_directory() -> None:
    """Make sure that the working directory lies inside the root; UxcError."""
    try:
        inside = posix.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise UxcError("the working directory is outside the container's root file system")


def become(plan: "ProgramPlan", keep_admin: bool) -> None:
    """Take the program's user, groups and bounding set; capabilities are left for ``confine``.

    ``keep_admin`` keeps CAP_SYS_ADMIN effective, for a seccomp filter without no_new_privs.
    Raises SystemFailure.
    """
    sets = plan.sets
    if _UNCHANGED in (plan.uid, plan.gid):
        raise InvalidError(f"{_UNCHANGED} is the id of nobody")
    try:
        caps.drop_bounding(sets.bounding)
        caps.keep_over_setuid(True)
        # The caller's groups would stay otherwise. A user namespace may forbid the call, where a
        # process that joins has given them up before.
        if plan.additional_gids or posix.getgroups():
            posix.setgroups(plan.additional_gids)
        posix.setresgid(plan.gid, plan.gid, plan.gid)
        posix.setresuid(plan.uid, plan.uid, plan.uid)
        # A change of user makes the process dumpable by fs.suid_dumpable's value and forgets the
        # signal for the parent's death (prctl(2)).
        proc.set_dumpable(False)
        posix.umask(plan.umask)
        if keep_admin:
            admin = capabilities.SYS_ADMIN
            caps.set_(sets.effective | admin, sets.permitted | admin, sets.inheritable)
        else:
            _set_capabilities(plan)
        if plan.no_new_privileges:
            proc.set_no_new_privileges()
    except OSError as error:
        raise system_failure(f"become user {plan.uid} group {plan.gid}", error) from None


def _set_capabilities(plan: "ProgramPlan") -> None:
    sets = plan.sets
    caps.set_(sets.effective, sets.permitted, sets.inheritable)
    caps.set_ambient(sets.ambient)


def confine(plan: "ProgramPlan", seccomp: "Program | None", keep_admin: bool) -> int:
    """Load the seccomp filter, and give CAP_SYS_ADMIN up if it was kept for that.

    Returns the descriptor of the filter's listener, 0 for a filter without one.
    """
    listener = 0
    try:
        if seccomp is not None:
            listener = proc.load_seccomp_filter(seccomp.code, seccomp.flags)
        if keep_admin:
            _set_capabilities(plan)
    except OSError as error:
        raise system_failure("load the seccomp filter", error) from None
    return listener


def needs_admin_for_seccomp(plan: "ProgramPlan", seccomp: "Program | None") -> bool:
    """Tell whether loading the filter needs CAP_SYS_ADMIN, which the program must not have."""
    if seccomp is None or plan.no_new_privileges:
        return False
    return not plan.sets.effective & capabilities.SYS_ADMIN


def add_home(plan: "ProgramPlan") -> None:
    """Add HOME to an environment that has none: what /etc/passwd says of the user, or "/".

    As runc and crun do, on which containerd relies. Read as the user, inside the container, and
    without the C library, which would load modules of the image for it.
    """
    if not any(entry.startswith(b"HOME=") for entry in plan.environment):
        plan.environment.append(b"HOME=" + _home(b"%d" % plan.uid))


def _home(uid: bytes) -> bytes:
    try:
        # A pipe by that name must not make us wait.
        fd = posix.open(_PASSWD, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return b"/"
    try:
        found = posix.fstat(fd)
        text = posix.read(fd, _PASSWD_BYTES) if found.st_mode & _IS_TYPE == 0o100000 else b""
    except OSError:
        return b"/"
    finally:
        posix.close(fd)
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > _HOME and fields[2] == uid and b"\0" not in fields[_HOME]:
            return fields[_HOME] or b"/"
    return b"/"


def find(plan: "ProgramPlan") -> bytes:
    """Return the path of the program as execve(2) wants it, looked up inside the container.

    Raises InvalidError with the texts of runc, which clients turn into exit codes 126 and 127.
    """
    name = plan.arguments[0]
    shown = name.decode(errors="backslashreplace")
    if b"/" in name:
        problem = _problem(name)
        if problem is None:
            return name
        if problem in (errno.ENOENT, errno.ENOTDIR):
            raise InvalidError(f'exec: "{shown}": stat {shown}: no such file or directory')
        raise InvalidError(f'exec: "{shown}": {_refusal(problem)}')
    denied = 0
    for directory in plan.search_path:
        # An empty part of PATH is the working directory (environ(7)).
        candidate = (directory or b".") + b"/" + name
        problem = _problem(candidate)
        if problem is None:
            return candidate
        if problem == errno.EACCES and not _is_missing(candidate):
            denied = problem
    if denied:
        raise InvalidError(f'exec: "{shown}": permission denied')
    raise InvalidError(f'exec: "{shown}": executable file not found in $PATH')


def _problem(candidate: bytes) -> "int | None":
    """Return the errno that keeps ``candidate`` from being run, None when nothing does."""
    try:
        found = posix.stat(candidate)
    except OSError as error:
        return error.errno
    if found.st_mode & _IS_TYPE == 0o040000:
        return errno.EISDIR
    if found.st_mode & _IS_TYPE != 0o100000:
        return errno.EACCES
    return None if posix.access(candidate, posix.X_OK, effective_ids=True) else errno.EACCES


def _is_missing(candidate: bytes) -> bool:
    try:
        posix.stat(candidate)
    except OSError:
        return True
    return False


def _refusal(problem: int) -> str:
    if problem == errno.EISDIR:
        return "is a directory: permission denied"
    return posix.strerror(problem).lower()


def refusal(plan: "ProgramPlan", error: OSError) -> InvalidError:
    """Return the error for a program that execve(2) has refused."""
    shown = plan.arguments[0].decode(errors="backslashreplace")
    return InvalidError(f'exec: "{shown}": {(error.strerror or "").lower()}')


def run(plan: "ProgramPlan", program: bytes) -> int:
    """Replace this process by the program; return the exit code when that fails.

    At this point only the container's own stderr is left to say why.
    """
    try:
        proc.execve(program, plan.arguments, plan.environment)
    except OSError as error:
        shown = plan.arguments[0].decode(errors="backslashreplace")
        text = f"exec {shown}: {(error.strerror or '').lower()}\n"
        posix.write(2, text.encode())
        return EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_NOT_EXECUTABLE
    raise AssertionError("execve returned")
