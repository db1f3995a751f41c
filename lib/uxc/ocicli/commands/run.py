"""``run``: create, start, wait and delete in one; the exit code is the program's."""

from uxc.ocicli import creating
from uxc.ocicli.call import FLAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {**creating.OPTIONS, "detach": FLAG, "keep": FLAG}
SHORT = {**creating.SHORT, "d": "detach"}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Run the container to its end, or let it go with --detach."""
    creating.protect(call)
    from uxc.ocicli import foreground

    detached, kept = "detach" in call.options, "keep" in call.options
    return foreground.run(creating.options_of(call), detached, kept, call)
