"""A process that joins a running container, until it becomes the program to be executed there.

Runs in the cloned child. Until it is inside, everything in the container is hostile: processes may
look at it as soon as it is in their pid namespace, so nobody may look into it from its birth; the
file system may hold anything at any name, so nothing is imported, and every path is opened beneath
the root without following what leads out of it.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import errno
import posix

from uxc.errors import ConflictError, system_failure
from uxc.linux import const, mount, ns, path, proc, pty
from uxc.oci import child, handshake, program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from uxc.oci.plan import ProgramPlan
    from uxc.oci.seccomp import Program

_TERMINALS = "dev/pts"
_OPTIONS = ("ptmxmode=0666", "mode=0620")


class Surroundings:
    """What the parent found out and opened for the child, beside the plan."""

    __slots__ = (
        "cgroups",
        "channel",
        "console",
        "flags",
        "listen_fds",
        "pidfd",
        "prepare",
        "preserved",
        "root",
        "root_ids",
        "seccomp",
        "set_affinity",
        "stdio",
    )

    # The child's end of the conversation.
    channel: handshake.Channel

    def __init__(self, pidfd: int, flags: int) -> None:
        """Take a pidfd of the container's first process, and which of its namespaces to join."""
        self.pidfd = pidfd
        self.flags = flags
        # Files of the cgroups to enter.
        self.cgroups: list[int] = []
        # A connected socket that wants the terminal's master, -1 for none.
        self.console = -1
        self.listen_fds = 0
        self.prepare: Callable[[], None] | None = None
        # Descriptors that the program inherits beside its standard streams, by number.
        self.preserved: list[int] = []
        # The root directory to be in, -1: that of the mount namespace.
        self.root = -1
        # The user and group that are root in the container's user namespace.
        self.root_ids = (0, 0)
        self.seccomp: Program | None = None
        self.set_affinity: Callable[[list[int]], None] | None = None
        self.stdio = (0, 1, 2)

    def all_fds(self) -> "list[int]":
        """Return every descriptor that is needed until the exec."""
        needed = [self.channel.fd, self.pidfd, self.console, self.root]
        needed += [*self.stdio, *self.preserved, *self.cgroups]
        return [fd for fd in needed if fd >= 0]


def run(plan: "ProgramPlan", around: Surroundings) -> "NoReturn":
    """Join the container and become the program, or tell the parent why not and end."""
    child.live(around.channel, "joining process", lambda: _run(plan, around))


def _run(plan: "ProgramPlan", around: Surroundings) -> int:
    child.detach(around.prepare, around.all_fds(), around.stdio)
    _use_host_privileges(plan, around)
    _enter(around)
    child.join_session_keyring()
    root = posix.open("/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    if plan.terminal:
        _set_terminal(plan, around, root)
    _enter_directory(root, plan.cwd)
    program.set_limits(plan)
    program.own_stdio(plan.uid)
    keep_admin = program.needs_admin_for_seccomp(plan, around.seccomp)
    program.become(plan, keep_admin)
    proc.set_parent_death_signal(_signal.SIGKILL)
    program.check_directory()
    program.add_home(plan)
    executable = program.find(plan)
    if around.listen_fds:
        # The number that the program itself sees (sd_listen_fds(3)).
        plan.environment.append(b"LISTEN_PID=%d" % posix.getpid())
    around.channel.send(handshake.READY)
    around.channel.expect(handshake.EXECUTE)
    proc.set_parent_death_signal(0)
    child.keep_only(around.preserved)
    listener = program.confine(plan, around.seccomp, keep_admin)
    if around.seccomp is not None and around.seccomp.listens:
        child.hand_over(around.channel, listener)
    try:
        proc.execve(executable, plan.arguments, plan.environment)
    except OSError as error:
        raise program.refusal(plan, error) from None
    raise AssertionError("execve returned")


def _use_host_privileges(plan: "ProgramPlan", around: Surroundings) -> None:
    """Do what root of the host may do, and root of a user namespace may not."""
    if around.set_affinity is not None:
        around.set_affinity(plan.initial_cpus)
    child.enter_cgroups(around.cgroups)
    if around.set_affinity is not None:
        around.set_affinity(plan.final_cpus)
    if plan.labels is not None:
        plan.labels.apply()
    if plan.attributes is not None:
        plan.attributes.apply()
    program.raise_limits(plan)
    # The user namespace may forbid this, and forget nothing (setgroups "deny").
    posix.setgroups([])


def _enter(around: Surroundings) -> None:
    """Join all namespaces in one call, the kernel sees to their order; then the root directory."""
    try:
        if around.flags:
            ns.join(around.pidfd, around.flags)
    except ProcessLookupError:
        raise ConflictError("cannot exec in a stopped container") from None
    except OSError as error:
        raise system_failure("join the container's namespaces", error) from None
    posix.close(around.pidfd)
    try:
        if around.root >= 0:
            posix.fchdir(around.root)
            posix.chroot(".")
            posix.close(around.root)
        if around.flags & const.CLONE_NEWUSER:
            uid, gid = around.root_ids
            # Ids that are not mapped own nothing and make nothing: the kernel answers EOVERFLOW.
            posix.setresgid(gid, gid, gid)
            posix.setresuid(uid, uid, uid)
            # Forgotten with the change of user (prctl(2)).
            proc.set_dumpable(False)
            proc.set_parent_death_signal(_signal.SIGKILL)
    except OSError as error:
        raise system_failure("become root of the container", error) from None


def _enter_directory(root: int, place: str) -> None:
    """Make ``place`` the working directory.

    Neither string nor link of the container gets to chdir(2): "/proc/self/fd/7" would be a way out
    (CVE-2024-21626).
    """
    try:
        fd = path.open_in_root(root, place, posix.O_PATH | posix.O_DIRECTORY)
    except OSError as error:
        raise system_failure(f"change directory to {place}", error) from None
    posix.close(root)
    program.enter_directory(fd, place)


def _set_terminal(plan: "ProgramPlan", around: Surroundings, root: int) -> None:
    """Make a new terminal of the container's the controlling one and send its master away."""
    try:
        master = _open_master(root)
        peer = pty.open_peer(master)
        if plan.console_size is not None:
            pty.set_size(master, *plan.console_size)
        name = b"/dev/pts/%d" % pty.number_of(peer)
        child.take_terminal(peer, master, name, around.console)
    except OSError as error:
        raise system_failure("open a terminal", error) from None


def _open_master(root: int) -> int:
    try:
        return pty.open_master(root, _TERMINALS)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
    # A bundle without devpts gets a terminal from an instance that nobody sees, as at create.
    instance = mount.new_filesystem("devpts", "devpts", _OPTIONS)
    try:
        return path.open_same_mount(instance, "ptmx", posix.O_RDWR | posix.O_NOCTTY)
    finally:
        posix.close(instance)
