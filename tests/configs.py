"""Parts and changes of a config.json that tests of many kinds want."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtimes import Config

Change = Callable[[Config], object]
Maps = list[tuple[int, int, int]]

# Of the ids that a mapped container has: the first one of the host, and how many.
HOST = 100_000
COUNT = 65_536

SHOW_MOUNTS = "cat /proc/self/mountinfo"


def process(**values: Any) -> Change:
    """Return a change of the bundle's process."""
    return lambda config: config["process"].update(values)


def linux(**values: Any) -> Change:
    """Return a change of the bundle's linux object."""
    return lambda config: config["linux"].update(values)


def namespaces(**paths: str | None) -> Change:
    """Return a change of namespaces: a path to join, None to leave it out."""

    def edit(config: Config) -> None:
        kept = [one for one in config["linux"]["namespaces"] if one["type"] not in paths]
        kept += [{"type": kind, "path": path} for kind, path in paths.items() if path]
        config["linux"]["namespaces"] = kept
        if "uts" in paths:
            config.pop("hostname", None)

    return edit


def in_the_hosts_mounts(config: Config) -> None:
    """Leave the container in the mount namespace of the runtime."""
    namespaces(mount=None)(config)
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []


def mapped(uids: Maps | None = None, gids: Maps | None = None) -> Change:
    """Return a change to a new user namespace; (container, host, size) for each range."""
    whole = [(0, HOST, COUNT)]

    def edit(config: Config) -> None:
        linux = config["linux"]
        linux["namespaces"].append({"type": "user"})
        for key, ranges in (("uidMappings", uids or whole), ("gidMappings", gids or uids or whole)):
            linux[key] = [mapping(*one) for one in ranges]

    return edit


def mapping(inside: int, host: int, size: int = 1) -> Config:
    """Return one range of ids."""
    return {"containerID": inside, "hostID": host, "size": size}


def give_to_mapped_root(rootfs: Path, reachable: bool = True) -> None:
    """Give the directories of a root file system to the mapped root, and the way there."""
    for place in (rootfs, *rootfs.iterdir()):
        os.chown(place, HOST, HOST, follow_symlinks=False)
    for place in rootfs.parents:
        if reachable and place.stat().st_mode & 0o077 == 0:
            place.chmod(0o711)


def mounts(*more: Config) -> Change:
    """Return a change that adds mounts behind the usual ones."""
    return lambda config: config["mounts"].extend(more)


def entry(destination: str, *options: str, kind: str = "tmpfs", source: object = "t") -> Config:
    """Return a mount, a tmpfs unless ``kind`` says otherwise."""
    given = {"destination": destination, "source": str(source), "options": list(options)}
    return {"type": kind, **given}


def bind(source: object, destination: str, *options: str, **more: object) -> Config:
    """Return a bind mount."""
    return {**entry(destination, *options, kind="bind", source=source), **more}


def without_dev(config: Config) -> None:
    """Leave /dev to the image."""
    config["mounts"] = [one for one in config["mounts"] if "/dev" not in one["destination"]]


def options_of(mountinfo: str, target: str) -> set[str]:
    """Return the options of the last mount at ``target``; those of its file system are super-…"""
    found: set[str] = set()
    for line in mountinfo.splitlines():
        words = line.split()
        if len(words) > 6 and words[4] == target:
            found = set(words[5].split(","))
            found |= {f"super-{option}" for option in words[-1].split(",")}
    assert found, f"nothing is mounted at {target}"
    return found
