"""A bundle's config.json with UCI's overrides on top: the effective one. Pure.

The bundle itself is never changed: the effective config.json stands in a directory of ours, so
what the original says relative to its own directory is made absolute here.
"""

from dataclasses import dataclass
from typing import Any

from uxc.config.models import Container

# What JSON holds; its shape was judged before it comes here.
Document = dict[str, Any]

# The kernel's default, and the one that crun and runc write (cgroup-v2, "cpu.max").
_CPU_PERIOD_US = 100_000

RESOLVER = "/etc/resolv.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What this machine adds to a container: each part is empty when it does not apply.

    ``network`` and ``user`` are the paths of the pinned namespaces, ``root`` the directory that
    shows the rootfs below an overlay, ``resolver`` the file to show as the container's resolv.conf.
    """

    bundle: str
    cgroup: str
    network: str = ""
    user: str = ""
    root: str = ""
    resolver: str = ""


def network_namespace(config: Document) -> tuple[bool, str]:
    """Return whether the bundle has a network namespace of its own, and the path it joins."""
    for entry in config.get("linux", {}).get("namespaces", ()):
        if entry.get("type") == "network":
            return True, str(entry.get("path", ""))
    return False, ""


def new_user_namespace(config: Document) -> Document:
    """Return the maps of the user namespace that the bundle wants made; empty if none."""
    linux = config.get("linux", {})
    for entry in linux.get("namespaces", ()):
        if entry.get("type") == "user" and not entry.get("path"):
            return {key: linux.get(key, []) for key in ("uidMappings", "gidMappings")}
    return {}


def effective(config: Document, container: Container, around: Surroundings) -> Document:
    """Return ``config`` as ``container`` is to run on this machine; the arguments stay as is."""
    result = dict(config)
    root = dict(config["root"])
    root["path"] = around.root or _absolute(root["path"], around.bundle)
    result["root"] = root
    result["mounts"] = _mounts(config, container, around)
    if "process" in config:
        result["process"] = _process(config["process"], container)
    result["linux"] = _linux(config.get("linux", {}), container, around)
    return result


def _absolute(path: str, bundle: str) -> str:
    return path if path.startswith("/") else f"{bundle}/{path}"


def _mounts(config: Document, container: Container, around: Surroundings) -> list[Document]:
    mounts = [_anchored(entry, around.bundle) for entry in config.get("mounts", ())]
    mounts += (
        {
            "destination": entry.destination,
            "type": "bind",
            "source": entry.source,
            "options": list(entry.options),
        }
        for entry in container.mounts
    )
    if around.resolver:
        mounts.append(
            {
                "destination": RESOLVER,
                "type": "bind",
                "source": around.resolver,
                "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
            }
        )
    return mounts


def is_bind(mount: Document) -> bool:
    """Whether ``mount`` shows a path of the host (runtime-spec, "Mounts")."""
    options = mount.get("options", ())
    return mount.get("type") == "bind" or "bind" in options or "rbind" in options


def _anchored(mount: Document, bundle: str) -> Document:
    source = mount.get("source", "")
    # Only a bind mount's source is a path; "proc" and "tmpfs" are names (runtime-spec, "Mounts").
    if not source or source.startswith("/") or not is_bind(mount):
        return mount
    return {**mount, "source": _absolute(source, bundle)}


def _process(process: Document, container: Container) -> Document:
    result = dict(process)
    if container.env:
        ours = {entry.partition("=")[0]: entry for entry in container.env}
        theirs = [entry for entry in process.get("env", ()) if entry.partition("=")[0] not in ours]
        result["env"] = [*theirs, *ours.values()]
    if container.console is not None:
        result["terminal"] = container.console
    return result


def _linux(linux: Document, container: Container, around: Surroundings) -> Document:
    result = dict(linux)
    result["cgroupsPath"] = around.cgroup
    pinned = {"network": around.network, "user": around.user}
    if around.network:
        result["namespaces"] = [
            {**entry, "path": pinned[entry["type"]]} if pinned.get(entry.get("type")) else entry
            for entry in linux.get("namespaces", ())
        ]
    resources = _resources(linux.get("resources", {}), container)
    if resources:
        result["resources"] = resources
    return result


def _resources(resources: Document, container: Container) -> Document:
    result = dict(resources)
    if container.memory_bytes is not None:
        limit = container.memory_bytes
        memory = {**resources.get("memory", {}), "limit": limit}
        # Both are bounded by the limit (runtime-spec, "Memory"); the bundle's own may not be.
        if 0 <= memory.get("swap", -1) < limit:
            memory["swap"] = limit
        if memory.get("reservation", 0) > limit:
            memory["reservation"] = limit
        result["memory"] = memory
    if container.cpus is not None:
        cpu = dict(resources.get("cpu", {}))
        cpu["period"] = _CPU_PERIOD_US
        cpu["quota"] = round(container.cpus * _CPU_PERIOD_US)
        # A burst above the quota is refused (cgroup-v2, "cpu.max.burst").
        if cpu.get("burst", 0) > cpu["quota"]:
            cpu["burst"] = cpu["quota"]
        result["cpu"] = cpu
    if container.pids is not None:
        result["pids"] = {"limit": container.pids}
    return result
