"""``ps``: the processes of a container, as pids or as the host's ps(1) shows them."""

from uxc import jsontext
from uxc.errors import EXIT_OK, InvalidError
from uxc.oci import control
from uxc.ocicli.call import REST, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {"format": WORD}
SHORT = {"f": "format"}
# Behind the id come the words for ps(1).
OPERANDS = (1, REST)


def run(call: "Call") -> int:
    """Print the processes of the container."""
    form = call.options.get("format", "table")
    if form not in ("table", "json"):
        raise InvalidError(f"unknown format '{form}'", "table and json are known")
    pids = control.processes(call.root, call.id)
    if form == "json":
        call.print(jsontext.dumps(sorted(pids)) + "\n")
        return EXIT_OK
    from uxc.ocicli import processtable

    call.print(processtable.of(pids, call.operands[1:]))
    return EXIT_OK
