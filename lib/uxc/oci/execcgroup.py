"""The cgroups that an executed process enters: the container's, or some below them."""

import errno
import posix

from uxc import files
from uxc.errors import InvalidError, system_failure
from uxc.oci.cgroup import group, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.cgroup.group import Cgroup

_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC


class Places:
    """Where a process is to be in each hierarchy that the container is in."""

    __slots__ = ("_below", "_cgroup")

    def __init__(self, record: "dict[str, Any]", wanted: "list[str]") -> None:
        """Take the record of the container's cgroup, and places below it; InvalidError.

        Each of ``wanted`` is a path, or v1 controllers and a path: ``cpu,memory:batch``. A path
        alone is meant for all hierarchies.
        """
        self._cgroup: Cgroup = group.load(record)
        # Mount point → path below the container's cgroup, with a slash in front.
        self._below = dict.fromkeys(self._cgroup.joined, "")
        for text in wanted:
            controllers, colon, path = text.rpartition(":")
            below = _below(path, text)
            mounts = self._cgroup.joined
            if colon and controllers:
                mounts = [self._mount_of(name, text) for name in controllers.split(",")]
            self._below.update((mount, below) for mount in mounts)

    def _mount_of(self, controller: str, text: str) -> str:
        try:
            mount = layout.probe().v1.get(controller, "")
        except OSError as error:
            raise system_failure("read the mounted cgroups", error) from None
        if mount not in self._below:
            raise InvalidError(
                f"--cgroup {text}: the container is in no cgroup of the controller '{controller}'"
            )
        return mount

    @property
    def has_unified(self) -> bool:
        """Whether the container is in the v2 tree, where processes are born into a cgroup."""
        return bool(self._cgroup.unified)

    def open_unified(self) -> int:
        """Open the directory in the v2 tree to be born in; SystemFailure."""
        path = self._path(self._cgroup.unified)
        try:
            return posix.open(path, _DIRECTORY)
        except OSError as error:
            raise system_failure(f"open {path}", error) from None

    def open_entrances(self, unified: bool) -> "list[int]":
        """Open the files that a process enters by, writing "0"; SystemFailure.

        The v2 tree is among them only if ``unified``. The descriptors belong to the caller.
        """
        paths = []
        for mount in self._below:
            if mount != self._cgroup.unified:
                paths.append(f"{self._path(mount)}/tasks")
            elif unified:
                paths.append(f"{self._path(mount)}/cgroup.procs")
        return group.open_entrances(paths)

    def follow(self, pid: int) -> bool:
        """Go where the process ``pid`` is in the v2 tree, if that is below; tell whether it is.

        A container that manages cgroups itself has given its own one controllers, and then that
        takes no processes any more (cgroups(7), "no internal processes").
        """
        if self._below.get(self._cgroup.unified) != "":
            return False
        for line in files.read_text(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith("0::"):
                _, found, below = line.rpartition(f"/{self._cgroup.relative}/")
                if found:
                    self._below[self._cgroup.unified] = f"/{below}"
                    return True
        return False

    def _path(self, mount: str) -> str:
        return f"{mount}/{self._cgroup.relative}{self._below[mount]}"


def is_full(error: OSError) -> bool:
    """Tell whether a cgroup takes no processes because it has given controllers to others."""
    return error.errno in (errno.EBUSY, errno.EOPNOTSUPP)


def _below(path: str, text: str) -> str:
    parts = [part for part in path.split("/") if part and part != "."]
    if ".." in parts or "\0" in path:
        raise InvalidError(f"--cgroup {text}: leads out of the container's cgroup")
    return "".join(f"/{part}" for part in parts)
