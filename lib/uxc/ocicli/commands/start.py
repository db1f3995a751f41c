"""``start``: let a created container's program run."""

from uxc.errors import EXIT_OK
from uxc.oci import gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS: "dict[str, str]" = {}
SHORT: "dict[str, str]" = {}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Return once the program runs."""
    if not gate.let_run(call.root, call.id):
        from uxc.oci import lifecycle

        lifecycle.refuse_start(call.root, call.id)
    return EXIT_OK
