"""Errors, named by who must act on them, and the exit codes of every program.

Below this tree only ``OSError`` travels: the rooms ``linux`` and ``uci`` raise it with the path or
the name of the thing in ``filename``; whoever can add a fact turns it into one of these.
"""

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2


class UxcError(Exception):
    """A failure that is explained in one line, with an optional hint on what to do.

    ``kind`` travels over the control socket, so that clients tell errors apart without reading
    their text.
    """

    kind = "failed"

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep ``message`` (one line, lower case, no full stop) and ``hint`` (what to do)."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidError(UxcError):
    """What the user wrote is wrong: an option, a name, a bundle. The user acts."""

    kind = "invalid"


class NotFoundError(UxcError):
    """The named thing does not exist."""

    kind = "not-found"


class ConflictError(UxcError):
    """The thing exists already, or is in a state that does not allow the operation."""

    kind = "conflict"


class MissingError(UxcError):
    """The machine lacks something: a kernel ability, a program, a module. The admin acts."""

    kind = "missing"


class UnavailableError(UxcError):
    """A process of ours cannot be reached: the manager or the keeper is not running."""

    kind = "unavailable"


class SystemFailure(UxcError):
    """The kernel refused a step; the message names the step and the kernel's reason."""

    kind = "system"


class InternalError(UxcError):
    """A bug of ours."""

    kind = "internal"


KINDS = {
    cls.kind: cls
    for cls in (
        UxcError,
        InvalidError,
        NotFoundError,
        ConflictError,
        MissingError,
        UnavailableError,
        SystemFailure,
        InternalError,
    )
}


def from_kind(kind: str, message: str, hint: str = "") -> UxcError:
    """Make the error that another process described by ``kind``, ``message`` and ``hint``."""
    return KINDS.get(kind, UxcError)(message, hint)


def system_failure(what: str, error: OSError, hint: str = "") -> SystemFailure:
    """Make one line out of a failed system call: what was tried, on what, and why it failed."""
    subject = f" {error.filename}" if error.filename and str(error.filename) not in what else ""
    reason = (error.strerror or str(error)).lower()
    return SystemFailure(f"cannot {what}{subject}: {reason}", hint)
