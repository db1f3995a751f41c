"""``uxc shutdown``: end the manager; containers go on."""

from uxc.cli.options import Arguments, Option, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "shutdown",
    "end the manager; the containers go on",
    options=(Option("--keeper -k", "", "end the keeper too; every container must be stopped"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask the manager to end."""
    session.request("shutdown", keeper=True if arguments.given("keeper") else None)
    return EXIT_OK
