"""What must not stand in the tree."""

import re
import subprocess
from pathlib import Path

TOP = Path(__file__).parents[2]

# Paths that exist on one developer's machine only. /root/dev and its kin are of a root file system
# that is being put together, as is what comes after a pid.
MACHINE_PATHS = re.compile(
    rb"(?<![\w.}])/(?:work|root(?!/(?:dev|lib|proc|run|sys|tmp)/)|home/\w+)/[\w.]+/"
    rb"|/tmp/[a-z]+_jobs"
)


def _tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True
    )
    return [TOP / name for name in done.stdout.split("\0") if name and (TOP / name).is_file()]


def test_no_path_of_a_machine_is_written_down() -> None:
    """Whoever clones the project elsewhere meets no path of where it was written."""
    found = [
        f"{path.relative_to(TOP)}: {match[0].decode()}"
        for path in _tracked()
        for match in MACHINE_PATHS.finditer(path.read_bytes())
    ]

    assert not found


def test_documents_that_are_named_exist() -> None:
    """Whoever reads ``docs/…`` in a comment, a document or a message finds it there."""
    found = [
        f"{path.relative_to(TOP)}: {match[0].decode()}"
        for path in _tracked()
        for match in re.finditer(rb"\bdocs/[\w/-]+(?:\.\w+)?", path.read_bytes())
        if not list(TOP.glob(f"{match[0].decode()}*"))
    ]

    assert not found


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link in a document leads to a file."""
    for path in (TOP / "README.md", *(TOP / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            assert target.startswith("https:") or (path.parent / target).exists(), (path, target)


def test_files_that_are_run_have_the_run_bit() -> None:
    """A file that names its interpreter can be started by its name."""
    for path in _tracked():
        if path.read_bytes()[:2] == b"#!":
            assert path.stat().st_mode & 0o111, path
