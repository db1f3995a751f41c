"""``uxc stop``: end a container and keep it down until somebody starts it."""

from uxc.cli.options import Arguments, Operand, Option, Syntax, UsageError
from uxc.cli.session import Session
from uxc.errors import EXIT_FAILURE, EXIT_OK

SYNTAX = Syntax(
    "stop",
    "stop a container: stop_signal, then after stop_timeout kill",
    (Operand("NAME", "the container's name", optional=True),),
    (
        Option("--all -a", "", "stop every container"),
        Option("--timeout -t", "SECONDS", "wait this long before the kill"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Stop the named container, or all of them."""
    if arguments.given("all") == arguments.given("name"):
        raise UsageError("stop: give either NAME or --all", f"usage: {SYNTAX.usage()}")
    timeout = arguments.text("timeout")
    if timeout and not timeout.isdecimal():
        raise UsageError(f"stop: '{timeout}' is not a number of seconds")
    timeout_s = int(timeout) if timeout else None
    if arguments.given("name"):
        session.request("stop", name=arguments.text("name"), timeout_s=timeout_s)
        return EXIT_OK
    failed = session.request("stop", all=True, timeout_s=timeout_s)["failed"]
    for reason in failed.values():
        session.note(reason)
    return EXIT_FAILURE if failed else EXIT_OK
