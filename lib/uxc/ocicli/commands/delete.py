"""``delete``: take everything away that create made."""

from uxc.errors import EXIT_OK
from uxc.oci import lifecycle
from uxc.ocicli.call import FLAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {"force": FLAG}
SHORT = {"f": "force"}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Delete the container, with --force also one that runs, and pass on what hooks failed."""
    for warning in lifecycle.delete(call.root, call.id, "force" in call.options):
        call.warning(warning)
    return EXIT_OK
