"""``uxc wait``: wait until a container's program has ended."""

from uxc.cli.options import Arguments, Operand, Syntax
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "wait",
    "wait until the program ended and print its exit code",
    (Operand("NAME", "the container's name"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Wait, then print the exit code, or ``unknown`` where the kernel could not tell it."""
    code = session.request("wait", name=arguments.text("name"))["exitcode"]
    session.out("unknown" if code is None else str(code))
    return EXIT_OK
