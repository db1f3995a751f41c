"""The container's first process until it becomes the container's program.

Runs in the cloned child and executes a resolved plan: no imports, no look-ups of users or hosts,
every path of the root file system opened beneath its descriptor. The order is the kernel's: what
needs host paths comes before the pivot, what needs privileges before they are given up, seccomp
last.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _socket
import posix

from uxc.errors import UxcError, system_failure
from uxc.linux import const, fds, link, mount, ns, path, proc, pty
from uxc.oci import child, devices, gate, handshake, hooks, idmaps, mounts, program
from uxc.oci.rootfs import Rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.plan import Plan, ProgramPlan
    from uxc.oci.seccomp import Program


class Surroundings:
    """What the parent opened for the child, beside the plan."""

    __slots__ = (
        "cgroups",
        "channel",
        "console",
        "gate",
        "joined",
        "layout",
        "new_keyring",
        "pivot",
        "prepare",
        "preserved",
        "seccomp",
        "start_report",
        "stdio",
        "trees",
    )

    # The child's end of the conversation.
    channel: handshake.Channel

    def __init__(self, gate: int, layout: "Layout") -> None:
        """Take the open FIFO that ``start`` writes to, and where cgroups are mounted."""
        self.gate = gate
        self.layout = layout
        # Files of the cgroups to enter: what a process writes "0" to, to be moved in.
        self.cgroups: list[int] = []
        # (fd, CLONE_NEW*) of the namespaces to join, in the order to join them.
        self.joined: list[tuple[int, int]] = []
        # A connected socket that wants the terminal's master, -1 for none.
        self.console = -1
        # Leave the caller's session keyring.
        self.new_keyring = True
        self.pivot = True
        # What the cloned process has to do before anything else, to be no longer its maker.
        self.prepare: Callable[[], None] | None = None
        # Descriptors that the program inherits beside its standard streams, by number.
        self.preserved: list[int] = []
        self.seccomp: Program | None = None
        # The file that takes what goes wrong in startContainer hooks, -1 without any.
        self.start_report = -1
        self.stdio = (0, 1, 2)
        # Index in mounts → its detached tree, opened by the parent; -1 is the root file system.
        self.trees: dict[int, int] = {}

    def all_fds(self) -> "list[int]":
        """Return every descriptor that is needed until the exec."""
        fds = [self.channel.fd, self.gate, self.console, *self.stdio, *self.preserved]
        fds += [*self.cgroups, self.start_report, *self.trees.values()]
        return [fd for fd in fds if fd >= 0] + [fd for fd, _ in self.joined]


def run(plan: "Plan", around: Surroundings) -> "NoReturn":
    """Become the container's program, or tell the parent why not and end."""
    child.live(around.channel, "first process", lambda: _run(plan, around))


def _run(plan: "Plan", around: Surroundings) -> int:
    child.detach(around.prepare, around.all_fds(), around.stdio)
    if around.new_keyring:
        child.join_session_keyring()
    if plan.user_namespace:
        _become_root(plan, around)
    _enter_cgroups(plan, around)
    _enter_namespaces(plan, around)
    rootfs = _build(plan, around)
    created = _meet(plan, around) if plan.meets else b""
    _set_names_and_settings(plan)
    what = plan.program
    if what is not None and what.labels is not None:
        what.labels.apply()
    cwd = -1 if what is None else program.open_directory(rootfs.fd, what.cwd)
    rootfs.make_paths_readonly()
    rootfs.mask()
    if plan.readonly_root:
        rootfs.make_readonly()
    rootfs.enter(around.pivot)
    if what is None:
        _hold(around)
    program.enter_directory(cwd, what.cwd)
    return _become_program(plan, what, around, created)


def _become_program(plan: "Plan", what: "ProgramPlan", around: Surroundings, created: bytes) -> int:
    if not plan.user_namespace:
        # In a user namespace nobody may raise a limit: the parent does it.
        program.set_limits(what)
    program.own_stdio(what.uid)
    keep_admin = program.needs_admin_for_seccomp(what, around.seccomp)
    if what.attributes is not None:
        what.attributes.apply()
    program.become(what, keep_admin)
    proc.set_parent_death_signal(_signal.SIGKILL)
    program.check_directory()
    program.add_home(what)
    executable = program.find(what)
    listening = around.seccomp is not None and around.seccomp.listens
    if listening:
        # While the parent is there to pass it on, and not between start and exec as otherwise.
        child.hand_over(around.channel, program.confine(what, around.seccomp, keep_admin))
    traced = _park(around)
    if not traced:
        _run_start_hooks(plan, around, created)
    child.keep_only(around.preserved)
    if not listening:
        program.confine(what, around.seccomp, keep_admin)
    if not traced:
        return program.run(what, executable)
    try:
        proc.execve(executable, what.arguments, what.environment)
    except OSError as error:
        raise program.refusal(what, error) from None
    raise AssertionError("execve returned")


