"""``features``: print what this runtime knows, as JSON."""

from uxc import jsontext
from uxc.errors import EXIT_OK
from uxc.oci import features

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS: "dict[str, str]" = {}
SHORT: "dict[str, str]" = {}
OPERANDS = (0, 0)


def run(call: "Call") -> int:
    """Print the features document."""
    call.print(jsontext.dumps(features.document()) + "\n")
    return EXIT_OK
