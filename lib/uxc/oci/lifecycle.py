"""Operations on a container that exists: start, kill, delete, and what is on record.

Nothing here makes anything, so nothing here needs more than Python's own system calls: these
commands start faster than create.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix
import select

from uxc import files
from uxc.errors import ConflictError, NotFoundError, SystemFailure, UxcError, system_failure
from uxc.linux import pid
from uxc.oci import state as states_
from uxc.oci.gate import (
    ENDING,
    START_REPORT,
    frozen_cgroup,
    has_start_hooks,
    let_run,
    open_turn,
    take_turn,
    thaw,
)
from uxc.oci.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.spec import Hooks

_DEATH_PATIENCE_MS = 10_000


def open_gate(root: str, container_id: str) -> int:
    """Let a created container's program run, without waiting for it, for who has created it.

    Returns an fd that polls POLLHUP as soon as the program runs or the process has died, -1 when
    it runs already. Raises NotFoundError, ConflictError when it is not created; that a creation is
    still under way, only its maker knows without a look at the record.
    """
    directory = f"{root}/{container_id}"
    gate = open_turn(directory)
    if gate < 0:
        if not thaw(directory):
            refuse_start(root, container_id)
        return gate
    if not take_turn(gate):
        posix.close(gate)
        refuse_start(root, container_id)
    return gate


_START_REFUSALS = {
    "creating": "cannot start a container that is being created",
    "created": "cannot start a container that has stopped",
    "running": "cannot start an already running container",
    "paused": "cannot start a container that is paused",
    "stopped": "cannot start a container that has stopped",
}


def start(root: str, container_id: str) -> None:
    """Let a created container's program run, and return once it does and its hooks have run.

    Raises NotFoundError, ConflictError when it is not created, UxcError for a hook that failed:
    then the container has been stopped.
    """
    if not let_run(root, container_id):
        refuse_start(root, container_id)
    if has_start_hooks(root, container_id):
        finish_start(root, container_id)


def refuse_start(root: str, container_id: str) -> "NoReturn":
    """Raise the ConflictError that says why the container cannot be started."""
    state = states_.load(root, container_id)
    if not state.startable:
        raise ConflictError(
            f"cannot start container {container_id}: its config.json has no process"
        )
    raise ConflictError(_START_REFUSALS[state.status()])


def finish_start(root: str, container_id: str) -> None:
    """Hear of the startContainer hooks, and run those for poststart; UxcError when one failed."""
    from uxc.oci import hooks

    state = states_.load(root, container_id)
    try:
        report = files.read_bytes(f"{state.directory}/{START_REPORT}")
        posix.unlink(f"{state.directory}/{START_REPORT}")
    except OSError as error:
        raise system_failure("hear of the hooks", error) from None
    try:
        if report:
            raise UxcError(report.decode(errors="replace"))
        hooks.run("poststart", _hooks(state).poststart, _text(state, "running"))
    except UxcError:
        _end(state, "running")
        raise


def _hooks(state: State) -> "Hooks":
    from uxc.oci import spec

    return spec.Hooks(state.read_config().get("hooks") or {}, "config.json: hooks")


def _text(state: State, status: str) -> bytes:
    from uxc import jsontext

    return jsontext.dumps(state.document(status)).encode()


def load(root: str, container_id: str) -> State:
    """Return the container's record; NotFoundError."""
    return states_.load(root, container_id)


def states(root: str) -> "list[State]":
    """Return the records of all containers below ``root``, by id."""
    return states_.load_all(root)


