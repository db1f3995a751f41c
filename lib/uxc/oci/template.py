"""A config.json to begin with: a shell in namespaces of its own, with next to no privileges."""

from uxc import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The first release that has all that is below, and that procd's uxc takes as well.
_VERSION = "1.1.0"
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
_STRICT = ["nosuid", "noexec", "nodev"]
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
# In procfs and sysfs, what tells a container about its host, and what would change the host.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def config() -> "dict[str, Any]":
    """Return the document for a container that root runs."""
    return {
        "ociVersion": _VERSION,
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "uxc",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "env": [_PATH, "TERM=xterm"],
            "args": ["sh"],
            "capabilities": {
                kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
            "noNewPrivileges": True,
        },
        "mounts": _mounts(),
        "linux": {
            "namespaces": [{"type": kind} for kind in _NAMESPACES],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def _mounts() -> "list[dict[str, Any]]":
    return [
        _mount("/proc", "proc", []),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=1m"]),
        _mount(
            "/dev/pts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        # On a router all of this is RAM.
        _mount("/dev/shm", "tmpfs", [*_STRICT, "mode=1777", "size=16m"]),
        _mount("/dev/mqueue", "mqueue", _STRICT),
        _mount("/sys", "sysfs", [*_STRICT, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", [*_STRICT, "relatime", "ro"]),
    ]


def _mount(destination: str, kind: str, options: "list[str]") -> "dict[str, Any]":
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": kind}
    return {**mount, "options": list(options)} if options else mount


def rootless(config: "dict[str, Any]", uid: int, gid: int) -> "dict[str, Any]":
    """Return ``config`` as the user ``uid`` can run it: alone in a user namespace.

    Who is not root may not make a network that leads anywhere, mount a new sysfs into the host's
    network, give a terminal to a group that is not mapped, nor set limits.
    """
    linux = {key: value for key, value in config["linux"].items() if key != "resources"}
    kept = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    linux["namespaces"] = [*kept, {"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    mounts = []
    for mount in config["mounts"]:
        if mount["destination"] == "/sys":
            options = ["rbind", *_STRICT, "ro"]
            mount = {"destination": "/sys", "type": "none", "source": "/sys", "options": options}
        elif mount["destination"].startswith("/sys/"):
            # Comes along with the whole of /sys.
            continue
        elif "options" in mount:
            options = [one for one in mount["options"] if not one.startswith(("gid=", "uid="))]
            mount = {**mount, "options": options}
        mounts.append(mount)
    return {**config, "mounts": mounts, "linux": linux}


def text(value: object, indent: str = "") -> str:
    """Return ``value`` as JSON for people, who will edit it; ends with a line end at the top."""
    if not isinstance(value, list | dict) or not value:
        return jsontext.dumps(value)
    inner = indent + "\t"
    if isinstance(value, dict):
        parts = [f"{jsontext.dumps(key)}: {text(entry, inner)}" for key, entry in value.items()]
    else:
        parts = [text(entry, inner) for entry in value]
    flat = ", ".join(parts)
    # A short list of words is easier to read in a line.
    if isinstance(value, list) and "\n" not in flat and len(flat) < 70:
        return f"[{flat}]"
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = ",\n".join(inner + part for part in parts)
    return f"{opening}\n{lines}\n{indent}{closing}" + ("" if indent else "\n")
