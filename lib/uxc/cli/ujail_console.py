"""``ujail-console -c NAME``: procd's spelling of ``uxc attach``."""

from uxc.cli import main as uxc
from uxc.errors import EXIT_USAGE
from uxc.files import write_all

_USAGE = b"usage: ujail-console -c NAME\n"


def main(words: "list[str]", bin_dir: str) -> int:
    """Attach to the container that ``words`` name; return the exit code."""
    if len(words) == 2 and words[0] == "-c":
        return uxc.main(["attach", "--", words[1]], bin_dir)
    if words in (["-h"], ["--help"]):
        write_all(1, _USAGE)
        return 0
    write_all(2, _USAGE)
    return EXIT_USAGE
