"""Creating a container: everything but the start of its program, or nothing at all."""

import posix

from uxc import files, jsontext
from uxc.errors import ConflictError, UxcError, system_failure
from uxc.linux import caps, fds, pid
from uxc.oci import announce, gate, handshake
from uxc.oci import state as states_
from uxc.oci.createoptions import (
    CreateOptions,
    absolute,
    check_preserved,
    check_terminal,
    preserved,
    read_config,
)
from uxc.oci.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.cgroup.setup import Plan as CgroupPlan
    from uxc.oci.init import Surroundings
    from uxc.oci.netdevices import NetDevices
    from uxc.oci.parking import Tracer
    from uxc.oci.plan import Plan
    from uxc.oci.process import FirstProcess
    from uxc.oci.seccomp import Program
    from uxc.oci.spec import Spec


def create(options: CreateOptions) -> State:
    """Make the container of a bundle, all but started: its program waits for ``start``.

    Raises UxcError; nothing of the container is left then.
    """
    return begin(options).finish()


def begin(options: CreateOptions) -> "Creation":
    """Do the part of ``create`` that waits for nothing; ``finish`` does the rest.

    Raises UxcError as ``create`` does.
    """
    gate.check_id(options.id)
    creation = Creation(options)
    creation.reserve()
    try:
        creation.make()
    except BaseException as error:
        creation.abandon_for(error)
        raise
    return creation


class WouldWaitError(UxcError):
    """Something that takes a while would have to be done first; nothing was made."""


