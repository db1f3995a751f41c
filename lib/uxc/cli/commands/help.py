"""``uxc help``: the commands, or the help of one."""

from uxc.cli import main
from uxc.cli.options import Arguments, Operand, Syntax, UsageError, suggest
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "help",
    "show the commands, or the help of one",
    (Operand("COMMAND", "one of the commands", optional=True),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print the help text."""
    name = arguments.text("command")
    if name and name not in main.COMMANDS:
        raise UsageError(f"help: no command '{name}'{suggest(name, list(main.COMMANDS))}")
    if name:
        session.out(main.load(name).SYNTAX.help_text().rstrip())
        return EXIT_OK
    width = max(map(len, main.COMMANDS))
    session.out("usage: uxc [--debug] COMMAND …\n")
    for command in main.COMMANDS:
        session.out(f"  {command.ljust(width)}  {main.load(command).SYNTAX.summary}")
    session.out("\nuxc COMMAND --help says more.")
    return EXIT_OK
