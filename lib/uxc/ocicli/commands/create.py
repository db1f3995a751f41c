"""``create``: make the container of a bundle; its program waits for ``start``."""

from uxc.errors import EXIT_OK
from uxc.ocicli import creating

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = creating.OPTIONS
SHORT = creating.SHORT
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Create the container and pass its warnings on."""
    creating.protect(call)
    from uxc.oci import creation

    for warning in creation.create(creating.options_of(call)).warnings:
        call.warning(warning)
    return EXIT_OK
