"""``list``: the containers below a root, as a table, as JSON, or their ids alone."""

from uxc import jsontext
from uxc.errors import EXIT_OK, InvalidError
from uxc.oci import state
from uxc.ocicli.call import FLAG, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.state import State
    from uxc.ocicli.call import Call

OPTIONS = {"quiet": FLAG, "format": WORD}
SHORT = {"q": "quiet", "f": "format"}
OPERANDS = (0, 0)
_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def run(call: "Call") -> int:
    """Print the containers in the order of their ids."""
    form = call.options.get("format", "table")
    if form not in ("table", "json"):
        raise InvalidError(f"unknown format '{form}'", "table and json are known")
    states = state.load_all(call.root)
    if "quiet" in call.options:
        call.print("".join(f"{one.id}\n" for one in states))
    elif form == "json":
        call.print(jsontext.dumps([one.document() for one in states]) + "\n")
    else:
        call.print(_table(states))
    return EXIT_OK


def _table(states: "list[State]") -> str:
    rows = [[key.upper() for key in _COLUMNS]]
    for one in states:
        document = one.document()
        rows.append([str(document[key]) for key in _COLUMNS])
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )
