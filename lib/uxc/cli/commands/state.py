"""``uxc state``: the OCI state object of a container."""

from uxc.cli.options import Arguments, Operand, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "state",
    "print the OCI state of a container as JSON",
    (Operand("NAME", "the container's name"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print the state."""
    session.out_json(session.request("state", name=arguments.text("name")))
    return EXIT_OK
