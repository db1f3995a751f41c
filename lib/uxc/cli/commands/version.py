"""``uxc version``: the version of this program and of the specification it follows."""

from uxc.cli.options import Arguments, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK
from uxc.version import VERSION

SYNTAX = Syntax("version", "print the version")


def run(arguments: Arguments, session: Session) -> int:
    """Print the version."""
    session.out(f"uxc version {VERSION}")
    return EXIT_OK
