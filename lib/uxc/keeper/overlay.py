"""A writable layer over a container's rootfs, mounted by its builder.

The builder mounts it in a mount namespace of its own, which the container's init is cloned from:
nobody else ever sees it, and it is gone with the two of them, so there is nothing to undo.
"""

from __future__ import annotations

import posix

from uxc import files
from uxc.errors import system_failure
from uxc.linux import const, mount, ns

_FILE = "overlay.json"
_ROOT = "root"
_LAYER = "layer"


def root(bundle: str) -> str:
    """Return where the rootfs is seen with the layer on top, for the effective config.json."""
    return f"{bundle}/{_ROOT}"


def prepare(bundle: str, lower: str, path: str, size: str) -> None:
    """Have ``mount_if_wanted`` lay a writable layer over ``lower``; OSError as mkdir(2).

    The layer is kept in the directory ``path`` or, when that is empty, in a tmpfs of ``size``.
    """
    for name in (_ROOT, _LAYER):
        files.make_dirs(f"{bundle}/{name}")
    files.write_json(f"{bundle}/{_FILE}", {"lower": lower, "path": path, "size": size})


def is_wanted(bundle: str) -> bool:
    """Tell whether ``prepare`` was called for ``bundle``."""
    return posix.access(f"{bundle}/{_FILE}", posix.F_OK)


def mount_if_wanted(bundle: str) -> None:
    """Mount what ``prepare`` wrote for ``bundle``, if it did; SystemFailure when it fails.

    Only for a process that is about to clone a container and to exit.
    """
    try:
        wanted = files.read_json(f"{bundle}/{_FILE}")
    except FileNotFoundError:
        return
    lower, layer = wanted["lower"], wanted["path"]
    try:
        ns.unshare(const.CLONE_NEWNS)
        mount.set_propagation("/", const.MS_SLAVE)
        if not layer:
            layer = f"{bundle}/{_LAYER}"
            memory = (f"size={wanted['size']}", "mode=0755")
            _attach(mount.new_filesystem("tmpfs", "tmpfs", memory), layer)
        upper, work = f"{layer}/upper", f"{layer}/work"
        _make_upper(upper, lower)
        files.make_dirs(work, 0o700)
        options = (
            # Several lower directories would be separated by colons (overlayfs.rst).
            "lowerdir=" + lower.replace("\\", "\\\\").replace(":", "\\:"),
            "upperdir=" + upper.replace("\\", "\\\\"),
            "workdir=" + work.replace("\\", "\\\\"),
        )
        _attach(mount.new_filesystem("overlay", "overlay", options), root(bundle))
    except OSError as error:
        raise system_failure(f"lay a writable layer over {lower}", error) from None


def _make_upper(upper: str, lower: str) -> None:
    """Make the upper directory; the overlay's root takes its owner and mode from it."""
    try:
        posix.mkdir(upper, 0o700)
    except FileExistsError:
        return
    status = posix.stat(lower)
    posix.chown(upper, status.st_uid, status.st_gid)
    posix.chmod(upper, status.st_mode & 0o7777)


def _attach(tree: int, path: str) -> None:
    try:
        target = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            mount.attach(tree, target)
        finally:
            posix.close(target)
    finally:
        posix.close(tree)
