"""``uxc create``: make a container, wired and parked, from its section or from a bundle."""

import posix

from uxc.cli.options import Arguments, Operand, Option, Syntax, UsageError
from uxc.cli.session import Session
from uxc.errors import EXIT_OK

SYNTAX = Syntax(
    "create",
    "make a container: wired, its program not yet running",
    (
        Operand("NAME", "the container's name"),
        Operand("PATH", "its OCI bundle; writes the section and commits it", optional=True),
        Operand("AUTOSTART", "true or false: start it at boot", optional=True),
    ),
    (
        Option("--bundle -b", "PATH", "the same as the operand PATH"),
        Option("--autostart -a", "", "start it at boot"),
        Option("--temp-overlay-size -t", "SIZE", "writes go to a tmpfs of this size"),
        Option("--write-overlay-path -w", "PATH", "writes go to this folder"),
        Option("--mounts -m", "A,B", "volumes that must be mounted before it starts"),
        Option("--pid-file -p", "FILE", "write the pid of its first process there"),
    ),
    "Without PATH, the section that is in /etc/config/uxc already is used.",
)

_TRUTH = {"true": True, "1": True, "yes": True, "on": True}
_LIES = {"false": False, "0": False, "no": False, "off": False}


def run(arguments: Arguments, session: Session) -> int:
    """Create the container that ``arguments`` name."""
    bundle = arguments.text("path") or arguments.text("bundle")
    if arguments.given("path") and arguments.given("bundle"):
        raise UsageError("create: the bundle is given twice", f"usage: {SYNTAX.usage()}")
    autostart = None
    if arguments.given("autostart"):
        autostart = _truth(arguments.text("autostart") or "true")
    volumes = arguments.text("mounts")
    session.request(
        "create",
        name=arguments.text("name"),
        bundle=_absolute(bundle),
        autostart=autostart,
        temp_overlay_size=arguments.text("temp_overlay_size") or None,
        write_overlay_path=_absolute(arguments.text("write_overlay_path")),
        volumes=[entry for entry in volumes.split(",") if entry] or None,
        pid_file=_absolute(arguments.text("pid_file")),
    )
    return EXIT_OK


def _truth(word: str) -> bool:
    truth = {**_TRUTH, **_LIES}.get(word.lower())
    if truth is None:
        raise UsageError(f"create: '{word}' is neither true nor false", f"usage: {SYNTAX.usage()}")
    return truth


def _absolute(path: str) -> "str | None":
    if not path:
        return None
    return path if path.startswith("/") else f"{posix.getcwd()}/{path}"
