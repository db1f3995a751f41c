"""``start``: let a created container's program run."""

import posix

from uxc.errors import EXIT_OK
from uxc.oci import gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS: "dict[str, str]" = {}
SHORT: "dict[str, str]" = {}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Return once the program runs and, where that was asked for, has said that it is ready."""
    root, container_id = call.root, call.id
    if b"NOTIFY_SOCKET" in posix.environ:
        from uxc.ocicli import readiness

        return readiness.start(call)
    if not gate.let_run(root, container_id):
        from uxc.oci import lifecycle

        lifecycle.refuse_start(root, container_id)
    if gate.has_start_hooks(root, container_id):
        from uxc.oci import lifecycle

        lifecycle.finish_start(root, container_id)
    return EXIT_OK
