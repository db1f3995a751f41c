"""``uxc delete``: remove a container, its wiring and its section."""

from uxc.cli.options import Arguments, Operand, Option, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "delete",
    "remove a stopped container and its section",
    (Operand("NAME", "the container's name"),),
    (
        Option("--force -f", "", "also when it is running: kill it first"),
        Option("--keep-section -k", "", "leave its section in /etc/config/uxc"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Delete the named container."""
    session.request(
        "delete",
        name=arguments.text("name"),
        force=True if arguments.given("force") else None,
        keep_section=True if arguments.given("keep_section") else None,
    )
    return EXIT_OK
