"""Build the validation programs of a runtime-tools checkout with Debian's Go, not touching it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

GO = Path("/usr/lib/go-1.19/bin/go")
NEWER = Path(__file__).parent / "newer"
# Calls that Go 1.19 lacks: what our package `newer` has instead, and a use that keeps an import
# from being one too many.
CALLS = {
    "sync.OnceValues": ("newer.OnceValues", "var _ sync.Once"),
    "sync.OnceValue": ("newer.OnceValue", "var _ sync.Once"),
    "strings.CutPrefix": ("newer.CutPrefix", "var _ strings.Builder"),
}
# Since 1.19 a Go program raises its own soft RLIMIT_NOFILE to the hard one as it starts, and
# `runtimetest` would measure that.
RAISES_ITS_LIMIT = "src/os/rlimit.go"
# What every validation program unpacks and starts; they look in the directory they are run in.
ROOT_IMAGE = "rootfs-amd64.tar.gz"
INSIDE = "runtimetest"


class BuildError(Exception):
    """The checkout is none, or does not build."""


def program_names(source: Path) -> list[str]:
    """Return the names of the validation programs in a checkout."""
    return sorted(
        path.name
        for path in (source / "validation").glob("*")
        if (path / f"{path.name}.go").is_file()
    )


def build(source: Path, target: Path) -> list[str]:
    """Build all into ``target``; return the names of the validation programs.

    BuildError if ``source`` is not a checkout of runtime-tools or does not build.
    """
    programs = program_names(source)
    wanted = (source / "go.mod", source / "vendor/modules.txt", source / ROOT_IMAGE)
    absent = [str(path) for path in wanted if not path.is_file()]
    if absent or not programs:
        raise BuildError(
            f"{source} is no checkout of github.com/opencontainers/runtime-tools:"
            f" no {', '.join(absent) or 'validation/*/*.go'}"
        )
    target.mkdir(parents=True, exist_ok=True)
    overlay = target / "overlay"
    shutil.rmtree(overlay, ignore_errors=True)
    overlay.mkdir()
    # Containers of other users look at these: no glibc of this machine is in them.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=vendor", "GOPROXY": "off"}
    packages = [f"./validation/{name}" for name in programs]
    done = subprocess.run(
        [str(GO), "build", "-trimpath", "-overlay", str(_overlay(source, overlay)),
         "-o", f"{target}/", *packages, f"./cmd/{INSIDE}"],
        cwd=source, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(f"{source} does not build:\n{done.stderr.strip()}")
    shutil.copy(source / ROOT_IMAGE, target)
    return programs


def _overlay(source: Path, directory: Path) -> Path:
    """Write what ``go build`` shall read instead of files of the checkout; return the list."""
    source = source.resolve()
    replaced = {
        str(source / "vendor" / path.relative_to(NEWER)): str(path) for path in NEWER.rglob("*.go")
    }
    for path in sorted(source.rglob("*.go")):
        old = text = path.read_text()
        for call, (ours, use) in CALLS.items():
            text, count = re.subn(rf"\b{re.escape(call)}\b", ours, text)
            if count:
                text += f"\n{use}\n"
        if text != old:
            text = re.sub(r"^package \w+$", r'\g<0>\nimport "newer"', text, count=1, flags=re.M)
            copy = directory / f"{len(replaced)}.go"
            copy.write_text(text)
            replaced[str(path)] = str(copy)
    raises_not = directory / "rlimit.go"
    raises_not.write_text("package os\n")
    raises = GO.parents[1] / RAISES_ITS_LIMIT
    replaced[str(raises)] = replaced[str(raises.resolve())] = str(raises_not)
    listing = directory / "overlay.json"
    listing.write_text(json.dumps({"Replace": replaced}))
    return listing
