"""One container's cgroup in every hierarchy it needs: entered, stopped, killed, removed.

The v2 tree, where it exists, knows the processes: they are born in it (clone3), and it kills and
freezes them, with or without controllers. A v1 hierarchy is entered when it counts, or enforces
a limit; where there is no v2 tree, one v1 hierarchy more does the tracking.
"""

import errno
import posix
import time

from uxc.errors import MissingError, SystemFailure, system_failure
from uxc.oci.cgroup import tree
from uxc.oci.cgroup.layout import read_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SIGKILL = 9
REMOVE_PATIENCE_S = 5.0
FREEZE_PATIENCE_S = 5.0
_KILL_PATIENCE_S = 0.5
# Without a freezer (v1 only), processes may fork while they are killed.
_KILL_ROUNDS = 100
_POLL_S = 0.002
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC


class Cgroup:
    """A container's cgroup. ``v2_fd`` (-1 for none) is open on its directory in the v2 tree."""

    __slots__ = ("joined", "late", "made", "relative", "tracking", "unified", "v2_fd")

    def __init__(self, relative: str, unified: str, joined: "list[str]", made: "list[str]") -> None:
        """Describe the cgroup ``relative`` below ``joined``, the mount points used."""
        self.relative = relative
        self.unified = unified
        self.joined = joined
        self.made = made
        self.v2_fd = -1
        # Limits that would keep the first process out: written by settle().
        self.late: list[tuple[str, str, str]] = []
        self.tracking = f"{joined[0]}/{relative}" if joined else ""

    def add(self, mount: str) -> None:
        """Make the cgroup in the hierarchy at ``mount``; the first added one tracks processes."""
        try:
            self.made += tree.make(mount, self.relative)
        except OSError as error:
            raise system_failure(f"make the cgroup {mount}/{self.relative}", error) from None
        self.joined.append(mount)
        self.tracking = self.tracking or f"{mount}/{self.relative}"

    def open(self) -> None:
        """Open ``v2_fd`` when the container is in the v2 tree; SystemFailure."""
        if self.v2_fd < 0 and self.unified:
            try:
                self.v2_fd = posix.open(self.tracking, _DIRECTORY)
            except OSError as error:
                raise system_failure(f"open {self.tracking}", error) from None

    def close(self) -> None:
        """Close ``v2_fd``."""
        if self.v2_fd >= 0:
            posix.close(self.v2_fd)
            self.v2_fd = -1

    @property
    def is_new(self) -> bool:
        """Whether this create made the directory that tracks the processes."""
        return self.tracking in self.made

    @property
    def freeze_file(self) -> str:
        """The path of cgroup.freeze, empty without a v2 tree."""
        return f"{self.tracking}/cgroup.freeze" if self.unified else ""

    @property
    def events_file(self) -> str:
        """The path of cgroup.events, empty without a v2 tree."""
        return f"{self.tracking}/cgroup.events" if self.unified else ""

    def entrances(self, unified: bool = False) -> "list[int]":
        """Open the files that a process with one thread enters by, writing "0"; SystemFailure.

        The v2 tree is left out unless ``unified`` says otherwise: processes are born in it. The
        descriptors belong to the caller.
        """
        paths = []
        for mount in self.joined:
            if mount != self.unified:
                paths.append(f"{mount}/{self.relative}/tasks")
            elif unified:
                paths.append(f"{mount}/{self.relative}/cgroup.procs")
        return open_entrances(paths)

    def settle(self) -> None:
        """Write the limits that had to wait until the first process was inside; SystemFailure."""
        for path, value, origin in self.late:
            write(path, value, origin)
        self.late = []

    def processes(self) -> "list[int]":
        """Return the pids, of the caller's pid namespace, in the cgroup and below it."""
        try:
            # 0 is a process that this pid namespace does not see; as a pid it would mean ourselves.
            return [pid for pid in tree.processes(self.tracking) if pid]
        except OSError as error:
            raise system_failure(f"list the processes of {self.tracking}", error) from None

    def kill_all(self, signal: int = _SIGKILL) -> None:
        """Send ``signal`` to every process in the cgroup; nothing to do when it is gone.

        SIGKILL leaves none behind. The others are sent while all are frozen, so that no fork
        escapes them, unless one hangs and cannot be; a cgroup that was frozen before stays so.
        """
        if signal == _SIGKILL and self.unified:
            try:
                tree.write(f"{self.tracking}/cgroup.kill", "1")
                return
            except FileNotFoundError:
                # The cgroup is gone, or the kernel is older than 5.14: the rest tells.
                pass
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise system_failure(f"kill the processes of {self.tracking}", error) from None
        if not posix.access(self.tracking, posix.F_OK) or not self.processes():
            return
        was_frozen = self.frozen()
        froze = not was_frozen and self._try_freeze()
        try:
            for _ in range(_KILL_ROUNDS if signal == _SIGKILL else 1):
                pids = self.processes()
                for pid in pids:
                    try:
                        posix.kill(pid, signal)
                    except ProcessLookupError:
                        continue
                if froze or was_frozen or not pids:
                    break
        finally:
            # v1 delivers even SIGKILL only to thawed processes.
            if froze or (was_frozen and signal == _SIGKILL):
                self.thaw()

    def _try_freeze(self) -> bool:
        if not self.can_freeze:
            return False
        try:
            self.freeze(_KILL_PATIENCE_S)
        except SystemFailure:
            # A process that hangs in the kernel must not save the others from the signal.
            return False
        return True

    @property
    def can_freeze(self) -> bool:
        """Whether there is a freezer: v2's own, or the v1 hierarchy of that name."""
        return bool(self.unified) or posix.access(f"{self.tracking}/freezer.state", posix.F_OK)

    def freeze(self, patience_s: float = FREEZE_PATIENCE_S) -> None:
        """Stop all processes in the kernel and wait until they are; SystemFailure.

        After ``patience_s`` without success everything is thawed again.
        """
        if not self.can_freeze:
            raise MissingError("this machine has no freezer cgroup, so nothing can be paused")
        try:
            if self._stop(patience_s):
                return
        except BaseException:
            try:
                self.thaw()
            except SystemFailure:
                # Of the two, the first one tells what is wrong.
                pass
            raise
        self.thaw()
        raise SystemFailure(f"cannot freeze {self.tracking}: it did not stop in {patience_s:g} s")

    def _stop(self, patience_s: float) -> bool:
        if self.unified:
            write(self.freeze_file, "1")
            try:
                return tree.wait_event(self.tracking, "frozen 1", patience_s)
            except OSError as error:
                raise system_failure(f"freeze {self.tracking}", error) from None
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            # Written again and again: a process that forked meanwhile is missed the first time.
            write(f"{self.tracking}/freezer.state", "FROZEN")
            if self.frozen():
                return True
            time.sleep(_POLL_S)
        return False

    def thaw(self) -> None:
        """Let all processes run again; SystemFailure."""
        if self.unified:
            write(self.freeze_file, "0")
        else:
            write(f"{self.tracking}/freezer.state", "THAWED")

    def frozen(self) -> bool:
        """Tell whether the processes are stopped; False when the cgroup is gone."""
        try:
            if self.unified:
                words = " ".join(read_words(self.events_file))
                return "frozen 1" in words
            return read_words(f"{self.tracking}/freezer.state") == ("FROZEN",)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise system_failure(f"look whether {self.tracking} is frozen", error) from None

    def remove(self, patience_s: float = REMOVE_PATIENCE_S) -> None:
        """Remove what create made, everything below it, and parents nobody else needs.

        Waits up to ``patience_s`` for processes that are on their way out; SystemFailure when some
        stay. A cgroup that was there before create is left, without its limits being undone.
        """
        for mount in self.joined:
            path = f"{mount}/{self.relative}"
            if path in self.made:
                try:
                    tree.remove(mount, path, self.made, patience_s)
                except OSError as error:
                    raise system_failure("remove the cgroup", error) from None

    def record(self) -> "dict[str, Any]":
        """Return what ``load`` needs, as JSON values."""
        return {
            "path": self.relative,
            "unified": self.unified,
            "hierarchies": self.joined,
            "made": self.made,
        }


def open_entrances(paths: "list[str]") -> "list[int]":
    """Open files by which a process enters cgroups, for writing; all, or SystemFailure."""
    opened: list[int] = []
    for path in paths:
        try:
            opened.append(posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC))
        except OSError as error:
            for fd in opened:
                posix.close(fd)
            raise system_failure(f"open {path}", error) from None
    return opened


def load(record: "dict[str, Any]") -> Cgroup:
    """Return the cgroup that ``record()`` described; opens nothing."""
    return Cgroup(
        record["path"], record["unified"], list(record["hierarchies"]), list(record["made"])
    )


def write(path: str, value: str, origin: str = "") -> None:
    """Write a cgroup file; SystemFailure naming file, value and the JSON path ``origin``."""
    try:
        tree.write(path, value)
    except OSError as error:
        cannot_write(error, value, origin)


def cannot_write(error: OSError, value: str, origin: str) -> "NoReturn":
    """Raise the SystemFailure about a refused write."""
    because = f" ({origin})" if origin else ""
    raise system_failure(f"write '{value}' to {error.filename}{because}", error) from None
