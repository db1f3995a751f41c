"""``uxc enable``: let boot start a container; needs no manager."""

from uxc.cli.options import Arguments, Operand, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK
from uxc.manager.sections import set_autostart

SYNTAX = Syntax(
    "enable",
    "let boot start a container (option autostart)",
    (Operand("NAME", "the container's name"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Write the section and commit it."""
    set_autostart(session.paths, arguments.text("name"), True)
    return EXIT_OK
