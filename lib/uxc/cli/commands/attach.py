"""``uxc attach``: a container's terminal, or what it prints."""

import posix

from uxc.cli.options import Arguments, Operand, Option, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "attach",
    "show a container's terminal; what it printed before comes first",
    (Operand("NAME", "the container's name"),),
    (
        Option("--detach-keys", "KEYS", "what leaves it (ctrl-b), as in 'ctrl-p,ctrl-q'"),
        Option("--read-only -r", "", "only watch"),
    ),
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(arguments: Arguments, session: Session) -> int:
    """Attach until the container ends or the user leaves."""
    request: dict[str, Any] = {"name": arguments.text("name")}
    if arguments.given("read_only"):
        request["read_only"] = True
    return show(session, "attach", request, arguments)


def show(session: Session, op: str, request: "dict[str, Any]", arguments: Arguments) -> int:
    """Ask for a viewer's socket by ``op`` and be its terminal; return the exit code."""
    from uxc.cli import console

    keys = console.DETACH_KEYS
    if arguments.given("detach_keys"):
        keys = console.parse_keys(arguments.text("detach_keys"))
    result, viewer = session.client.request_fd(op, request)
    try:
        interactive = bool(result["terminal"]) and "read_only" not in request
        exit_code = console.run(viewer, keys, interactive)
    finally:
        posix.close(viewer)
    if exit_code is None:
        session.note(f"detached; uxc attach {request['name']} comes back")
        return EXIT_OK
    return exit_code
