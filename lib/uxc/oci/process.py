"""The parent's side of a container's first process: cloning it, placing it, hearing from it."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix

from uxc.errors import InvalidError, SystemFailure, system_failure
from uxc.linux import const, fds, ns, proc
from uxc.oci import child, handshake, idmaps, init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from uxc.oci.plan import Plan

# The clone itself makes these; the cgroup namespace comes when the process is in its cgroup, the
# time namespace before, since only children of the process that unshares it are in it.
_CLONED = (
    const.CLONE_NEWUSER
    | const.CLONE_NEWNS
    | const.CLONE_NEWUTS
    | const.CLONE_NEWIPC
    | const.CLONE_NEWNET
    | const.CLONE_NEWPID
)
_MAKE = "create the container's first process"
_CLOCKS = {"monotonic": 1, "boottime": 7}
# Of these two only children are moved by setns(2).
_FOR_CHILDREN = const.CLONE_NEWPID | const.CLONE_NEWTIME


class KilledEarlyError(SystemFailure):
    """The first process was killed before it said anything."""


class FirstProcess:
    """A container's first process, as its maker knows it."""

    __slots__ = ("_channel", "pid", "pidfd", "start_time", "status")

    def __init__(self, pid: int, pidfd: int, channel: handshake.Channel) -> None:
        """Take what clone3 gave."""
        self.pid = pid
        self.pidfd = pidfd
        self.start_time = 0
        # The wait status, when somebody else has reaped it.
        self.status: int | None = None
        self._channel = channel

    @property
    def fd(self) -> int:
        """A descriptor that polls readable when ``hear`` would not wait."""
        return self._channel.fd

    def hear(self) -> bytes:
        """Wait for what the process says next; raises the UxcError that it sent."""
        try:
            return self._channel.receive()
        except EOFError:
            status = posix.waitpid(self.pid, 0)[1] if self.status is None else self.status
            code = proc.exit_code(status)
            killed = posix.WIFSIGNALED(status) and posix.WTERMSIG(status) == _signal.SIGKILL
            raise (KilledEarlyError if killed else SystemFailure)(
                f"the container's first process ended early, exit code {code}",
                "the kernel's log may say why (out of memory?)",
            ) from None

    def tell(self, message: bytes) -> None:
        """Answer the process; SystemFailure when it is gone."""
        try:
            self._channel.send(message)
        except BrokenPipeError:
            raise SystemFailure("the container's first process died before start") from None

    def park(self, ends: bool) -> None:
        """Let the process outlive its maker, waiting for start; ``ends``: the maker ends soon."""
        self.tell(handshake.PARK)
        if ends:
            # Until it hangs up our end would still be its end, by its parent death signal.
            self._channel.wait_closed()

    def kill(self) -> None:
        """End the process now and wait for it, unless it was waited for and closed before."""
        if self.pidfd < 0:
            return
        try:
            proc.send_signal(self.pidfd, _signal.SIGKILL)
            # A stop may come first when it is traced.
            while posix.WIFSTOPPED(posix.waitpid(self.pid, 0)[1]):
                pass
        except (ProcessLookupError, ChildProcessError):
            return

    def close(self) -> None:
        """Give back the descriptors; the process lives on."""
        self._channel.close()
        fds.close_quietly(self.pidfd)
        self.pidfd = -1


