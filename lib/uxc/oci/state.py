"""What is on record about a container, and what the kernel says about it.

A container is a directory ``<root>/<id>``, made exclusively, mode 0700: ``state.json`` and the FIFO
``exec.fifo``. The record holds names, never a status: the status is read from the kernel each time
(pid and start time, the FIFO's reader, the freezer), so no crash can leave a wrong one.
"""

import posix
import time

from uxc import files, jsontext
from uxc.errors import ConflictError, InvalidError, NotFoundError, system_failure
from uxc.linux import pid as processes
from uxc.oci.gate import (
    check_id,
    frozen_cgroup,
    holds_frozen,
    is_offered,
    lock,
    lock_container,
    missing,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.3.0"
_RECORD = "state.json"
_CONFIG = "config.json"


class State:
    """One container on record."""

    __slots__ = (
        "annotations",
        "bundle",
        "cgroup",
        "created",
        "creator",
        "id",
        "owner",
        "pid",
        "poststop",
        "root",
        "root_mounts",
        "rootfs",
        "start_time",
        "startable",
        "warnings",
    )

    def __init__(self, root: str, container_id: str) -> None:
        """Begin the record of ``container_id`` below ``root``."""
        self.root = root
        self.id = container_id
        # The first process in our pid namespace; 0 until it exists.
        self.pid = 0
        self.start_time = 0
        self.bundle = ""
        self.rootfs = ""
        # In the maker's mount namespace, the root file system is a mount of the host while the
        # container is there: the numbers of the one below and, once it is there, of that one.
        self.root_mounts: tuple[int, int] | None = None
        self.created = ""
        self.owner = ""
        self.annotations: dict[str, str] = {}
        # What group.load() reads back; None before the cgroup is planned.
        self.cgroup: dict[str, Any] | None = None
        # False for a container without a process in its config.json.
        self.startable = True
        # Whether hooks are to be run when it is gone.
        self.poststop = False
        # (pid, start time) of the process that is creating the container; None when it is done.
        self.creator: tuple[int, int] | None = None
        # Sentences for the caller of create; not on record.
        self.warnings: list[str] = []

    @property
    def directory(self) -> str:
        """The container's directory."""
        return f"{self.root}/{self.id}"

    def save(self) -> None:
        """Put the record on disk, atomically; OSError."""
        record = {
            "id": self.id,
            "pid": self.pid,
            "startTime": self.start_time,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "rootMounts": self.root_mounts,
            "created": self.created,
            "owner": self.owner,
            "annotations": self.annotations,
            "cgroup": self.cgroup,
            "creator": self.creator,
            "startable": self.startable,
            "poststop": self.poststop,
        }
        files.write_json(f"{self.directory}/{_RECORD}", record)

    def save_config(self, config: "dict[str, Any]") -> None:
        """Keep config.json as it is now: later changes have no effect (runtime.md); OSError.

        All of it or nothing: who cleans up after a creation that died reads the hooks in it.
        """
        files.write_atomic(f"{self.directory}/{_CONFIG}", jsontext.dumps(config).encode())

    @property
    def has_config(self) -> bool:
        """Whether the creation came as far as to keep config.json."""
        return posix.access(f"{self.directory}/{_CONFIG}", posix.F_OK)

    def read_config(self) -> "dict[str, Any]":
        """Return config.json as it was when the container was created; SystemFailure."""
        try:
            config: dict[str, Any] = files.read_json(f"{self.directory}/{_CONFIG}")
        except OSError as error:
            raise system_failure("read the configuration of a container", error) from None
        return config

    def status(self) -> str:
        """Return creating, created, running, paused or stopped, as it is now."""
        if self.creator is not None:
            return "creating" if is_alive(*self.creator) else "stopped"
        if not is_alive(self.pid, self.start_time):
            return "stopped"
        if is_offered(self.directory) or not self.startable or frozen_cgroup(self.directory):
            return "created"
        return "paused" if self._is_frozen() else "running"

    def _is_frozen(self) -> bool:
        if self.cgroup is None:
            return False
        if self.cgroup["unified"]:
            return holds_frozen(f"{self.cgroup['unified']}/{self.cgroup['path']}")
        from uxc.oci.cgroup import group

        return group.load(self.cgroup).frozen()

    @property
    def is_dead(self) -> bool:
        """Whether this is what a creation has left that died midway."""
        return self.creator is not None and not is_alive(*self.creator)

    def document(self, status: str = "") -> "dict[str, Any]":
        """Return the OCI state object (runtime.md, "State"), with runc's additions.

        ``status`` is what hooks are told, instead of what is the case.
        """
        status = status or self.status()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "pid": 0 if status == "stopped" else self.pid,
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
            "owner": self.owner,
            "annotations": self.annotations,
        }


def is_alive(pid: int, start_time: int) -> bool:
    """Tell whether the very process that had ``pid`` and ``start_time`` still runs code."""
    if not pid:
        return False
    try:
        found = processes.stat(pid)
    except ProcessLookupError:
        return False
    return found.alive and found.start_time == start_time