class Creation:
    """One create on its way: what exists so far, to go on with or to take back."""

    __slots__ = (
        "_cgroup",
        "_cgroup_plan",
        "_config",
        "_console",
        "_devices",
        "_gate",
        "_layout",
        "_lock",
        "_options",
        "_plan",
        "_process",
        "_seccomp",
        "_spec",
        "_start_report",
        "_tracer",
        "state",
    )

    def __init__(self, options: CreateOptions) -> None:
        """Read and resolve the bundle; makes nothing. UxcError."""
        from uxc.oci import plan, spec
        from uxc.oci.cgroup import layout, setup

        self._options = options
        self._lock = -1
        self._gate = -1
        self._console = -1
        self._start_report = -1
        self._cgroup: Cgroup | None = None
        self._process: FirstProcess | None = None
        self._devices: NetDevices | None = None
        self._tracer: Tracer | None = None
        self.state = state = State(options.root, options.id)
        state.bundle = absolute(options.bundle)
        self._config = read_config(options)
        if options.notifies:
            from uxc.oci import notify

            self._config = notify.with_socket(self._config, state.directory)
        self._spec: Spec = spec.parse(self._config)
        _, available, _ = caps.get()
        self._plan: Plan = plan.Plan(self._spec, state.bundle, available, state.warnings)
        if self._plan.takes_time and not options.may_wait:
            raise WouldWaitError("hooks, or a user namespace: others have to be waited for")
        check_terminal(self._plan, options)
        check_preserved(options)
        if options.listen_fds and self._plan.program is not None:
            self._plan.program.environment += [
                b"LISTEN_FDS=%d" % options.listen_fds,
                b"LISTEN_PID=1",
            ]
        linux = self._spec.linux
        try:
            self._layout: Layout = layout.probe()
        except OSError as error:
            raise system_failure("read the mounted cgroups", error) from None
        self._cgroup_plan: CgroupPlan = setup.plan(
            options.id, linux.cgroups_path, options.cgroup_parent, linux.resources, self._layout
        )
        state.warnings += self._cgroup_plan.warnings
        state.rootfs = self._plan.rootfs
        state.annotations = self._spec.annotations
        state.owner = "root" if posix.getuid() == 0 else str(posix.getuid())
        state.created = states_.timestamp()
        state.startable = self._plan.program is not None
        state.poststop = bool(self._plan.hooks.poststop)
        self._seccomp = self._find_seccomp()

    def _find_seccomp(self) -> "Program | None":
        profile = self._spec.linux.seccomp
        if profile is None:
            return None
        from uxc.oci import seccomp

        if self._options.may_wait:
            return seccomp.program(profile, self._options.seccomp_dir)
        if profile.listener_path:
            raise WouldWaitError("a seccomp agent has to be waited for")
        found = seccomp.cached(profile, self._options.seccomp_dir)
        if found is None:
            raise WouldWaitError("the seccomp profile was not compiled yet")
        return found

    @property
    def config(self) -> "dict[str, Any]":
        """The bundle's config.json."""
        return self._config

    @property
    def process(self) -> "FirstProcess":
        """The first process, once ``make`` is done; another one if a kernel killed that one."""
        assert self._process is not None
        return self._process

    def reserve(self) -> None:
        """Take the id, after cleaning up a creation of it that died midway; ConflictError."""
        self._look_around()
        try:
            self._lock = states_.reserve(self.state, self._options.may_wait)
        except BlockingIOError:
            raise WouldWaitError(f"{self.state.root} is locked by another process") from None
        if self._lock < 0:
            from uxc.oci import lifecycle

            lifecycle.clean_up_dead(self.state.root, self.state.id)
            # What was there may have been the dead one's.
            self._look_around()
            self._lock = states_.reserve(self.state)
            if self._lock < 0:
                raise ConflictError(f"container with given ID already exists: {self.state.id}")

    def _look_around(self) -> None:
        """Note what is there already, for whoever cleans up after us, should we die."""
        self.state.cgroup = self._cgroup_plan.record()
        if self._plan.shares_mounts:
            from uxc.oci import hostroot

            self.state.root_mounts = (hostroot.mount_at(self.state.rootfs), 0)

    def make(self) -> None:
        """Make cgroup and first process, which goes on by itself; UxcError."""
        try:
            self.state.save_config(self._config)
            if self._options.notifies:
                from uxc.oci import notify

                notify.make_directory(self.state.directory)
        except OSError as error:
            raise system_failure("keep the configuration", error) from None
        self._cgroup = self._cgroup_plan.create()
        if self._plan.program is not None:
            self._gate = self._open_gate()
        if self._plan.hooks.start_container or self._plan.hooks.poststart:
            self._start_report = self._open_start_report()
        self._console = self._open_console()
        self._spawn(born_inside=self._cgroup.v2_fd >= 0)

    def finish(self) -> State:
        """Wait until the first process waits for start, and put it on record.

        Raises UxcError, and all is undone.
        """
        state = self.step()
        while state is None:
            try:
                status = posix.waitpid(self.process.pid, 0)[1]
            except BaseException as error:
                # A signal to the caller, for one.
                self.abandon_for(error)
                raise
            state = self.step(status)
        return state

    def step(self, status: "int | None" = None) -> "State | None":
        """Finish without waiting, for who serves others: first when the process has said a word.

        None: more is to be done with the next wait ``status`` of the process, which is traced.
        Raises as ``finish`` does.
        """
        try:
            parked = self._park() if status is None else self._take(status)
        except BaseException as error:
            self.abandon_for(error)
            raise
        if not parked:
            return None
        self._close()
        return self.state

    def _park(self) -> bool:
        assert self._cgroup is not None
        self._accompany(self._cgroup)
        what = self._plan.program
        if what is not None and what.oom_score_adj is not None:
            from uxc.oci.program import set_oom_score

            set_oom_score(self.process.pid, what.oom_score_adj)
        if self._plan.user_namespace:
            self._cross_user_namespace(self._cgroup)
        self._cgroup.settle()
        options = self._options
        if options.pidfd_socket:
            announce.send_pidfd(options.pidfd_socket, self.process.pidfd)
        if options.pid_file:
            announce.write_pid_file(options.pid_file, self.process.pid)
        self.state.cgroup = self._cgroup.record()
        self.state.creator = None
        if self._execute_traced(self._cgroup):
            return False
        if self._gate >= 0:
            gate.offer_turn(self._gate)
        # Parked before it is on record: should we die in between, the record of a dead creation
        # still leads to the process, by its cgroup.
        self.process.park(ends=options.may_wait)
        self._save()
        return True

    def _cross_user_namespace(self, cgroup: "Cgroup") -> None:
        """Do what takes privileges that the first process gave up with its user namespace."""
        program = self._plan.program
        if program is not None:
            from uxc.oci.program import set_limits

            set_limits(program, self.process.pid)
        from uxc.oci.cgroup import delegation

        if delegation.is_wanted(self._plan, self._layout):
            uid, gid = (0, 0) if program is None else (program.uid, program.gid)
            delegation.hand_over(cgroup, self.process.pid, uid, gid)

    def _execute_traced(self, cgroup: "Cgroup") -> bool:
        """Let the first process become its program, to be stopped there; False: not possible."""
        if not cgroup.unified:
            return False
        from uxc.oci import parking

        if not parking.is_possible(self._plan, cgroup, self._seccomp, self.state.annotations):
            return False
        try:
            self._tracer = parking.Tracer(self.process)
        except PermissionError:
            # A security module may forbid what the capability allows.
            return False
        self.process.tell(handshake.EXECUTE)
        return True

    def _take(self, status: int) -> bool:
        """Take in a wait status of the traced process; True: it is frozen, and on record."""
        assert self._cgroup is not None
        assert self._tracer is not None
        if not self._tracer.has_executed(status):
            return False
        self._cgroup.freeze()
        directory = self.state.directory
        try:
            posix.unlink(f"{directory}/{gate.GATE}")
            files.write_atomic(f"{directory}/{gate.FROZEN}", self._cgroup.tracking.encode())
        except OSError as error:
            raise system_failure("make the start gate", error) from None
        self._save()
        # Last: until the kernel has frozen the program, our end must be its end.
        self._tracer.release()
        return True

    def _accompany(self, cgroup: "Cgroup") -> None:
        """Do what the first process asks for until it is ready."""
        from uxc.oci.process import KilledEarlyError

        try:
            message = self.process.hear()
        except KilledEarlyError:
            if cgroup.v2_fd < 0:
                raise
            self.process.close()
            # A kernel (6.18) kills a child that is born into another cgroup when cgroup.kill was
            # ever written to one of the two and not to the other.
            self._spawn(born_inside=False)
            message = self.process.hear()
        while message != handshake.READY:
            if message == handshake.BUILT:
                self.process.tell(self._meet())
            elif message.startswith(handshake.LISTENER):
                profile = self._spec.linux.seccomp
                assert profile is not None
                number = int(message[len(handshake.LISTENER) :])
                announce.hand_listener(self.process.pidfd, number, profile, self.state)
                self.process.tell(handshake.TAKEN)
            else:
                raise AssertionError(f"the first process said {message!r}")
            message = self.process.hear()

    def _meet(self) -> bytes:
        """Do what is to be done when the namespaces exist; return what hooks are told inside."""
        from uxc.oci import hooks

        plan = self._plan
        if plan.net_devices:
            from uxc.oci.netdevices import NetDevices

            self._devices = NetDevices(f"/proc/{self.process.pid}/ns/net")
            self._devices.move(plan.net_devices)
        creating = jsontext.dumps(self.state.document("creating")).encode()
        created = jsontext.dumps(self.state.document("created")).encode()
        # Those who wrote prestart hooks knew a specification that ran them in start.
        hooks.run("prestart", plan.hooks.prestart, created)
        hooks.run("createRuntime", plan.hooks.create_runtime, creating)
        # Hooks inside know the process by its number there (runtime.md, "State").
        number = {"pid": pid.number_inside(self.process.pid)}
        inside = [{**self.state.document(status), **number} for status in ("creating", "created")]
        return handshake.SEPARATOR.join(jsontext.dumps(state).encode() for state in inside)

    def _save(self) -> None:
        try:
            self.state.save()
        except OSError as error:
            raise system_failure(f"put container {self.state.id} on record", error) from None

    def _spawn(self, born_inside: bool) -> None:
        from uxc.oci import process

        assert self._cgroup is not None
        around = self._open_surroundings()
        try:
            around.cgroups = self._cgroup.entrances(unified=not born_inside)
            around.trees = self._open_trees()
            cgroup_fd = self._cgroup.v2_fd if born_inside else -1
            self._process = process.spawn(self._plan, around, cgroup_fd)
        finally:
            for fd in [*around.cgroups, *(fd for fd, _ in around.joined), *around.trees.values()]:
                posix.close(fd)
        self.state.pid, self.state.start_time = self._process.pid, self._process.start_time

    def _open_trees(self) -> "dict[int, int]":
        if not self._plan.wants_trees:
            return {}
        from uxc.oci import hostroot, trees

        state = self.state
        if state.root_mounts is None:
            return trees.open_trees(self._plan)
        # Of a first attempt whose process was killed early.
        hostroot.detach(state.rootfs, *state.root_mounts)
        opened = trees.open_trees(self._plan)
        state.root_mounts = (state.root_mounts[0], hostroot.mount_at(state.rootfs))
        return opened

    def _open_console(self) -> int:
        options = self._options
        if options.console_socket:
            return announce.connect(options.console_socket, "console socket").detach()
        return options.console_fd

    def _open_surroundings(self) -> "Surroundings":
        from uxc.oci import init, process

        options = self._options
        around = init.Surroundings(self._gate, self._layout)
        around.joined = process.open_namespaces(self._plan)
        around.console = self._console
        around.start_report = self._start_report
        around.new_keyring = not options.no_new_keyring
        around.pivot = not options.no_pivot
        around.preserved = preserved(options)
        around.stdio = options.stdio
        around.seccomp = self._seccomp
        around.prepare = options.prepare
        return around

    def _open_gate(self) -> int:
        """Make the FIFO and open it both ways: a reader that is there before any writer."""
        path = f"{self.state.directory}/{gate.GATE}"
        try:
            posix.mkfifo(path, 0o600)
            return posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)
        except OSError as error:
            raise system_failure("make the start gate", error) from None

    def _open_start_report(self) -> int:
        try:
            return posix.open(
                f"{self.state.directory}/{gate.START_REPORT}",
                posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC,
                0o600,
            )
        except OSError as error:
            raise system_failure("make the report of the hooks", error) from None

    def abandon_for(self, error: BaseException) -> None:
        """Take back everything because of ``error``, which is about to be raised."""
        failed = self.abandon()
        if failed and isinstance(error, UxcError):
            error.hint = "; ".join([error.hint, *failed] if error.hint else failed)

    def abandon(self) -> "list[str]":
        """Take back everything that was made; UxcError for what could not be.

        Returns what went wrong in the poststop hooks, and on the way back of network devices.
        """
        try:
            return self._undo()
        finally:
            self._close()

    def _undo(self) -> "list[str]":
        from uxc.oci import lifecycle

        failed = [] if self._devices is None else self._devices.take_back()
        if self._process is not None:
            self._process.kill()
        if self._options.pid_file and self._process is not None:
            _unlink(self._options.pid_file)
        # Without a process nothing ran that a hook could have to tidy up after.
        self.state.poststop = self.state.poststop and self._process is not None
        self.state.cgroup = None if self._cgroup is None else self._cgroup.record()
        return failed + lifecycle.clean_up(self.state)

    def _close(self) -> None:
        """Close what only the creation needed."""
        if self._devices is not None:
            self._devices.close()
        if self._process is not None:
            self._process.close()
        if self._cgroup is not None:
            self._cgroup.close()
        fds.close_quietly(self._gate)
        fds.close_quietly(self._start_report)
        if self._console != self._options.console_fd:
            fds.close_quietly(self._console)
        fds.close_quietly(self._lock)


def _unlink(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return
