"""What the child will do, resolved from the specification before anything is made.

After the clone there are no imports, no look-ups of names and no host paths beyond the ones in
here; a bundle that asks for what is not done is refused here, by its JSON path.
"""

import posix

from uxc.errors import InvalidError, MissingError
from uxc.linux import const
from uxc.oci import capabilities, mountoptions, mountplan
from uxc.oci.idmaps import Maps
from uxc.oci.spec_fields import quoted
from uxc.oci.spec_linux import sysctl_namespace, sysctl_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.attributes import Attributes
    from uxc.oci.lsm import Labels
    from uxc.oci.spec import Spec
    from uxc.oci.spec_linux import Device, Linux
    from uxc.oci.spec_process import Process

SOURCE = "config.json"
_RESCTRL = "/sys/fs/resctrl"

# Namespace type → (name in /proc/PID/ns, CLONE_NEW*).
NAMESPACES = {
    "user": ("user", const.CLONE_NEWUSER),
    "time": ("time", const.CLONE_NEWTIME),
    "pid": ("pid", const.CLONE_NEWPID),
    "ipc": ("ipc", const.CLONE_NEWIPC),
    "uts": ("uts", const.CLONE_NEWUTS),
    "network": ("net", const.CLONE_NEWNET),
    "cgroup": ("cgroup", const.CLONE_NEWCGROUP),
    "mount": ("mnt", const.CLONE_NEWNS),
}
# config-linux.md, "Default Devices": always there, whatever the bundle lists.
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
DEVICE_MODE = 0o666
_DEVICE_TYPES = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}

# Kernel numbers of the limits (asm-generic/resource.h), and the five that differ on mips.
_LIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_LIMITS_MIPS = {
    "RLIMIT_NOFILE": 5,
    "RLIMIT_AS": 6,
    "RLIMIT_RSS": 7,
    "RLIMIT_NPROC": 8,
    "RLIMIT_MEMLOCK": 9,
}


class DeviceStep:
    """One device node to make: ``mode`` holds the type as well."""

    __slots__ = ("gid", "major", "minor", "mode", "path", "uid")

    def __init__(self, path: str, mode: int, major: int, minor: int, uid: int, gid: int) -> None:
        """Keep the node's attributes as mknod(2) and chown(2) take them."""
        self.path = path
        self.mode = mode
        self.major = major
        self.minor = minor
        self.uid = uid
        self.gid = gid


class ProgramPlan:
    """The program, and what it may do."""

    __slots__ = (
        "additional_gids",
        "arguments",
        "attributes",
        "console_size",
        "cwd",
        "environment",
        "final_cpus",
        "gid",
        "initial_cpus",
        "labels",
        "limits",
        "no_new_privileges",
        "oom_score_adj",
        "search_path",
        "sets",
        "terminal",
        "uid",
        "umask",
    )

    def __init__(
        self, process: "Process", linux: "Linux", available: int, warnings: "list[str]"
    ) -> None:
        """Resolve ``process`` for a runtime that has the capabilities ``available``.

        ``linux`` is the container's: some of it is about its programs.
        """
        where = f"{SOURCE}: process"
        self.terminal = process.terminal
        self.console_size = process.console_size
        self.cwd = process.cwd
        self.arguments = _strings(process.args, f"{where}.args")
        self.environment = _strings(process.env, f"{where}.env")
        self.search_path = _search_path(self.environment)
        self.uid = process.user.uid
        self.gid = process.user.gid
        self.umask = 0o022 if process.user.umask is None else process.user.umask & 0o777
        self.additional_gids = process.user.additional_gids
        self.limits = _limits(process, f"{where}.rlimits")
        self.oom_score_adj = process.oom_score_adj
        self.no_new_privileges = process.no_new_privileges
        self.sets = _capability_sets(process, available, warnings)
        self.attributes = _attributes(process, linux)
        self.labels = _labels(process)
        # For a program that joins the container: before and after it enters the cgroup.
        self.initial_cpus, self.final_cpus = _affinity(process)


