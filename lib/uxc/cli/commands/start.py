"""``uxc start``: let the program of a container run."""

from uxc.cli.options import Arguments, Operand, Option, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "start",
    "start a container; make it first where needed",
    (Operand("NAME", "the container's name"),),
    (
        Option("--console -c", "", "attach to its terminal before the program runs"),
        Option("--detach-keys", "KEYS", "what leaves the console, as in 'ctrl-p,ctrl-q'"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Start the named container."""
    name = arguments.text("name")
    if not arguments.given("console"):
        session.request("start", name=name)
        return EXIT_OK
    from uxc.cli.commands.attach import show

    return show(session, "start", {"name": name, "console": True}, arguments)
