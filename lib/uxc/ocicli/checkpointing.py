"""What ``checkpoint`` and ``restore`` have in common: options that criu gets in its own words."""

from uxc.errors import InvalidError
from uxc.oci import criu
from uxc.oci.checkpoint import CriuOptions
from uxc.ocicli.call import FLAG, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {
    "image-path": WORD,
    "work-path": WORD,
    "tcp-established": FLAG,
    "ext-unix-sk": FLAG,
    "shell-job": FLAG,
    "file-locks": FLAG,
    "manage-cgroups-mode": WORD,
    "empty-ns": WORD,
    "auto-dedup": FLAG,
    "lazy-pages": FLAG,
}
# The same to criu.
_PASSED = ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages")
_MODES = ("soft", "full", "strict", "ignore")
_IMAGES = "checkpoint"


def options_of(call: "Call") -> CriuOptions:
    """Return what the command line says to criu; MissingError without criu, InvalidError."""
    given = call.options
    # First of all: without it nothing else matters.
    program = criu.find(call.globals.get("criu") or "criu")
    words = [f"--{name}" for name in _PASSED if name in given]
    mode = given.get("manage-cgroups-mode", "soft")
    if mode not in _MODES:
        raise InvalidError(f"unknown cgroups mode '{mode}'", f"one of {', '.join(_MODES)}")
    words.append(f"--manage-cgroups={mode}")
    if "empty-ns" in given:
        if given["empty-ns"] != "network":
            raise InvalidError(f"namespace '{given['empty-ns']}' cannot be empty", "network can")
        words += ["--empty-ns", "net"]
    images = given.get("image-path") or _IMAGES
    return CriuOptions(program, images, given.get("work-path", ""), words)
