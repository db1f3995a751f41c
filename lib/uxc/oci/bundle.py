"""A bundle on disk: read, judged as a whole, its root filesystem there."""

import hashlib
import posix
from stat import S_ISDIR

from uxc import files, jsontext
from uxc.errors import InvalidError
from uxc.oci import judge, spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

CONFIG = "config.json"


class Bundle:
    """What is known of a bundle that is right.

    ``config`` is the document without the properties that are null: they are absent. ``digest`` is
    that of its bytes (SHA-256), ``root`` the absolute path of the root filesystem.
    """

    __slots__ = ("config", "digest", "root")

    def __init__(self, config: "dict[str, Any]", digest: bytes, root: str) -> None:
        """Keep the parts."""
        self.config = config
        self.digest = digest
        self.root = root


class WrongBundleError(InvalidError):
    """A bundle that cannot be used; ``problems`` are all that were found, one line each.

    The message is the first of them, and how many more there are.
    """

    def __init__(self, problems: "list[str]", hint: str = "") -> None:
        """Keep ``problems``, of which there is at least one."""
        more = f" (and {len(problems) - 1} more: uxc check)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more, hint)
        self.problems = problems


def read(directory: str, judged: "Container[bytes]" = ()) -> Bundle:
    """Return the bundle in ``directory``; WrongBundleError with everything that is wrong in it.

    A document whose digest is in ``judged`` has been found right before: it is only read.
    """
    path = f"{directory}/{CONFIG}"
    try:
        data = files.read_bytes(path)
    except OSError as error:
        raise _unreadable(directory, path, error) from None
    except InvalidError as error:
        raise WrongBundleError([error.message]) from None
    digest = hashlib.sha256(data).digest()
    config = _document(data, path)
    if digest not in judged:
        _judge(config, path)
    root = root_of(config, directory)
    if not _is_directory(root):
        raise WrongBundleError(
            [f"{path}: root.path: {root}: no such directory"],
            "unpack the root filesystem there, or mount the disk that it is on",
        )
    return Bundle(_without_nulls(config), digest, root)


def root_of(config: "dict[str, Any]", directory: str) -> str:
    """Return the absolute path of the root filesystem that the judged ``config`` names.

    Raises WrongBundleError when it names none: Linux containers have one (config.md, "Root").
    """
    path: str = (config.get("root") or {}).get("path") or ""
    if not path:
        raise WrongBundleError([f"{directory}/{CONFIG}: root.path: is missing"])
    return path if path.startswith("/") else f"{directory}/{path}"


def _without_nulls(value: "Any") -> "Any":
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _unreadable(directory: str, path: str, error: OSError) -> WrongBundleError:
    reason = (error.strerror or str(error)).lower()
    subject = path if _is_directory(directory) else directory
    return WrongBundleError(
        [f"{subject}: {reason}"], "a bundle is a directory with config.json and a root filesystem"
    )


def _document(data: bytes, path: str) -> "dict[str, Any]":
    try:
        config = jsontext.loads(data.decode(), path)
    except UnicodeDecodeError as error:
        raise WrongBundleError([f"{path}: not UTF-8 text at byte {error.start}"]) from None
    except InvalidError as error:
        raise WrongBundleError([error.message], error.hint) from None
    if not isinstance(config, dict):
        raise WrongBundleError([f"{path}: must be a JSON object"])
    return config


def _judge(config: "dict[str, Any]", path: str) -> None:
    try:
        problems = judge.judge(config)
    except ImportError:
        # No jsonschema on this machine (it needs Rust, which not every target has): the reader
        # below refuses the same documents, and tells of the first problem only.
        problems = []
    if problems:
        lines = [
            f"{path}: {where}: {text}" if where else f"{path}: {text}" for where, text in problems
        ]
        raise WrongBundleError(lines)
    # The schemas cannot say everything that the core insists on; better here than halfway.
    try:
        spec.parse(config, path)
    except InvalidError as error:
        raise WrongBundleError([error.message], error.hint) from None


def _is_directory(path: str) -> bool:
    try:
        return S_ISDIR(posix.stat(path).st_mode)
    except OSError:
        return False
