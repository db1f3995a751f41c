"""``spec``: write a config.json to begin with."""

import posix

from uxc import files
from uxc.errors import EXIT_OK, ConflictError, system_failure
from uxc.oci import template
from uxc.ocicli.call import FLAG, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {"bundle": WORD, "file": WORD, "rootless": FLAG}
SHORT = {"b": "bundle", "f": "file"}
OPERANDS = (0, 0)


def run(call: "Call") -> int:
    """Write the file into the bundle; one that is there is never replaced."""
    bundle = call.options.get("bundle", ".")
    path = f"{bundle.rstrip('/') or '/'}/{call.options.get('file', 'config.json')}"
    config = template.config()
    if "rootless" in call.options:
        config = template.rootless(config, posix.geteuid(), posix.getegid())
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        fd = posix.open(path, flags, 0o666)
        try:
            files.write_all(fd, template.text(config).encode())
        finally:
            posix.close(fd)
    except FileExistsError:
        raise ConflictError(f"{path} exists", "remove it first, or name another --file") from None
    except OSError as error:
        raise system_failure(f"write {path}", error) from None
    return EXIT_OK