def reserve(state: State, wait: bool = True) -> int:
    """Make the directory of ``state`` and put it on record as being created by this process.

    Returns the fd of the container's lock, or -1 when a creation of the id died midway: the caller
    cleans up after it and tries again. Raises ConflictError when the id is taken, BlockingIOError
    when ``wait`` is false and another process makes or removes a container.
    """
    pid = posix.getpid()
    state.creator = (pid, processes.start_time(pid))
    try:
        files.make_dirs(state.root, 0o700)
        # Under the root's lock a directory without a record can only be a dead one.
        fd = lock(state.root, wait)
    except BlockingIOError:
        raise
    except OSError as error:
        raise system_failure("use the state directory", error) from None
    try:
        try:
            posix.mkdir(state.directory, 0o700)
        except FileExistsError:
            found = _read(state.root, state.id)
            if found is None or found.is_dead:
                return -1
            raise ConflictError(f"container with given ID already exists: {state.id}") from None
        try:
            # Before anybody can find a record, so that a delete waits for the end of create.
            own = lock(state.directory, wait)
            state.save()
            return own
        except BaseException:
            remove(state)
            raise
    except BlockingIOError:
        raise
    except OSError as error:
        raise system_failure(f"put container {state.id} on record", error) from None
    finally:
        posix.close(fd)


def lock_and_load(root: str, container_id: str) -> "tuple[int, State]":
    """Lock a container, and load its record, empty if there is none: return the fd and that.

    Raises NotFoundError, SystemFailure.
    """
    while True:
        fd = lock_container(root, container_id)
        try:
            return fd, load(root, container_id)
        except BaseException as error:
            posix.close(fd)
            if not isinstance(error, NotFoundError):
                raise
        # Being made at this moment, or its creator died at the very first step: under the root's
        # lock there is only the latter.
        try:
            whole = lock(root)
        except OSError as error:
            raise system_failure("use the state directory", error) from None
        try:
            if not posix.access(f"{root}/{container_id}/{_RECORD}", posix.F_OK):
                return lock_container(root, container_id), State(root, container_id)
        finally:
            posix.close(whole)


def _read(root: str, container_id: str) -> "State | None":
    try:
        record = files.read_json(f"{root}/{container_id}/{_RECORD}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    state = State(root, container_id)
    try:
        _fill(state, record)
    except (KeyError, TypeError):
        path = f"{root}/{container_id}/{_RECORD}"
        raise InvalidError(
            f"{path}: is no record of a container of this runtime",
            "another runtime's directory? --root names ours",
        ) from None
    return state


def _fill(state: State, record: "dict[str, Any]") -> None:
    state.pid = record["pid"]
    state.start_time = record["startTime"]
    state.bundle = record["bundle"]
    state.rootfs = record["rootfs"]
    state.root_mounts = tuple(record["rootMounts"]) if record["rootMounts"] else None
    state.created = record["created"]
    state.owner = record["owner"]
    state.annotations = record["annotations"]
    state.cgroup = record["cgroup"]
    state.creator = tuple(record["creator"]) if record["creator"] else None
    state.startable = record["startable"]
    state.poststop = record["poststop"]


def load(root: str, container_id: str) -> State:
    """Return the record of a container; NotFoundError, SystemFailure."""
    check_id(container_id)
    try:
        state = _read(root, container_id)
    except OSError as error:
        raise system_failure("read the record of a container", error) from None
    if state is None:
        raise missing(container_id)
    return state


def load_all(root: str) -> "list[State]":
    """Return the records of all containers below ``root``, by id; SystemFailure."""
    states = []
    try:
        for name in sorted(posix.listdir(root)):
            state = _read(root, name)
            # Without a record: being made, or just deleted.
            if state is not None:
                states.append(state)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise system_failure("list containers", error) from None
    return states


def remove(state: State) -> None:
    """Take the container's directory away, whatever part of it exists; OSError."""
    try:
        names = posix.listdir(state.directory)
    except FileNotFoundError:
        return
    # The record goes last: as long as it is there, everything else can still be found.
    for name in sorted(names, key=lambda name: name == _RECORD):
        _remove(f"{state.directory}/{name}")
    posix.rmdir(state.directory)


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except IsADirectoryError:
        # Made for a container that says when it is ready (``notify``); sockets are in it.
        for name in posix.listdir(path):
            posix.unlink(f"{path}/{name}")
        posix.rmdir(path)


def timestamp() -> str:
    """Return the time now as RFC 3339 with nanoseconds, in UTC."""
    now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    seconds, nanoseconds = divmod(now, 1_000_000_000)
    when = time.gmtime(seconds)
    return (
        f"{when.tm_year:04}-{when.tm_mon:02}-{when.tm_mday:02}"
        f"T{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}.{nanoseconds:09}Z"
    )
