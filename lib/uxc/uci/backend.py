"""Chooses who does UCI's work: libuci where Python can use it, else our own files."""

from uxc import paths
from uxc.uci import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from uxc.uci import native

    Class: TypeAlias = type[files.Uci] | type[native.Uci]


def choose() -> "Class":
    """Return the class ``Uci`` that serves this process.

    A prefix is always served by our own files: libuci has ``/tmp/.uci`` and ``/var/run/uci`` built
    in, so that the host's pending changes would show up below the prefix.
    """
    if not paths.from_environment().prefix:
        # A lean process pays for libuci's binding only when it opens a context.
        try:
            from uxc.uci import native
        except ImportError:
            pass
        else:
            return native.Uci
    return files.Uci
