"""The ``process`` object of config.json, also read by ``exec --process``, as typed values."""

from uxc.oci.spec_fields import (
    MAX_UINT16,
    MAX_UINT32,
    MAX_UINT64,
    absolute_path,
    flag,
    items_of,
    member,
    need_choice,
    need_number,
    node_of,
    number,
    numbers,
    refuse,
    refuse_repeated,
    text,
    texts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_fields import Node
    from uxc.oci.spec_rare import CPUAffinity, IOPriority, Scheduler

# getrlimit(2).
RLIMITS = (
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
)


class User:
    """Whom the process runs as, by numbers of the container's user namespace.

    A missing uid or gid is 0, as for every runtime that decodes into Go's or C's structures.
    """

    __slots__ = ("additional_gids", "gid", "uid", "umask")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.uid = number(node, "uid", where, 0, MAX_UINT32) or 0
        self.gid = number(node, "gid", where, 0, MAX_UINT32) or 0
        self.umask = number(node, "umask", where, 0, MAX_UINT32)
        self.additional_gids = numbers(node, "additionalGids", where, 0, MAX_UINT32)


class Capabilities:
    """The five sets, as lists of names; unknown names are let through (a warning)."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.bounding = texts(node, "bounding", where)
        self.effective = texts(node, "effective", where)
        self.inheritable = texts(node, "inheritable", where)
        self.permitted = texts(node, "permitted", where)
        self.ambient = texts(node, "ambient", where)


class Rlimit:
    """One resource limit; 2**64 - 1 is no limit."""

    __slots__ = ("hard", "soft", "type")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.type = need_choice(node, "type", where, RLIMITS)
        self.soft = need_number(node, "soft", where, 0, MAX_UINT64)
        self.hard = need_number(node, "hard", where, 0, MAX_UINT64)


class Process:
    """What runs in the container, and with which rights."""

    __slots__ = (
        "apparmor_profile",
        "args",
        "capabilities",
        "console_size",
        "cwd",
        "env",
        "exec_cpu_affinity",
        "io_priority",
        "no_new_privileges",
        "oom_score_adj",
        "rlimits",
        "scheduler",
        "selinux_label",
        "terminal",
        "user",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.terminal = flag(node, "terminal", where)
        self.console_size = _console_size(node, where)
        self.cwd = absolute_path(node, "cwd", where)
        self.env = texts(node, "env", where)
        self.args = texts(node, "args", where)
        if not self.args:
            refuse(where, "args", "is missing" if node.get("args") is None else "must not be empty")
        self.user = User(node_of(node, "user", where) or {}, member(where, "user"))
        sets = node_of(node, "capabilities", where)
        self.capabilities = (
            None if sets is None else Capabilities(sets, member(where, "capabilities"))
        )
        self.rlimits = items_of(node, "rlimits", where, Rlimit)
        if len(self.rlimits) > 1:
            refuse_repeated([limit.type for limit in self.rlimits], "rlimits", "type", where)
        self.no_new_privileges = flag(node, "noNewPrivileges", where)
        self.oom_score_adj = number(node, "oomScoreAdj", where, -1000, 1000)
        self.apparmor_profile = text(node, "apparmorProfile", where)
        self.selinux_label = text(node, "selinuxLabel", where)
        self.scheduler: Scheduler | None = None
        self.io_priority: IOPriority | None = None
        self.exec_cpu_affinity: CPUAffinity | None = None
        if "scheduler" in node or "ioPriority" in node or "execCPUAffinity" in node:
            # Hardly any bundle has these; without them their classes are never made.
            from uxc.oci import spec_rare

            scheduler = node_of(node, "scheduler", where)
            if scheduler is not None:
                self.scheduler = spec_rare.Scheduler(scheduler, member(where, "scheduler"))
            priority = node_of(node, "ioPriority", where)
            if priority is not None:
                self.io_priority = spec_rare.IOPriority(priority, member(where, "ioPriority"))
            affinity = node_of(node, "execCPUAffinity", where)
            if affinity is not None:
                path = member(where, "execCPUAffinity")
                self.exec_cpu_affinity = spec_rare.CPUAffinity(affinity, path)


def _console_size(node: "Node", where: str) -> "tuple[int, int] | None":
    size = node_of(node, "consoleSize", where)
    if size is None:
        return None
    # struct winsize has 16 bits for each.
    path = member(where, "consoleSize")
    return (
        need_number(size, "height", path, 0, MAX_UINT16),
        need_number(size, "width", path, 0, MAX_UINT16),
    )
