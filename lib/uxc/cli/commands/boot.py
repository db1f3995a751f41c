"""``uxc boot``: start what has autostart; /etc/init.d/uxc calls it."""

from uxc.cli.options import Arguments, Option, Syntax, UsageError
from uxc.cli.session import Session
from uxc.errors import EXIT_FAILURE, EXIT_OK

SYNTAX = Syntax(
    "boot",
    "start every container that has autostart",
    options=(Option("--wait -w", "SECONDS", "wait this long for the manager to answer"),),
    description="What lacks a mount or a device is started when that appears.",
)


def run(arguments: Arguments, session: Session) -> int:
    """Start the autostart containers and say what was not possible."""
    wait = arguments.text("wait")
    if wait and not wait.isdecimal():
        raise UsageError(f"boot: '{wait}' is not a number of seconds")
    session.wait_s = float(wait or 0)
    result = session.request("boot")
    for name, reason in result["waiting"].items():
        session.note(f"{name}: waiting: {reason}")
    for reason in result["failed"].values():
        session.note(reason)
    return EXIT_FAILURE if result["failed"] else EXIT_OK
