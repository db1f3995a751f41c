"""The keeper's own cgroup: procd kills everything that it finds in a service's."""

from __future__ import annotations

import errno
import posix

from uxc import files

# procd puts instance INST of service SVC into services/SVC/INST of the v2 hierarchy, and newer
# versions write cgroup.kill there at each stop and restart (docs/keeper.md).
_SERVICES = "/services/"


def own_path(text: str) -> str | None:
    """Return the v2 cgroup in the content of ``/proc/self/cgroup``, None without v2."""
    for line in text.splitlines():
        if line.startswith("0::"):
            return line[3:]
    return None


def mount_point(text: str) -> str | None:
    """Return where the content of ``/proc/self/mountinfo`` shows the v2 hierarchy's root."""
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        # Fields 4 and 5 are the root of the mount within the file system and the mount point.
        words = fields.split(" ")
        if rest.startswith("cgroup2 ") and words[3] == "/":
            return words[4]
    return None


def leave_service(parent: str) -> str | None:
    """Move this process from procd's cgroup of a service into ``<parent>/keeper``.

    Returns the directory of the new cgroup, or None when nothing had to be done. Raises OSError
    when the kernel refuses.
    """
    own = own_path(files.read_text("/proc/self/cgroup"))
    if own is None or not own.startswith(_SERVICES):
        return None
    root = mount_point(files.read_text("/proc/self/mountinfo"))
    if root is None:
        return None
    directory = f"{root}/{parent}/keeper"
    files.make_dirs(directory)
    join(directory)
    return directory


def join(directory: str) -> None:
    """Move this process into the cgroup ``directory``; OSError as write(2)."""
    fd = posix.open(f"{directory}/cgroup.procs", posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        files.write_all(fd, b"0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, directory) from None
    finally:
        posix.close(fd)


def return_and_remove(directory: str) -> None:
    """Leave the cgroup ``directory`` for the root one and remove it; OSError as rmdir(2).

    Its parent goes, too, unless there is something else in it.
    """
    parent, _, _ = directory.rpartition("/")
    root, _, _ = parent.rpartition("/")
    join(root)
    posix.rmdir(directory)
    try:
        posix.rmdir(parent)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
            raise
