"""The uci command for hosts that have none: options, folders, exit code."""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import posix
import sys

from uxc import paths
from uxc.uci import text
from uxc.uci.exceptions import UciDuplicate
from uxc.uci.scanner import Stream
from uxc.uci.store import Store
from uxc.ucicli import commands
from uxc.ucicli.options import options
from uxc.ucicli.session import Session, tell
from uxc.ucicli.usage import usage

_NAME = "uci"


def main(arguments: "list[str]") -> int:
    """Run ``uci`` with ``arguments`` (without the program's name); return its exit code.

    The folders are those of UXC_PREFIX until options name others.
    """
    # End quietly, like any C program, at Ctrl-C and when the reader of our output has gone.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    try:
        places = paths.from_environment()
    except ValueError as error:
        tell(f"{_NAME}: {error}\n")
        return 1
    store = Store(places.config_dir, places.uci_save_dir, places.uci_conf2_dir)
    session = Session(_NAME, store, usage(_NAME, places))
    encoding = sys.getfilesystemencoding()
    found, operands, problem = options([a.encode(encoding, "surrogateescape") for a in arguments])
    for letter, argument in found:
        code = _apply(session, letter.decode(), argument.decode(encoding, "surrogateescape"))
        if code is not None:
            return code
    if problem is not None:
        tell(f"{_NAME}: {problem}\n")
    if problem is not None or not operands:
        session.show_usage()
        return 0
    try:
        code = commands.run(session, [text.decode(word) for word in operands])
        session.flush()
    except OSError as error:
        tell(f"{_NAME}: {(error.strerror or str(error)).lower()}\n")
        return 1
    if code == commands.USAGE:
        session.show_usage()
    return code


def _apply(session: Session, letter: str, argument: str) -> "int | None":
    """Let one option take effect; return an exit code if it ends the program."""
    store = session.store
    if letter == "c":
        store.confdir = argument
    elif letter == "C":
        store.conf2dir = argument
    elif letter == "d":
        session.delimiter = text.decode(argument.encode(errors="surrogateescape"))
    elif letter == "f":
        return _open_input(session, argument)
    elif letter == "m":
        session.merge = True
    elif letter == "s":
        store.strict = True
    elif letter == "S":
        store.strict = False
        store.on_parse_error = session.report_skipped
    elif letter in "nN":
        store.name_all = letter == "n"
    elif letter == "p":
        try:
            store.add_delta_path(argument)
        except UciDuplicate:
            # A folder that is searched already needs no second mention.
            return None
    elif letter in "Pt":
        store.set_savedir(argument)
        session.commit = session.commit and letter == "t"
    elif letter == "q":
        session.quiet = True
    elif letter == "X":
        session.extended = False
    else:
        # -L is accepted and explained by nobody.
        session.show_usage()
        return 0
    return None


def _open_input(session: Session, path: str) -> "int | None":
    if session.input_named:
        session.complain("Too many input files.\n")
        return 1
    try:
        session.input = Stream(fd=posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC))
    except OSError as error:
        session.complain(f"{_NAME}: {error.strerror}")
        return 1
    session.input_named = True
    return None
