"""``kill``: send a signal to a container's first process, or to all of its processes."""

from uxc.errors import EXIT_OK
from uxc.oci import lifecycle
from uxc.ocicli import signals
from uxc.ocicli.call import FLAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {"all": FLAG}
SHORT = {"a": "all"}
OPERANDS = (1, 2)


def run(call: "Call") -> int:
    """Send the signal, SIGTERM when none is named."""
    number = signals.parse(call.operands[1]) if len(call.operands) > 1 else signals.TERMINATE
    lifecycle.kill(call.root, call.id, number, "all" in call.options)
    return EXIT_OK
