"""Directories of a cgroup hierarchy: made with their parents, and removed with what is below them.

A directory that we make carries the attribute ``trusted.uxc``: whoever removes the last container
below a parent may then remove the parent too, also when another container's creation made it.
"""

import errno
import posix
import select
import time

from uxc import files

_MARK = "trusted.uxc"
# Parents may vanish between two steps, as their last other child is removed.
_ATTEMPTS = 16
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05


def make(mount: str, relative: str) -> "list[str]":
    """Make the cgroup ``relative`` below ``mount`` and return the directories that were missing.

    Nothing stays behind when it fails (OSError as mkdir(2)).
    """
    made: list[str] = []
    try:
        for attempt in range(_ATTEMPTS):
            try:
                _make_all(mount, relative, made)
                return made
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
    except OSError:
        for path in reversed(made):
            _remove_empty(path)
        raise
    raise AssertionError("the last attempt neither returned nor raised")


def _make_all(mount: str, relative: str, made: "list[str]") -> None:
    path = f"{mount}/{relative}"
    try:
        # Most often the parents are there: one call instead of one for each.
        posix.mkdir(path, 0o755)
        made.append(path)
    except FileNotFoundError:
        path = mount
        for part in relative.split("/"):
            path = f"{path}/{part}"
            try:
                posix.mkdir(path, 0o755)
                made.append(path)
            except FileExistsError:
                continue
            _mark(path)
    except FileExistsError:
        return
    else:
        _mark(path)


def _mark(path: str) -> None:
    try:
        posix.setxattr(path, _MARK, b"1")
    except OSError as error:
        # Without the privilege (or on a fake tree) only the list of what was made remains.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise


def _is_marked(path: str) -> bool:
    try:
        posix.getxattr(path, _MARK)
    except OSError:
        return False
    return True


def _remove_empty(path: str) -> bool:
    """Remove the directory unless something is in it; tell whether it is gone."""
    try:
        posix.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


def remove(mount: str, path: str, made: "list[str]", patience_s: float) -> None:
    """Remove the cgroup ``path``, all below it, and the parents that only we needed.

    A cgroup is busy until its last process is gone for good: waits up to ``patience_s``, then
    raises OSError EBUSY about the directory.
    """
    deadline = time.monotonic() + patience_s
    for directory in [*reversed(below(path)), path]:
        pause = _FIRST_PAUSE_S
        empty = False
        while not _remove_empty(directory):
            left = deadline - time.monotonic()
            if left <= 0:
                raise OSError(errno.EBUSY, posix.strerror(errno.EBUSY), directory)
            # v1 tells nothing, and without processes another child can keep a cgroup busy.
            if empty or not wait_event(directory, "populated 0", min(left, _LONGEST_PAUSE_S)):
                time.sleep(min(left, pause))
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                empty = True
    parent = path.rpartition("/")[0]
    while len(parent) > len(mount):
        if not (parent in made or _is_marked(parent)) or not _remove_empty(parent):
            break
        parent = parent.rpartition("/")[0]


def below(path: str) -> "list[str]":
    """Return all cgroups below ``path``, parents before children; none when it does not exist."""
    found: list[str] = []
    pending = [path]
    while pending:
        try:
            with posix.scandir(pending.pop()) as entries:
                children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            continue
        found += children
        pending += children
    return found


def processes(path: str) -> "list[int]":
    """Return the pids in the cgroup ``path`` and below it; none when it does not exist."""
    pids: list[int] = []
    for directory in [path, *below(path)]:
        try:
            pids += map(int, files.read_bytes(directory + "/cgroup.procs").split())
        except FileNotFoundError:
            continue
        except OSError as error:
            # A threaded child of v2 has no list of its own: its parent's has them all.
            # ENODEV: the directory was removed after it was opened.
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODEV):
                raise
    return pids


def wait_event(path: str, line: str, timeout_s: float) -> bool:
    """Wait until ``line`` is in the ``cgroup.events`` of a v2 cgroup; tell whether it came.

    False at once when the file does not exist: not a v2 tree.
    """
    deadline = time.monotonic() + timeout_s
    try:
        fd = posix.open(path + "/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while line not in posix.pread(fd, 4096, 0).decode().splitlines():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(max(1, int(left * 1000)))
    except OSError as error:
        # Removed by somebody else: nothing is populated or running in it any more.
        if error.errno != errno.ENODEV:
            raise
    finally:
        posix.close(fd)
    return True


def write(path: str, value: str) -> None:
    """Write ``value`` to a cgroup file in one write(2), as the kernel wants it; OSError."""
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, value.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
