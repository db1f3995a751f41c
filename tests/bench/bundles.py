"""The two bundles that are measured: what ``runc spec`` writes, and what Podman writes."""

import json
import subprocess
from pathlib import Path
from typing import Any

from rootfs import busybox

# Stands for a runtime: keeps the config.json that it is given, and says that it cannot.
_CATCHER = """\
#!/bin/sh
for word; do
    case $before in --bundle | -b) cp "$word/config.json" "$(dirname "$0")/caught.json" ;; esac
    before=$word
done
exit 1
"""


def plain(directory: Path) -> Path:
    """Return a bundle with the config of ``runc spec``, around busybox's true."""
    bundle = _new(directory, "plain")
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    return _finish(bundle, config)


def podman(directory: Path) -> Path:
    """Return a bundle with the config of ``podman run``, its default seccomp profile included.

    Podman is asked for it, with a runtime that only keeps what it is given. Nothing of Podman's
    stays: what it binds into the container (hosts, hostname, shm) is made in the bundle instead.
    """
    bundle = _new(directory, "podman")
    catcher = directory / "catcher"
    catcher.write_text(_CATCHER)
    catcher.chmod(0o700)
    store = directory / "podman.store"
    places = ("--root", f"{store}/root", "--runroot", f"{store}/run", "--tmpdir", f"{store}/tmp")
    how = ("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none")
    command = ["podman", *places, *how, "--runtime", str(catcher), "run", "--network", "none"]
    done = subprocess.run(
        [*command, "--rootfs", str(bundle / "rootfs"), "/bin/true"], capture_output=True, text=True
    )
    caught = directory / "caught.json"
    if not caught.exists():
        raise SystemExit(f"podman did not get as far as a runtime: {done.stderr}")
    config = json.loads(caught.read_text())
    for mount in config["mounts"]:
        if mount["type"] == "bind":
            mount["source"] = _stand_in(bundle, Path(mount["source"]))
    # Each runtime's own choice, as in the plain bundle.
    config["linux"].pop("cgroupsPath", None)
    unmount = ["umount", "--recursive", "--lazy", str(store)]
    subprocess.run(unmount, check=False, capture_output=True)
    return _finish(bundle, config)


def profile_size(bundle: Path) -> tuple[int, int]:
    """Return how many rules and names the seccomp profile of a bundle has."""
    rules = json.loads((bundle / "config.json").read_text())["linux"]["seccomp"]["syscalls"]
    return len(rules), sum(len(rule["names"]) for rule in rules)


def _new(directory: Path, name: str) -> Path:
    bundle = directory / name
    bundle.mkdir()
    busybox.make_rootfs(bundle / "rootfs")
    return bundle


def _stand_in(bundle: Path, source: Path) -> str:
    place = bundle / source.name
    if source.is_dir():
        place.mkdir()
    else:
        place.touch()
    return str(place)


def _finish(bundle: Path, config: dict[str, Any]) -> Path:
    config["process"]["args"] = ["/bin/true"]
    config["process"]["terminal"] = False
    config["root"] = {"path": "rootfs", "readonly": config["root"].get("readonly", False)}
    (bundle / "config.json").write_text(json.dumps(config, indent="\t"))
    return bundle
