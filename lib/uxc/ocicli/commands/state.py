"""``state``: print the state of a container as JSON."""

from uxc import jsontext
from uxc.errors import EXIT_OK
from uxc.oci import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS: "dict[str, str]" = {}
SHORT: "dict[str, str]" = {}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Print the state object."""
    call.print(jsontext.dumps(state.load(call.root, call.id).document()) + "\n")
    return EXIT_OK
