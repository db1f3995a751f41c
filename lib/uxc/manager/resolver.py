"""Whether a resolv.conf can be shown in a container without a write into the user's rootfs.

The runtime makes the target of a mount where it is missing. Beneath an overlay, or on a tmpfs that
the bundle mounts, that is harmless; in the rootfs itself it would change the user's files.
"""

import os
from typing import Any

from uxc.linux.path import open_in_root
from uxc.manager.bundle import RESOLVER, is_bind

# The kernel's own limit on symbolic links in one path (path_resolution(7)).
_MAX_LINKS = 40


def can_be_shown(rootfs: str, mounts: list[dict[str, Any]]) -> bool:
    """Tell whether ``/etc/resolv.conf`` exists in ``rootfs``, or would be made on a filesystem
    that ``mounts`` brings; OSError when ``rootfs`` cannot be opened.
    """
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        target = _missing_target(root)
    finally:
        os.close(root)
    if target is None:
        return True
    # The last mount over a path is the one that counts.
    return next(
        (not is_bind(mount) for mount in reversed(mounts) if _beneath(target, mount)), False
    )


def _missing_target(root: int) -> str | None:
    """Return where the file would be made; None when it is there."""
    try:
        os.close(open_in_root(root, RESOLVER))
    except OSError:
        pass
    else:
        return None
    path = RESOLVER
    for _ in range(_MAX_LINKS):
        link = _link_at(root, path)
        if link is None:
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), link))
    return path


def _link_at(root: int, path: str) -> str | None:
    parent, name = os.path.split(path)
    try:
        directory = open_in_root(root, parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None
    finally:
        os.close(directory)


def _beneath(path: str, mount: dict[str, Any]) -> bool:
    # Relative to the root, absolute or not: crun and runc take both.
    destination = os.path.normpath("/" + mount["destination"].lstrip("/"))
    return destination != "/" and path.startswith(f"{destination}/")