def _become_root(plan: "Plan", around: Surroundings) -> None:
    if plan.maps is not None:
        around.channel.expect(handshake.MAPPED)
    idmaps.become_root(plan.maps)
    # Forgotten with the change of user, as is that nobody may look into this process (prctl(2)).
    proc.set_dumpable(False)
    proc.set_parent_death_signal(_signal.SIGKILL)


def _enter_cgroups(plan: "Plan", around: Surroundings) -> None:
    child.enter_cgroups(around.cgroups)
    if plan.new_flags & const.CLONE_NEWCGROUP:
        # Its root is where the process is now, so the cgroups come first (cgroup_namespaces(7)).
        ns.unshare(const.CLONE_NEWCGROUP)


def _enter_namespaces(plan: "Plan", around: Surroundings) -> None:
    for fd, flag in around.joined:
        join(fd, flag)
    if plan.new_flags & const.CLONE_NEWNET:
        try:
            link.set_up("lo")
        except OSError as error:
            raise system_failure("bring up", error) from None


def join(fd: int, flag: int) -> None:
    """Enter the namespace behind ``fd``, whose CLONE_NEW* is ``flag``, and close it."""
    try:
        ns.join(fd, flag)
    except OSError as error:
        name = next(name for name, bit in ns.FLAGS.items() if bit == flag)
        raise system_failure(f"join the {name} namespace", error) from None
    posix.close(fd)


def _build(plan: "Plan", around: Surroundings) -> Rootfs:
    rootfs = Rootfs(plan, around.layout, around.trees)
    mounts.make_all(rootfs)
    if devices.wanted(plan):
        devices.make_all(plan, rootfs)
    if plan.program is not None and plan.program.terminal:
        _set_terminal(plan.program, around, rootfs)
    return rootfs


def _set_terminal(what: "ProgramPlan", around: Surroundings, rootfs: Rootfs) -> None:
    master, peer = devices.open_terminal(rootfs)
    if what.console_size is not None:
        pty.set_size(master, *what.console_size)
    devices.bind_console(rootfs, peer)
    child.take_terminal(peer, master, b"/dev/pts/0", around.console)


def _set_names_and_settings(plan: "Plan") -> None:
    try:
        if plan.hostname:
            _socket.sethostname(plan.hostname)
        if plan.domainname:
            proc.set_domainname(plan.domainname)
    except OSError as error:
        raise system_failure("set the host name", error) from None
    if not plan.sysctls:
        return
    # Our own instance of procfs, which the container has no way to mount over (CVE-2025-52881).
    own = mount.new_filesystem("proc", "proc")
    try:
        for name, value in plan.sysctls:
            try:
                fd = path.open_same_mount(own, f"sys/{name}", posix.O_WRONLY)
                try:
                    posix.write(fd, value.encode())
                finally:
                    posix.close(fd)
            except OSError as error:
                raise system_failure(f"set sysctl {name} to '{value}'", error) from None
    finally:
        posix.close(own)


def _end(number: int, _frame: object) -> None:
    posix._exit(128 + number)


def _meet(plan: "Plan", around: Surroundings) -> bytes:
    """Let the parent act from outside, then run our hooks; return the state for those at start."""
    around.channel.send(handshake.BUILT)
    creating, created = around.channel.receive().split(handshake.SEPARATOR)
    hooks.run("createContainer", plan.hooks.create_container, creating)
    return created


def _park(around: Surroundings) -> bool:
    """Tell the parent that all is done, and wait for ``start``; True: go on at once, traced."""
    if posix.getpid() == 1:
        for number in gate.ENDING:
            _signal.signal(number, _end)
    around.channel.send(handshake.READY)
    traced = around.channel.receive() == handshake.EXECUTE
    proc.set_parent_death_signal(0)
    if not traced:
        around.channel.close()
        gate.wait_turn(around.gate)
    return traced


def _hold(around: Surroundings) -> "NoReturn":
    """Be the container as long as it has no program: ``start`` is refused, a signal ends it."""
    for number in gate.ENDING:
        _signal.signal(number, _end)
    around.channel.send(handshake.READY)
    around.channel.expect(handshake.PARK)
    proc.set_parent_death_signal(0)
    around.channel.close()
    fds.close_all_but([])
    while True:
        _signal.pause()


def _run_start_hooks(plan: "Plan", around: Surroundings, state: bytes) -> None:
    try:
        hooks.run("startContainer", plan.hooks.start_container, state)
    except UxcError as error:
        # Who has called start reads it when the gate closes.
        posix.write(around.start_report, error.message.encode("utf-8", "replace"))
        raise
