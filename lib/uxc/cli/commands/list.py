"""``uxc list``: every container, configured or running, one line each."""

import posix

from uxc.cli.options import Arguments, Option, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "list",
    "show all containers",
    options=(Option("--json", "", "print a JSON array"),),
    description="Each line starts with the name; the header is only for terminals.",
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HEADER = ["NAME", "STATUS", "AUTOSTART", "PID", "EXIT", "INTERFACES"]


def run(arguments: Arguments, session: Session) -> int:
    """Print the list."""
    entries = session.request("list")
    if arguments.given("json"):
        session.out_json(entries)
        return EXIT_OK
    from uxc.cli import table

    terminal = posix.isatty(1)
    text = table.render([_row(entry) for entry in entries], _HEADER if terminal else [], terminal)
    if text:
        session.out(text)
    return EXIT_OK


def _row(entry: "dict[str, Any]") -> "list[str]":
    interfaces = " ".join(
        ",".join([port["name"], *port["addresses"]]) for port in entry.get("interfaces", ())
    )
    return [
        entry["name"],
        entry["status"],
        "autostart" if entry["autostart"] else "-",
        str(entry.get("pid", "-")),
        str(entry.get("exitcode", "-")),
        interfaces or "-",
    ]
