"""The ``linux`` object of config.json as typed values."""

from uxc.oci.spec_fields import (
    MAX_INT64,
    MAX_UINT32,
    absolute_path,
    absolute_paths,
    entries_of,
    items_of,
    member,
    need_choice,
    need_number,
    node_of,
    number,
    one_of,
    refuse,
    refuse_repeated,
    text,
    text_entries,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_fields import Node
    from uxc.oci.spec_rare import IntelRdt, MemoryPolicy, Personality
    from uxc.oci.spec_resources import Resources
    from uxc.oci.spec_seccomp import Seccomp

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
DEVICE_TYPES = ("c", "b", "u", "p")
CLOCKS = ("monotonic", "boottime")
PROPAGATIONS = (
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
)

# The System V and message queue settings that belong to an ipc namespace (ipc_namespaces(7)).
_IPC_SYSCTLS = (
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
)


class Namespace:
    """One namespace of the container: new, or the one that ``path`` names."""

    __slots__ = ("path", "type")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.type = need_choice(node, "type", where, NAMESPACES)
        self.path = text(node, "path", where)
        if self.path and self.path[0] != "/":
            refuse(where, "path", "must be an absolute path")


class IDMapping:
    """A range of user or group ids: ``size`` of them from two starting points."""

    __slots__ = ("container_id", "host_id", "size")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.container_id = need_number(node, "containerID", where, 0, MAX_UINT32)
        self.host_id = need_number(node, "hostID", where, 0, MAX_UINT32)
        self.size = need_number(node, "size", where, 1, MAX_UINT32)


class Device:
    """A device node to be made in the container."""

    __slots__ = ("file_mode", "gid", "major", "minor", "path", "type", "uid")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.type = need_choice(node, "type", where, DEVICE_TYPES)
        self.path = absolute_path(node, "path", where)
        read = number if self.type == "p" else need_number
        self.major = read(node, "major", where, 0, MAX_UINT32) or 0
        self.minor = read(node, "minor", where, 0, MAX_UINT32) or 0
        self.file_mode = number(node, "fileMode", where, 0, MAX_UINT32)
        self.uid = number(node, "uid", where, 0, MAX_UINT32)
        self.gid = number(node, "gid", where, 0, MAX_UINT32)


class Linux:
    """Everything that only Linux containers have."""

    __slots__ = (
        "cgroups_path",
        "devices",
        "gid_mappings",
        "intel_rdt",
        "masked_paths",
        "memory_policy",
        "mount_label",
        "namespaces",
        "net_devices",
        "personality",
        "readonly_paths",
        "resources",
        "rootfs_propagation",
        "seccomp",
        "sysctl",
        "time_offsets",
        "uid_mappings",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.namespaces = items_of(node, "namespaces", where, Namespace)
        refuse_repeated([space.type for space in self.namespaces], "namespaces", "type", where)
        self.uid_mappings = items_of(node, "uidMappings", where, IDMapping)
        self.gid_mappings = items_of(node, "gidMappings", where, IDMapping)
        self.time_offsets = _time_offsets(node, where)
        self.devices = items_of(node, "devices", where, Device)
        self.net_devices = entries_of(node, "netDevices", where, _net_device)
        for name in self.net_devices:
            if not _is_link_name(name):
                refuse(member(where, "netDevices"), name, _LINK_NAME)
        self.cgroups_path = text(node, "cgroupsPath", where)
        if "/../" in f"/{self.cgroups_path}/":
            refuse(where, "cgroupsPath", "must not contain '..'")
        self.rootfs_propagation = ""
        if node.get("rootfsPropagation", "") not in ("", None):
            self.rootfs_propagation = need_choice(node, "rootfsPropagation", where, PROPAGATIONS)
        self.sysctl = text_entries(node, "sysctl", where)
        self.masked_paths = absolute_paths(node, "maskedPaths", where)
        self.readonly_paths = absolute_paths(node, "readonlyPaths", where)
        self.mount_label = text(node, "mountLabel", where)
        self.resources = _resources(node, where)
        self.seccomp = _seccomp(node, where)
        self.intel_rdt: IntelRdt | None = None
        self.memory_policy: MemoryPolicy | None = None
        self.personality: Personality | None = None
        if "intelRdt" in node or "memoryPolicy" in node or "personality" in node:
            self._read_rare(node, where)

    def _read_rare(self, node: "Node", where: str) -> None:
        from uxc.oci import spec_rare

        rdt = node_of(node, "intelRdt", where)
        if rdt is not None:
            self.intel_rdt = spec_rare.IntelRdt(rdt, f"{where}.intelRdt")
        policy = node_of(node, "memoryPolicy", where)
        if policy is not None:
            self.memory_policy = spec_rare.MemoryPolicy(policy, f"{where}.memoryPolicy")
        personality = node_of(node, "personality", where)
        if personality is not None:
            self.personality = spec_rare.Personality(personality, f"{where}.personality")

    def namespace(self, kind: str) -> "Namespace | None":
        """Return the container's own namespace of the type ``kind``, None when it has none."""
        for space in self.namespaces:
            if space.type == kind:
                return space
        return None


# The biggest objects are in modules of their own, so that a bundle without them never loads them.
def _resources(node: "Node", where: str) -> "Resources | None":
    resources = node_of(node, "resources", where)
    if resources is None:
        return None
    from uxc.oci.spec_resources import Resources

    return Resources(resources, f"{where}.resources")


def _seccomp(node: "Node", where: str) -> "Seccomp | None":
    seccomp = node_of(node, "seccomp", where)
    if seccomp is None:
        return None
    from uxc.oci.spec_seccomp import Seccomp

    return Seccomp(seccomp, f"{where}.seccomp")


def _time_offset(node: "Node", where: str) -> "tuple[int, int]":
    return (
        number(node, "secs", where, -MAX_INT64 - 1, MAX_INT64) or 0,
        number(node, "nanosecs", where, 0, 999_999_999) or 0,
    )


def _time_offsets(node: "Node", where: str) -> "dict[str, tuple[int, int]]":
    offsets = entries_of(node, "timeOffsets", where, _time_offset)
    for clock in offsets:
        if clock not in CLOCKS:
            refuse(member(where, "timeOffsets"), clock, one_of(CLOCKS))
    return offsets


_LINK_NAME = "must be an interface name: 1 to 15 printable characters without '/' and ':'"


def _is_link_name(name: str) -> bool:
    # dev_valid_name() of the kernel, held to ASCII.
    return (
        len(name) < 16
        and name not in (".", "..")
        and all("!" <= char <= "~" and char not in "/:" for char in name)
    )


def _net_device(node: "Node", where: str) -> str:
    name = text(node, "name", where)
    if not _is_link_name(name):
        refuse(where, "name", _LINK_NAME)
    return name


def sysctl_path(key: str) -> str:
    """Return the path of the setting ``key`` below /proc/sys, empty when it cannot be one.

    As in sysctl(8), whichever of '.' and '/' comes first separates the parts.
    """
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        key = key.replace(".", "\0").replace("/", ".").replace("\0", "/")
    parts = key.split("/")
    return "" if "" in parts or "." in parts or ".." in parts else key


def sysctl_namespace(key: str) -> str:
    """Return the type of the namespace that the setting ``key`` belongs to, empty for the host's.

    kernel.hostname is left out: ``hostname`` sets it, and two masters would fight over it.
    """
    path = sysctl_path(key)
    if path.startswith("net/"):
        return "network"
    if path.startswith("fs/mqueue/") or path in _IPC_SYSCTLS:
        return "ipc"
    return "uts" if path == "kernel/domainname" else ""
