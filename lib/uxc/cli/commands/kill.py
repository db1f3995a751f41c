"""``uxc kill``: send a signal to a container's first process."""

from uxc.cli.options import Arguments, Operand, Option, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "kill",
    "send a signal; respawn applies when the program ends",
    (
        Operand("NAME", "the container's name"),
        Operand("SIGNAL", "name or number; TERM when not given", optional=True),
    ),
    (Option("--signal -s", "SIGNAL", "the same as the operand"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Send the signal."""
    session.request("kill", name=arguments.text("name"), signal=arguments.text("signal") or "TERM")
    return EXIT_OK
