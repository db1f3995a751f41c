"""The ``linux.seccomp`` object of config.json as typed values."""

from uxc.oci.spec_fields import (
    MAX_UINT16,
    MAX_UINT64,
    choices,
    items_of,
    need_choice,
    need_number,
    number,
    refuse,
    text,
    texts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_fields import Node

ACTIONS = (
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
)
# Actions whose return value has room for a number (seccomp(2), SECCOMP_RET_DATA).
ACTIONS_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
ARCHITECTURES = (
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
)
FLAGS = (
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)
OPERATORS = (
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)


class SyscallArg:
    """A condition on one argument of a system call, compared as an unsigned 64-bit number."""

    __slots__ = ("index", "op", "value", "value_two")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.index = need_number(node, "index", where, 0, 5)
        self.value = need_number(node, "value", where, 0, MAX_UINT64)
        self.value_two = number(node, "valueTwo", where, 0, MAX_UINT64) or 0
        self.op = need_choice(node, "op", where, OPERATORS)


class Syscall:
    """What is done for the system calls ``names`` when all of ``args`` hold."""

    __slots__ = ("action", "args", "errno_ret", "names")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.names = texts(node, "names", where)
        if not self.names:
            absent = node.get("names") is None
            refuse(where, "names", "is missing" if absent else "must not be empty")
        self.action = need_choice(node, "action", where, ACTIONS)
        self.errno_ret = _errno(node, "errnoRet", where, self.action)
        self.args = items_of(node, "args", where, SyscallArg)


class Seccomp:
    """The system call filter of the container."""

    __slots__ = (
        "architectures",
        "default_action",
        "default_errno_ret",
        "flags",
        "listener_metadata",
        "listener_path",
        "node",
        "syscalls",
        "where",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; both are kept, for its digest and for later errors."""
        self.node = node
        self.where = where
        self.default_action = need_choice(node, "defaultAction", where, ACTIONS)
        self.default_errno_ret = _errno(node, "defaultErrnoRet", where, self.default_action)
        self.architectures = choices(node, "architectures", where, ARCHITECTURES)
        self.flags = choices(node, "flags", where, FLAGS)
        self.listener_path = text(node, "listenerPath", where)
        self.listener_metadata = text(node, "listenerMetadata", where)
        if self.listener_metadata and not self.listener_path:
            absent = node.get("listenerPath") is None
            refuse(where, "listenerPath", "is missing" if absent else "must not be empty")
        self.syscalls = items_of(node, "syscalls", where, Syscall)


def _errno(node: "Node", key: str, where: str, action: str) -> "int | None":
    value = number(node, key, where, 0, MAX_UINT16)
    if value is not None and action not in ACTIONS_WITH_NUMBER:
        refuse(where, key, f"{action} takes no number")
    return value