def open_namespaces(plan: "Plan") -> "list[tuple[int, int]]":
    """Open the namespaces that the plan joins by path, in the order to join them.

    Raises InvalidError for a path that is missing, no namespace, or one of another type.
    """
    opened: list[tuple[int, int]] = []
    try:
        for place, name, flag in plan.joined:
            try:
                # Without waiting, should it be a FIFO.
                fd = posix.open(place, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
            except OSError as error:
                raise InvalidError(
                    f"config.json: linux.namespaces: {place}: {(error.strerror or '').lower()}"
                ) from None
            opened.append((fd, flag))
            try:
                found = ns.kind(fd)
            except OSError:
                found = 0
            if found != flag:
                raise InvalidError(f"config.json: linux.namespaces: {place} is no {name} namespace")
            setting = plan.settings.get(flag)
            if setting is not None and ns.is_own(fd, name):
                raise InvalidError(
                    f"config.json: {setting}: {place} is the runtime's own {name} namespace",
                    "leave the setting out, or give the container a namespace of its own",
                )
    except BaseException:
        for fd, _ in opened:
            posix.close(fd)
        raise
    # The mount namespace last: what is joined before it was opened by host paths all the same,
    # but from then on "/" is another one.
    opened.sort(key=lambda entry: entry[1] == const.CLONE_NEWNS)
    return opened


def spawn(plan: "Plan", around: init.Surroundings, cgroup_fd: int) -> FirstProcess:
    """Clone the first process, which begins at once.

    ``cgroup_fd`` is the v2 cgroup that it is born in, -1 for the caller's. ``around.channel`` is
    the child's end and is made here. Raises SystemFailure.
    """
    ours, around.channel = handshake.pair()
    dumpable = proc.set_dumpable(False)
    try:
        if _needs_go_between(plan, around):
            pid, pidfd = _clone_by_go_between(plan, around, cgroup_fd)
        else:
            pid, pidfd = _clone_at_home(plan, around, cgroup_fd)
    except OSError as error:
        ours.close()
        raise system_failure(_MAKE, error, _hint(error)) from None
    except BaseException:
        ours.close()
        raise
    finally:
        proc.set_dumpable(dumpable)
        around.channel.close()
    first = FirstProcess(pid, pidfd, ours)
    try:
        first.start_time = proc.start_time(pid)
        if plan.maps is not None:
            idmaps.write(pid, plan.maps)
            first.tell(handshake.MAPPED)
    except BaseException:
        first.kill()
        first.close()
        raise
    return first


def _clone_at_home(plan: "Plan", around: init.Surroundings, cgroup_fd: int) -> "tuple[int, int]":
    home: list[tuple[int, int]] = []
    try:
        _move_children(plan, around, home)
        pid, pidfd = proc.clone(plan.new_flags & _CLONED, cgroup_fd)
        if pid == 0:
            init.run(plan, around)
    finally:
        for fd, flag in home:
            ns.join(fd, flag)
            posix.close(fd)
    return pid, pidfd


def _needs_go_between(plan: "Plan", around: init.Surroundings) -> bool:
    """Tell whether namespaces must be joined before the first process exists.

    What a process in a new user namespace makes belongs to that, and what is not its own it may
    not join; and from a joined one there is no way back for the caller.
    """
    if not plan.user_namespace:
        return False
    return plan.maps is None or any(not flag & _FOR_CHILDREN for _, flag in around.joined)


def _clone_by_go_between(
    plan: "Plan", around: init.Surroundings, cgroup_fd: int
) -> "tuple[int, int]":
    """Clone the first process from a child that joins everything before and ends then.

    By CLONE_PARENT it is ours all the same. Raises the error of whichever step failed.
    """
    ours, theirs = handshake.pair()
    try:
        between, pidfd = proc.clone(0)
        if between == 0:
            _go_between(plan, around, cgroup_fd, theirs)
        posix.close(pidfd)
        theirs.close()
        try:
            pid = int(ours.receive())
        except EOFError:
            raise SystemFailure("the process that joins the namespaces ended early") from None
        finally:
            posix.waitpid(between, 0)
    finally:
        ours.close()
    # Not reaped yet, so the number is still the child's, whatever became of it.
    return pid, proc.pidfd_open(pid)


def _go_between(
    plan: "Plan", around: init.Surroundings, cgroup_fd: int, channel: handshake.Channel
) -> "NoReturn":
    def steps() -> int:
        try:
            # As root of the host, which the namespace that is joined may keep us from later.
            posix.setgroups([])
            _move_children(plan, around, [])
            # Others than the user namespace first: they may belong to the host.
            for fd, flag in sorted(around.joined, key=lambda one: one[1] == const.CLONE_NEWUSER):
                init.join(fd, flag)
            around.joined = []
            pid, _ = proc.clone(plan.new_flags & _CLONED | const.CLONE_PARENT, cgroup_fd)
        except OSError as error:
            raise system_failure(_MAKE, error) from None
        if pid == 0:
            init.run(plan, around)
        channel.send(b"%d" % pid)
        return 0

    child.live(channel, "go-between", steps)


def _hint(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "uxc-runtime must be started as root, with CAP_SYS_ADMIN"
    return ""


def _move_children(plan: "Plan", around: init.Surroundings, home: "list[tuple[int, int]]") -> None:
    """Make the next child be in the pid and time namespaces that it shall be in.

    ``home`` gets what to join afterwards, so that children made later are where they always were.
    """
    for joined in list(around.joined):
        fd, flag = joined
        if flag & _FOR_CHILDREN:
            name = "pid" if flag == const.CLONE_NEWPID else "time"
            home.append((ns.open_own(name), flag))
            ns.join(fd, flag)
            around.joined.remove(joined)
            posix.close(fd)
    if plan.new_flags & const.CLONE_NEWTIME:
        home.append((ns.open_own("time"), const.CLONE_NEWTIME))
        ns.unshare(const.CLONE_NEWTIME)
        _write_time_offsets(plan)


def _write_time_offsets(plan: "Plan") -> None:
    if not plan.time_offsets:
        return
    text = "".join(
        f"{_CLOCKS[clock]} {seconds} {nanoseconds}\n"
        for clock, (seconds, nanoseconds) in plan.time_offsets.items()
    )
    fd = posix.open("/proc/self/timens_offsets", posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    except OSError as error:
        # The clocks would be before the boot, or too far in the future (time_namespaces(7)).
        raise system_failure("apply linux.timeOffsets", error) from None
    finally:
        posix.close(fd)