class Plan:
    """Everything that create does, except the cgroup."""

    __slots__ = (
        "devices",
        "domainname",
        "hooks",
        "hostname",
        "joined",
        "maps",
        "masked_paths",
        "mounts",
        "net_devices",
        "new_flags",
        "program",
        "propagation",
        "readonly_paths",
        "readonly_root",
        "rootfs",
        "settings",
        "sysctls",
        "time_offsets",
        "user_namespace",
    )

    def __init__(self, spec: "Spec", bundle: str, available: int, warnings: "list[str]") -> None:
        """Resolve ``spec``; raises InvalidError for what is wrong or not supported.

        ``available`` is the mask of capabilities that can be given. Sentences for ``warnings`` are
        appended to it.
        """
        refuse_unsupported(spec)
        linux, process = spec.linux, spec.process
        self.rootfs = _rootfs(spec.root.path, bundle)
        self.readonly_root = spec.root.readonly
        self.propagation = mountoptions.PROPAGATIONS.get(linux.rootfs_propagation)
        labelled = bool(linux.mount_label) and mountplan.knows_labels()
        if linux.mount_label and not labelled:
            warnings.append(
                f"{SOURCE}: linux.mountLabel: has no effect in a kernel without SELinux"
            )
        self.mounts = [
            mountplan.resolve(index, one, bundle, linux, labelled)
            for index, one in enumerate(spec.mounts)
        ]
        self.masked_paths = linux.masked_paths
        self.readonly_paths = linux.readonly_paths
        self.devices = _devices(linux.devices)
        self.hostname = spec.hostname
        self.domainname = spec.domainname
        self.sysctls = [(sysctl_path(key), value) for key, value in linux.sysctl.items()]
        self.settings = _settings(spec)
        self.time_offsets = linux.time_offsets
        self.new_flags = 0
        self.joined: list[tuple[str, str, int]] = []
        for space in linux.namespaces:
            name, flag = NAMESPACES[space.type]
            if space.path:
                self.joined.append((space.path, name, flag))
            else:
                self.new_flags |= flag
        self.maps = _maps(linux)
        self.user_namespace = linux.namespace("user") is not None
        self.hooks = spec.hooks
        self.net_devices = linux.net_devices
        # None: nothing can be started, and a child that waits stands for the container.
        self.program = None if process is None else ProgramPlan(process, linux, available, warnings)

    @property
    def labels_exec(self) -> bool:
        """Whether a security module labels the program at its execve."""
        return self.program is not None and self.program.labels is not None

    @property
    def wants_terminal(self) -> bool:
        """Whether the program gets a terminal."""
        return self.program is not None and self.program.terminal

    @property
    def meets(self) -> bool:
        """Whether the maker has something to do between the mounts and the first program."""
        hooks = self.hooks
        return bool(
            self.net_devices
            or hooks.prestart
            or hooks.create_runtime
            or hooks.create_container
            or hooks.start_container
        )

    @property
    def takes_time(self) -> bool:
        """Whether the making waits for other programs, or for disks that may hang."""
        return self.meets or self.wants_trees or bool(self.hooks.poststop)

    @property
    def wants_trees(self) -> bool:
        """Whether the maker has to open mounts for the child (``trees.open_trees``)."""
        return (
            self.user_namespace
            or self.shares_mounts
            or any(step.options.idmap for step in self.mounts)
        )

    @property
    def shares_mounts(self) -> bool:
        """Whether the container is in the mount namespace of its maker."""
        return not (self.new_flags & const.CLONE_NEWNS or self.joins(const.CLONE_NEWNS))

    def joins(self, flag: int) -> bool:
        """Tell whether the container joins an existing namespace of this type."""
        return any(joined == flag for _, _, joined in self.joined)


def refuse_unsupported(spec: "Spec") -> None:
    """Raise InvalidError, naming the JSON path, for a property that this runtime does not do."""
    linux = spec.linux
    if linux.intel_rdt is not None:
        # Also an empty object: it asks for a group of the container's own (config-linux.md).
        if not posix.access(f"{_RESCTRL}/schemata", posix.F_OK):
            raise MissingError(
                f"{SOURCE}: linux.intelRdt: no resctrl file system is mounted at {_RESCTRL}"
            )
        raise InvalidError(
            f"{SOURCE}: linux.intelRdt: is not supported",
            f"leave it out, and write the container's pid into a group of {_RESCTRL} by a hook",
        )
    time = linux.namespace("time")
    if linux.time_offsets and time is not None and time.path:
        raise InvalidError(
            f"{SOURCE}: linux.timeOffsets: {time.path} has its offsets already",
            "leave out the offsets, or the path of the time namespace",
        )
    if linux.namespace("mount") is None and linux.namespace("user") is not None:
        raise InvalidError(
            f"{SOURCE}: linux.namespaces: a user namespace needs a mount namespace: its root may "
            "not mount anything in the host's"
        )


def _settings(spec: "Spec") -> "dict[int, str]":
    """Return what changes the namespace of each CLONE_NEW* type, by JSON path."""
    found = {}
    for key in spec.linux.sysctl:
        found[NAMESPACES[sysctl_namespace(key)][1]] = f"linux.sysctl[{quoted(key)}]"
    if spec.hostname or spec.domainname:
        found[const.CLONE_NEWUTS] = "hostname" if spec.hostname else "domainname"
    return found


