"""Operations on a container that exists: start, kill, delete, and what is on record.

Nothing here makes anything, so nothing here needs more than Python's own system calls: these
commands start faster than create.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix
import select

from uxc.errors import ConflictError, SystemFailure, UxcError, system_failure
from uxc.linux import pid
from uxc.oci import state as states_
from uxc.oci.gate import let_run, lock_container
from uxc.oci.gate import open_gate as open_waiting
from uxc.oci.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_DEATH_PATIENCE_MS = 10_000


def open_gate(root: str, container_id: str) -> int:
    """Let a created container's program run, without waiting for it, for who has created it.

    Returns an fd that polls POLLERR as soon as the program runs or the process has died. Raises
    NotFoundError, ConflictError when it is not created; that a creation is still under way, only
    its maker knows without a look at the record.
    """
    gate = open_waiting(f"{root}/{container_id}")
    if gate < 0:
        refuse_start(root, container_id)
    try:
        posix.write(gate, b"\0")
    except BrokenPipeError:
        posix.close(gate)
        raise ConflictError(_START_REFUSALS["stopped"]) from None
    return gate


_START_REFUSALS = {
    "creating": "cannot start a container that is being created",
    "created": "cannot start a container that has stopped",
    "running": "cannot start an already running container",
    "paused": "cannot start a container that is paused",
    "stopped": "cannot start a container that has stopped",
}


def start(root: str, container_id: str) -> None:
    """Let a created container's program run, and return once it does.

    Raises NotFoundError, ConflictError when it is not created.
    """
    if not let_run(root, container_id):
        refuse_start(root, container_id)


def refuse_start(root: str, container_id: str) -> "NoReturn":
    """Raise the ConflictError that says why the container cannot be started."""
    raise ConflictError(_START_REFUSALS[states_.load(root, container_id).status()])


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
        pid.send_signal(pidfd, signal)
    except ProcessLookupError:
        raise ConflictError("container not running") from None
    except OSError as error:
        raise system_failure(f"send signal {signal} to container {container_id}", error) from None
    finally:
        posix.close(pidfd)


def _kill_all(state: State, signal: int) -> None:
    from uxc.oci.cgroup import group

    assert state.cgroup is not None
    cgroup = group.load(state.cgroup)
    if state.status() == "stopped" and not cgroup.processes():
        raise ConflictError("container not running")
    cgroup.kill_all(signal)


def delete(root: str, container_id: str, force: bool = False) -> None:
    """Take away everything that create made.

    ``force`` ends what still runs, and is content with a container that does not exist. A created
    container is ended as well: its program never ran. Raises NotFoundError, ConflictError.
    """
    try:
        lock = lock_container(root, container_id)
    except UxcError as error:
        if force and error.kind == "not-found":
            return
        raise
    try:
        try:
            state = states_.load(root, container_id)
        except UxcError as error:
            if error.kind != "not-found":
                raise
            # A directory without a record: its creator died at the very first step.
            state = State(root, container_id)
        status = state.status()
        if status in ("running", "paused", "creating") and not force:
            raise ConflictError(
                f"cannot delete container {container_id} that is not stopped: {status}"
            )
        if status != "stopped":
            _end(state)
        clean_up(state)
    finally:
        posix.close(lock)


def _end(state: State) -> None:
    """Kill the first process and wait until it is gone; SystemFailure when it stays."""
    try:
        pidfd = pid.pidfd_of(state.pid, state.start_time)
    except ProcessLookupError:
        return
    try:
        pid.send_signal(pidfd, _signal.SIGKILL)
        if state.status() == "paused":
            # Only the v1 freezer holds SIGKILL back.
            _kill_all(state, _signal.SIGKILL)
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


def clean_up(state: State) -> None:
    """Remove the cgroup, with whatever is still in it, and the record; SystemFailure."""
    if state.cgroup is not None:
        from uxc.oci.cgroup import group

        cgroup = group.load(state.cgroup)
        cgroup.kill_all()
        cgroup.remove()
    try:
        states_.remove(state)
    except OSError as error:
        raise system_failure(f"remove the record of container {state.id}", error) from None
