"""Operations on a container that runs: pause, resume, update, and the list of its processes.

The specification has none of them; every engine calls them. What is refused is refused in the
words of runc, which the engines look for.
"""

import posix

from uxc.errors import ConflictError, UxcError, system_failure
from uxc.oci import state as states
from uxc.oci.cgroup import group, limits, previous, setup
from uxc.oci.cgroup import layout as layouts
from uxc.oci.gate import lock_container
from uxc.oci.spec_resources import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.cgroup.values import Limit
    from uxc.oci.state import State

_LIMITED = ("created", "running", "paused")


def pause(root: str, container_id: str) -> None:
    """Stop all processes of a running container, and return once the kernel holds them.

    Raises NotFoundError, ConflictError when it does not run (created is not running: its program
    has not begun), SystemFailure when a process cannot be stopped; then none is.
    """
    lock = lock_container(root, container_id)
    try:
        state = states.load(root, container_id)
        status = state.status()
        if status != "running":
            raise ConflictError("container not running", f"it is {status}")
        _cgroup(state).freeze()
    finally:
        posix.close(lock)


def resume(root: str, container_id: str) -> None:
    """Let the processes of a paused container go on; NotFoundError, ConflictError."""
    lock = lock_container(root, container_id)
    try:
        state = states.load(root, container_id)
        status = state.status()
        if status != "paused":
            raise ConflictError("container not paused", f"it is {status}")
        _cgroup(state).thaw()
    finally:
        posix.close(lock)


def processes(root: str, container_id: str) -> "list[int]":
    """Return the pids of the container's processes, as the caller's pid namespace has them.

    None for a container that has stopped, unless something outlived its first process.
    """
    state = states.load(root, container_id)
    return [] if state.cgroup is None else group.load(state.cgroup).processes()


def update(root: str, container_id: str, resources: "dict[str, Any]", source: str) -> "list[str]":
    """Change the limits that ``resources`` (config.md, "linux.resources") names; return warnings.

    ``source`` is where the object comes from, for messages. Either all of them change or, when one
    is refused, those already changed are put back and the error says so. Device rules stay as
    they are. Raises NotFoundError, ConflictError, InvalidError with JSON path, SystemFailure.
    """
    wanted = Resources(resources, f"{source}: ")
    lock = lock_container(root, container_id)
    try:
        state = states.load(root, container_id)
        status = state.status()
        if status not in _LIMITED:
            raise ConflictError("container not running", f"it is {status}")
        try:
            layout = layouts.probe()
        except OSError as error:
            raise system_failure("read the mounted cgroups", error) from None
        warnings = _change(state, wanted, layout)
        if wanted.devices and not _has_these_rules(state, resources):
            warnings.append(
                f"{source}: devices: ignored: the rules of a container stay as they are"
            )
        return warnings
    finally:
        posix.close(lock)


def _cgroup(state: "State") -> "Cgroup":
    assert state.cgroup is not None, "only a creation that is under way has none"
    return group.load(state.cgroup)


def _change(state: "State", wanted: Resources, layout: "Layout") -> "list[str]":
    cgroup = _cgroup(state)
    previous.complete(wanted, cgroup, layout)
    writes = limits.plan(wanted, layout)[0]
    entering = _hierarchies(writes, cgroup, layout)
    _record(state, cgroup, entering)
    try:
        # First, so that what a new cgroup there has to begin with can be put back as well.
        setup.enter(cgroup, writes, layout)
        before = previous.Values(writes, cgroup, layout)
        try:
            return setup.update(cgroup, wanted, layout)
        except UxcError as error:
            left = before.put_back()
            error.message += (
                f"; left changed: {', '.join(left)}" if left else "; nothing was changed"
            )
            raise
    finally:
        _record(state, cgroup, [])


def _hierarchies(writes: "list[Limit]", cgroup: "Cgroup", layout: "Layout") -> "list[str]":
    """Return the v1 hierarchies that the container will enter for a limit."""
    mounts = [layout.mount_of(limit.controller) for limit in writes if limit.version == 1]
    return [mount for mount in dict.fromkeys(mounts) if mount not in cgroup.joined]


def _record(state: "State", cgroup: "Cgroup", entering: "list[str]") -> None:
    """Put on record what exists, and will, so that delete finds it wherever we may die."""
    record = cgroup.record()
    for mount in entering:
        parts = cgroup.relative.split("/")
        paths = [f"{mount}/{'/'.join(parts[: depth + 1])}" for depth in range(len(parts))]
        record["made"] = [
            *record["made"],
            *(path for path in paths if not posix.access(path, posix.F_OK)),
        ]
        record["hierarchies"] = [*record["hierarchies"], mount]
    if record == state.cgroup:
        return
    state.cgroup = record
    try:
        state.save()
    except OSError as error:
        raise system_failure(f"put container {state.id} on record", error) from None


def _has_these_rules(state: "State", resources: "dict[str, Any]") -> bool:
    # containerd sends the bundle's whole resources with a limit changed in them.
    linux = state.read_config().get("linux") or {}
    return bool((linux.get("resources") or {}).get("devices") == resources["devices"])
