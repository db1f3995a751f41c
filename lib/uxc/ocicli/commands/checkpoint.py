"""``checkpoint``: save a container to images, by criu."""

from uxc.errors import EXIT_OK, InvalidError
from uxc.oci import checkpoint
from uxc.ocicli import checkpointing
from uxc.ocicli.call import FLAG, NUMBER, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {
    **checkpointing.OPTIONS,
    "leave-running": FLAG,
    "pre-dump": FLAG,
    "parent-path": WORD,
    "page-server": WORD,
    "status-fd": NUMBER,
}
SHORT: "dict[str, str]" = {}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Save the container; it is gone then, unless --leave-running or --pre-dump."""
    given = call.options
    options = checkpointing.options_of(call)
    options.leaves_running = "leave-running" in given
    if "parent-path" in given:
        options.words += ["--track-mem", "--prev-images-dir", given["parent-path"]]
    if "page-server" in given:
        address, colon, port = given["page-server"].rpartition(":")
        if not (colon and address and port.isdigit()):
            raise InvalidError("--page-server takes ADDRESS:PORT")
        options.words += ["--page-server", "--address", address, "--port", port]
    if "status-fd" in given:
        options.words += ["--status-fd", given["status-fd"]]
    for warning in checkpoint.dump(call.root, call.id, options, "pre-dump" in given):
        call.warning(warning)
    return EXIT_OK
