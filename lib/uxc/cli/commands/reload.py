"""``uxc reload``: let the manager read the configuration again."""

from uxc.cli.options import Arguments, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_FAILURE, EXIT_OK

SYNTAX = Syntax(
    "reload",
    "read the configuration again and start what is new",
    description="With a problem in it, everything keeps running as it was.",
)


def run(arguments: Arguments, session: Session) -> int:
    """Reload, and print what each container got, or every problem."""
    result = session.request("reload")
    for line in result["notes"]:
        session.out(line)
    for line in result["problems"]:
        session.note(line)
    return EXIT_FAILURE if result["failed"] else EXIT_OK