def _limits(process: "Process", where: str) -> "list[tuple[int, int, int]]":
    for index, limit in enumerate(process.rlimits):
        if limit.soft > limit.hard:
            raise InvalidError(f"{where}[{index}].soft: must not be above the hard limit")
    return [
        (limit_number(limit.type, const.ABI), limit.soft, limit.hard) for limit in process.rlimits
    ]


def limit_number(name: str, abi: str) -> int:
    """Return the kernel's number of the limit ``name``; mips numbers five of them differently."""
    if abi in ("o32", "n64") and name in _LIMITS_MIPS:
        return _LIMITS_MIPS[name]
    return _LIMITS[name]


def _strings(texts: "list[str]", where: str) -> "list[bytes]":
    strings = []
    for index, text in enumerate(texts):
        if "\0" in text:
            raise InvalidError(f"{where}[{index}]: must not hold a NUL character")
        try:
            strings.append(text.encode())
        except UnicodeEncodeError:
            raise InvalidError(f"{where}[{index}]: holds half of a surrogate pair") from None
    return strings


def _search_path(environment: "list[bytes]") -> "list[bytes]":
    """Return the directories of the container's own PATH; the last of several counts."""
    for entry in reversed(environment):
        if entry.startswith(b"PATH="):
            return entry[5:].split(b":")
    return []


def _capability_sets(
    process: "Process", available: int, warnings: "list[str]"
) -> capabilities.CapabilitySets:
    """Resolve the names; a bundle without the object gets none, as with every other runtime."""
    wanted = process.capabilities
    if wanted is None:
        return capabilities.CapabilitySets(0, 0, 0, 0, 0)
    unknown: set[str] = set()
    masks = [
        capabilities.mask(names, available, unknown)
        for names in (
            wanted.bounding,
            wanted.permitted,
            wanted.inheritable,
            wanted.effective,
            wanted.ambient,
        )
    ]
    for name in sorted(unknown):
        warnings.append(f"{SOURCE}: process.capabilities: {name} cannot be given here")
    bounding, permitted, inheritable, effective, ambient = masks
    if effective & ~permitted:
        warnings.append(f"{SOURCE}: process.capabilities.effective: holds more than is permitted")
    # capabilities(7): the kernel would refuse the whole call. No warning for ambient ones: what
    # "runc spec" writes has them without the inheritable ones that they need.
    return capabilities.CapabilitySets(
        bounding,
        permitted,
        inheritable,
        effective & permitted,
        ambient & permitted & inheritable,
    )


def _attributes(process: "Process", linux: "Linux") -> "Attributes | None":
    if not (process.scheduler or process.io_priority or linux.personality or linux.memory_policy):
        return None
    from uxc.oci import attributes

    return attributes.resolve(process, linux, SOURCE)


def _labels(process: "Process") -> "Labels | None":
    if not (process.apparmor_profile or process.selinux_label):
        return None
    from uxc.oci import lsm

    lsm.check(process, f"{SOURCE}: process")
    return lsm.Labels(process)


def _affinity(process: "Process") -> "tuple[list[int], list[int]]":
    wanted = process.exec_cpu_affinity
    if wanted is None:
        return [], []
    from uxc.oci import attributes

    where = f"{SOURCE}: process.execCPUAffinity"
    return (
        attributes.cpu_list(wanted.initial, f"{where}.initial"),
        attributes.cpu_list(wanted.final, f"{where}.final"),
    )


def _maps(linux: "Linux") -> "Maps | None":
    for space in linux.namespaces:
        if space.type == "user" and not space.path:
            return Maps(linux.uid_mappings, linux.gid_mappings)
    return None


def _rootfs(path: str, bundle: str) -> str:
    # Not looked at here: a file system that hangs must hang nobody but the container.
    return path if path.startswith("/") else f"{bundle}/{path}"


def _devices(listed: "list[Device]") -> "list[DeviceStep]":
    steps = {
        path: DeviceStep(path, 0o020000 | DEVICE_MODE, major, minor, 0, 0)
        for path, major, minor in DEFAULT_DEVICES
    }
    for device in listed:
        mode = DEVICE_MODE if device.file_mode is None else device.file_mode & 0o7777
        steps[device.path] = DeviceStep(
            device.path,
            _DEVICE_TYPES[device.type] | mode,
            device.major,
            device.minor,
            device.uid or 0,
            device.gid or 0,
        )
    return list(steps.values())
