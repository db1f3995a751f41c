"""What every command of ``uxc`` works with: the paths, the manager, the terminal."""

import posix

from uxc import jsontext
from uxc.client import Client
from uxc.files import write_all
from uxc.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Session:
    """One run of the command; the connection to the manager is made when it is first needed."""

    __slots__ = ("_client", "bin_dir", "paths", "wait_s")

    def __init__(self, paths: Paths, bin_dir: str) -> None:
        """``bin_dir`` is where the programs stand beside this one."""
        self.paths = paths
        self.bin_dir = bin_dir
        # How long to wait for a manager that is only just starting.
        self.wait_s = 0.0
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The connection to the manager; UnavailableError when it is not running."""
        if self._client is None:
            self._client = Client(self.paths.control_socket, self.wait_s)
            if posix.isatty(2):
                self._client.progress = self.note
        return self._client

    def request(self, op: str, **args: "Any") -> "Any":
        """Ask the manager; arguments that are None are left out."""
        given = {key: value for key, value in args.items() if value is not None}
        return self.client.request(op, given)

    def out(self, text: str) -> None:
        """Print ``text`` and a line end on stdout."""
        write_all(1, text.encode(errors="surrogateescape") + b"\n")

    def out_json(self, value: object) -> None:
        """Print ``value`` as JSON, laid out for people."""
        self.out(_laid_out(value, ""))

    def note(self, text: str) -> None:
        """Print a line for people on stderr."""
        write_all(2, f"uxc: {text}\n".encode(errors="surrogateescape"))


def _laid_out(value: "Any", margin: str) -> str:
    """Return JSON with one member a line; the C encoder knows no indentation."""
    inner = margin + "  "
    if isinstance(value, dict) and value:
        lines = (
            f"{inner}{jsontext.dumps(key)}: {_laid_out(each, inner)}" for key, each in value.items()
        )
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        lines = (inner + _laid_out(each, inner) for each in value)
        return "[\n" + ",\n".join(lines) + f"\n{margin}]"
    return jsontext.dumps(value)
