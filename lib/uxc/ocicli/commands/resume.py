"""``resume``: let the processes of a paused container go on."""

from uxc.errors import EXIT_OK
from uxc.oci import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS: "dict[str, str]" = {}
SHORT: "dict[str, str]" = {}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Return once they are told."""
    control.resume(call.root, call.id)
    return EXIT_OK