def kill(root: str, container_id: str, signal: int, all_processes: bool = False) -> None:
    """Send ``signal`` to the container's first process, or to all of its processes.

    Raises NotFoundError, ConflictError ("container not running") when there is none.
    """
    state = states_.load(root, container_id)
    if all_processes:
        _kill_all(state, signal)
        return
    if state.creator is not None:
        raise ConflictError("container not running")
    try:
        pidfd = pid.pidfd_of(state.pid, state.start_time)
    except ProcessLookupError:
        raise ConflictError("container not running") from None
    try:
        if not pid.stat(state.pid).alive:
            raise ConflictError("container not running")
        if signal in ENDING and frozen_cgroup(state.directory):
            # As pid 1 of a namespace it would never hear of it, for want of a handler.
            signal = _signal.SIGKILL
        pid.send_signal(pidfd, signal)
    except ProcessLookupError:
        raise ConflictError("container not running") from None
    except OSError as error:
        raise system_failure(f"send signal {signal} to container {container_id}", error) from None
    finally:
        posix.close(pidfd)


def _kill_all(state: State, signal: int) -> None:
    if state.cgroup is None:
        raise ConflictError("container not running")
    cgroup = _load_cgroup(state)
    if state.status() == "stopped" and not cgroup.processes():
        raise ConflictError("container not running")
    cgroup.kill_all(signal)


def _load_cgroup(state: State) -> "Cgroup":
    from uxc.oci.cgroup import group

    assert state.cgroup is not None
    return group.load(state.cgroup)


def delete(root: str, container_id: str, force: bool = False) -> "list[str]":
    """Take away everything that create made; return what went wrong in poststop hooks.

    ``force`` ends what still runs, and is content with a container that does not exist. A created
    container is ended as well: its program never ran. Raises NotFoundError, ConflictError.
    """
    try:
        lock, state = states_.lock_and_load(root, container_id)
    except UxcError as error:
        if force and error.kind == "not-found":
            return []
        raise
    try:
        status = state.status()
        if status in ("running", "paused", "creating") and not force:
            raise ConflictError(
                f"cannot delete container {container_id} that is not stopped: {status}"
            )
        if status != "stopped":
            _end(state, status)
        return clean_up(state)
    finally:
        posix.close(lock)


def _end(state: State, status: str) -> None:
    """Kill the first process and wait until it is gone; SystemFailure when it stays."""
    if not state.pid:
        # Its creator is about to end, and holds the lock no longer.
        return
    try:
        pidfd = pid.pidfd_of(state.pid, state.start_time)
    except ProcessLookupError:
        return
    try:
        pid.send_signal(pidfd, _signal.SIGKILL)
        if status == "paused":
            # Only the v1 freezer holds SIGKILL back.
            _load_cgroup(state).kill_all()
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_DEATH_PATIENCE_MS):
            raise SystemFailure(
                f"process {state.pid} of container {state.id} does not end",
                "it may hang in the kernel; look at its state with ps",
            )
    except ProcessLookupError:
        return
    finally:
        posix.close(pidfd)


def clean_up_dead(root: str, container_id: str) -> None:
    """Clean up after a creation that died midway, unless somebody has by now; SystemFailure."""
    try:
        lock, state = states_.lock_and_load(root, container_id)
    except NotFoundError:
        return
    try:
        if state.is_dead or (state.creator is None and not state.pid):
            clean_up(state)
    finally:
        posix.close(lock)


def clean_up(state: State) -> "list[str]":
    """Remove the cgroup, with whatever is still in it, and the record; SystemFailure.

    Returns what went wrong in the poststop hooks, which run when all is gone.
    """
    # What they are is on record only as long as there is one.
    after = _hooks(state).poststop if state.poststop and state.has_config else []
    if state.cgroup is not None:
        cgroup = _load_cgroup(state)
        cgroup.kill_all()
        cgroup.remove()
    if state.root_mounts is not None:
        from uxc.oci import hostroot

        hostroot.detach(state.rootfs, *state.root_mounts)
    try:
        states_.remove(state)
    except OSError as error:
        raise system_failure(f"remove the record of container {state.id}", error) from None
    if not after:
        return []
    from uxc.oci import hooks

    return hooks.run_all("poststop", after, _text(state, "stopped"))
