"""Chooses who does UCI's work: libuci where Python can use it, else our own files."""

from uxc.paths import Paths
from uxc.uci import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from uxc.uci import native

    Uci: TypeAlias = files.Uci | native.Uci


def open_uci(places: Paths) -> "Uci":
    """Return a pyuci-like context for the folders of ``places``.

    A prefix is always served by our own files: libuci has ``/tmp/.uci`` and ``/var/run/uci`` built
    in, so that the host's pending changes would show up below the prefix.
    """
    if not places.prefix:
        # A lean process pays for libuci's binding only when it opens a context.
        try:
            from uxc.uci import native
        except ImportError:
            pass
        else:
            return native.Uci()
    return files.Uci(
        savedir=places.uci_save_dir, confdir=places.config_dir, conf2dir=places.uci_conf2_dir
    )
