"""What a bundle asks of the keeper, and the creation that a worker does."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix

from uxc.keeper import overlay
from uxc.linux import proc
from uxc.oci import idmaps, runtime
from uxc.oci.spec_fields import items_of
from uxc.oci.spec_linux import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def build(options: runtime.CreateOptions, keeper: int) -> dict[str, Any]:
    """Create the container; runs in a worker, whose orphan the container's init becomes."""
    # Nobody would ever know of a container that is finished after the keeper's death.
    proc.set_parent_death_signal(_signal.SIGKILL)
    if posix.getppid() != keeper:
        posix._exit(1)
    overlay.mount_if_wanted(options.bundle)
    state = runtime.create(options)
    whole = ends_whole(options.config or {})
    return {"pid": state.pid, "start_time": state.start_time, "ends_whole": whole}


def maps_of(arguments: dict[str, Any]) -> idmaps.Maps | None:
    """Return the maps among the arguments of ``pin``, None without any; InvalidError."""
    uids = items_of(arguments, "uidMappings", "pin", IDMapping)
    gids = items_of(arguments, "gidMappings", "pin", IDMapping)
    return idmaps.Maps(uids, gids) if uids and gids else None


def ends_whole(config: dict[str, Any]) -> bool:
    """Tell whether nothing of a container is left or to be done when its init has been reaped.

    The kernel ends a pid namespace with its init, and every process of it has been reaped before
    init can be (pid_namespaces(7)); hooks may take any time.
    """
    entries = (config.get("linux") or {}).get("namespaces") or ()
    own = any(entry["type"] == "pid" and not entry.get("path") for entry in entries)
    return own and not (config.get("hooks") or {}).get("poststop")
