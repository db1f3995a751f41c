"""Executing a process in a container that runs: found, joined, and its program under way.

Any number at once, also while others begin or end; nothing is locked and nothing put on record,
since the container's cgroup knows all of its processes.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix

from uxc.errors import ConflictError, InvalidError, SystemFailure, system_failure
from uxc.linux import caps, const, fds, ns, proc
from uxc.oci import announce, execcgroup, execoptions, handshake, idmaps, joining, program, spec
from uxc.oci import state as states_
from uxc.oci.createoptions import check_preserved, preserved
from uxc.oci.execoptions import ExecOptions as ExecOptions
from uxc.oci.gate import frozen_cgroup
from uxc.oci.plan import ProgramPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec import Spec
    from uxc.oci.state import State

_STOPPED = "cannot exec in a stopped container"


class Execution:
    """A process whose program runs; ``pidfd`` belongs to the caller, as does the child ``pid``."""

    __slots__ = ("pid", "pidfd", "warnings")

    def __init__(self, pid: int, pidfd: int, warnings: "list[str]") -> None:
        """Take the process; ``warnings`` are sentences for the caller."""
        self.pid = pid
        self.pidfd = pidfd
        self.warnings = warnings


def execute(options: ExecOptions) -> Execution:
    """Execute another process in a container; return when its program runs.

    It is a child of the caller, which must have one thread. Raises NotFoundError, ConflictError
    when the container does not run, InvalidError for what is wrong about the process or its
    program, SystemFailure; then nothing of it is left.
    """
    state = states_.load(options.root, options.id)
    _check_status(state, options.ignore_paused)
    joiner = _Joiner(state, options)
    try:
        joiner.look_around()
        joiner.spawn()
        joiner.settle()
    except SystemFailure:
        joiner.abandon()
        # Whatever failed did so because the first process took everything with it.
        if not states_.is_alive(state.pid, state.start_time):
            raise ConflictError(_STOPPED) from None
        raise
    except BaseException:
        joiner.abandon()
        raise
    finally:
        joiner.close()
    return Execution(joiner.pid, joiner.pidfd, joiner.warnings)


def _check_status(state: "State", ignore_paused: bool) -> None:
    status = state.status()
    if status == "stopped":
        raise ConflictError(_STOPPED)
    if status == "creating":
        raise ConflictError("cannot exec in a container that is being created")
    if status == "created" and frozen_cgroup(state.directory):
        # What enters its cgroup is frozen with it.
        raise ConflictError(
            "cannot exec in a created container: its program waits frozen", "start it first"
        )
    if status == "paused" and not ignore_paused:
        raise ConflictError(
            "cannot exec in a paused container (use --ignore-paused to override)",
            "with that it begins when the container is resumed",
        )


class _Joiner:
    """One exec on its way."""

    __slots__ = (
        "_around",
        "_channel",
        "_console",
        "_first",
        "_options",
        "_places",
        "_plan",
        "_spec",
        "_state",
        "_wrote_pid_file",
        "pid",
        "pidfd",
        "warnings",
    )

    def __init__(self, state: "State", options: ExecOptions) -> None:
        """Resolve what is asked for, and open the container; UxcError."""
        self._state = state
        self._options = options
        self._channel: handshake.Channel | None = None
        self._console = -1
        self._first = -1
        self._wrote_pid_file = False
        self.pid = 0
        self.pidfd = -1
        self.warnings: list[str] = []
        config = state.read_config()
        self._spec: Spec = spec.parse(config)
        process = execoptions.process_of(options, config)
        _, available, _ = caps.get()
        self._plan = ProgramPlan(process, self._spec.linux, available, self.warnings)
        if options.listen_fds:
            self._plan.environment.append(b"LISTEN_FDS=%d" % options.listen_fds)
        _check_terminal(self._plan, options)
        check_preserved(options)
        assert state.cgroup is not None
        self._places = execcgroup.Places(state.cgroup, options.cgroups)
        self._around = joining.Surroundings(-1, 0)

    def look_around(self) -> None:
        """Open the container's first process and learn what is to be joined; UxcError."""
        state, options, linux, around = self._state, self._options, self._spec.linux, self._around
        try:
            around.pidfd = self._first = proc.pidfd_of(state.pid, state.start_time)
            around.flags = _differing(state.pid)
            mounts = linux.namespace("mount")
            if mounts is None or mounts.path:
                # The namespace has a root of its own, which is not the container's.
                flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
                around.root = posix.open(f"/proc/{state.pid}/root", flags)
            if around.flags & const.CLONE_NEWUSER:
                around.root_ids = idmaps.root_ids(state.pid)
        except ProcessLookupError:
            raise ConflictError(_STOPPED) from None
        except OSError as error:
            raise system_failure("look at the container's first process", error) from None
        # All of it was that very process's, unless its pid is somebody else's by now.
        if not states_.is_alive(state.pid, state.start_time):
            raise ConflictError(_STOPPED)
        around.prepare = options.prepare
        around.stdio = options.stdio
        around.listen_fds = options.listen_fds
        around.preserved = preserved(options)
        if self._plan.initial_cpus or self._plan.final_cpus:
            from uxc.oci import attributes

            around.set_affinity = attributes.set_affinity
        if linux.seccomp is not None:
            from uxc.oci import seccomp

            around.seccomp = seccomp.program(linux.seccomp, options.seccomp_dir)

    def spawn(self) -> None:
        """Clone the process that joins, and hear that only the exec is left to do; UxcError."""
        if self._options.console_socket:
            sock = announce.connect(self._options.console_socket, "console socket")
            self._console = self._around.console = sock.detach()
        else:
            self._around.console = self._options.console_fd
        # The CPUs to begin with are those of a process that is not in the cgroup yet.
        inside = self._places.has_unified and not self._plan.initial_cpus
        try:
            ready = self._attempt_anywhere(inside)
            if not ready and inside:
                # A kernel (6.18) kills a child that is born into another cgroup when cgroup.kill
                # was ever written to one of the two and not to the other.
                ready = self._attempt(inside=False)
        except OSError as error:
            raise system_failure("create a process for the container", error) from None
        if not ready:
            raise SystemFailure(
                "the process that joins the container was killed",
                "by a process of the container, or for want of memory: see the kernel's log",
            )

    def _attempt_anywhere(self, inside: bool) -> bool:
        """Make an attempt where the container's processes may be; answers as ``_attempt``."""
        try:
            return self._attempt(inside)
        except OSError as error:
            if not (execcgroup.is_full(error) and self._places.follow(self._state.pid)):
                raise
            return self._attempt(inside)

    def _attempt(self, inside: bool) -> bool:
        """Clone, and wait until the process is ready; False: it was killed.

        ``inside``: it is born in the v2 cgroup. Raises the UxcError that it sent, OSError of the
        clone.
        """
        around, places = self._around, self._places
        around.cgroups = places.open_entrances(unified=places.has_unified and not inside)
        cgroup = -1
        try:
            cgroup = places.open_unified() if inside else -1
            self._channel = self._clone(cgroup)
        finally:
            fds.close_quietly(cgroup)
            for fd in around.cgroups:
                posix.close(fd)
        try:
            self._channel.expect(handshake.READY)
        except EOFError:
            _, status = posix.waitpid(self.pid, 0)
            # No more than was made here: the next attempt needs the rest.
            self._channel.close()
            posix.close(self.pidfd)
            self._channel, self.pid, self.pidfd = None, 0, -1
            if posix.WIFSIGNALED(status) and posix.WTERMSIG(status) == _signal.SIGKILL:
                return False
            code = proc.exit_code(status)
            raise SystemFailure(
                f"the process that joins the container ended early, exit code {code}"
            ) from None
        return True

    def _clone(self, cgroup: int) -> handshake.Channel:
        around = self._around
        ours, around.channel = handshake.pair()
        home = -1
        dumpable = proc.set_dumpable(False)
        try:
            if around.flags & const.CLONE_NEWPID:
                # Only children are moved by setns(2).
                home = ns.open_own("pid")
                ns.join(around.pidfd, const.CLONE_NEWPID)
            self.pid, self.pidfd = proc.clone(0, cgroup)
            if self.pid == 0:
                around.flags &= ~const.CLONE_NEWPID
                joining.run(self._plan, around)
        except BaseException:
            ours.close()
            raise
        finally:
            if home >= 0:
                ns.join(home, const.CLONE_NEWPID)
                posix.close(home)
            proc.set_dumpable(dumpable)
            around.channel.close()
        return ours

    def settle(self) -> None:
        """Tell who wants to know of the process, and let it become its program; UxcError."""
        options, channel = self._options, self._channel
        assert channel is not None
        if self._plan.oom_score_adj is not None:
            program.set_oom_score(self.pid, self._plan.oom_score_adj)
        if options.pidfd_socket:
            announce.send_pidfd(options.pidfd_socket, self.pidfd)
        if options.pid_file:
            announce.write_pid_file(options.pid_file, self.pid)
            self._wrote_pid_file = True
        try:
            channel.send(handshake.EXECUTE)
            while True:
                # The execve closes the other end.
                self._hand_listener(channel.receive())
        except BrokenPipeError:
            raise SystemFailure("the process that joins the container was killed") from None
        except EOFError:
            return

    def _hand_listener(self, message: bytes) -> None:
        profile, channel = self._spec.linux.seccomp, self._channel
        assert message.startswith(handshake.LISTENER)
        assert profile is not None
        assert channel is not None
        number = int(message[len(handshake.LISTENER) :])
        announce.hand_listener(self.pidfd, number, profile, self._state, self.pid)
        channel.send(handshake.TAKEN)

    def abandon(self) -> None:
        """End the process, wait for it, and take its pid file away."""
        if self.pid:
            try:
                proc.send_signal(self.pidfd, _signal.SIGKILL)
            except ProcessLookupError:
                # It has ended by itself and waits to be reaped.
                pass
            posix.waitpid(self.pid, 0)
            posix.close(self.pidfd)
        if self._wrote_pid_file:
            posix.unlink(self._options.pid_file)

    def close(self) -> None:
        """Close what only the joining needed."""
        if self._channel is not None:
            self._channel.close()
        fds.close_quietly(self._first)
        fds.close_quietly(self._around.root)
        fds.close_quietly(self._console)
        self._first = self._around.root = self._console = -1


def _differing(pid: int) -> int:
    """Return the CLONE_NEW* of the namespaces in which ``pid`` is and we are not; OSError."""
    flags = 0
    for name, flag in ns.FLAGS.items():
        try:
            ours, theirs = posix.stat(f"/proc/self/ns/{name}"), posix.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            # A kernel without namespaces of this kind, or nobody to join; the caller looks.
            continue
        if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
            flags |= flag
    return flags


def _check_terminal(plan: ProgramPlan, options: ExecOptions) -> None:
    wanted = bool(options.console_socket) or options.console_fd >= 0
    if plan.terminal and not wanted:
        raise InvalidError(
            "cannot allocate tty if uxc-runtime will detach without setting console socket",
            "give one with --console-socket, or do not detach",
        )
    if wanted and not plan.terminal:
        raise InvalidError("a console socket is given, but the process has no terminal")
