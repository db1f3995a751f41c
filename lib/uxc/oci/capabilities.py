"""Names of capabilities and the bit masks that the kernel takes."""

# In the kernel's order (linux/capability.h): the position is the number.
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_BITS = {name: 1 << number for number, name in enumerate(NAMES)}

SYS_ADMIN = _BITS["CAP_SYS_ADMIN"]
SYS_PTRACE = _BITS["CAP_SYS_PTRACE"]


class CapabilitySets:
    """The five sets of a program as bit masks."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted")

    def __init__(
        self, bounding: int, permitted: int, inheritable: int, effective: int, ambient: int
    ):
        """Take the masks as they will be."""
        self.bounding = bounding
        self.permitted = permitted
        self.inheritable = inheritable
        self.effective = effective
        self.ambient = ambient


def mask(names: "list[str]", available: int, unknown: "set[str]") -> int:
    """Return the mask of ``names``; those not known or not ``available`` here go to ``unknown``.

    The specification wants a warning, not an error, for a capability that cannot be given
    (config.md, "capabilities").
    """
    bits = 0
    for name in names:
        bit = _BITS.get(name, 0)
        if bit & available:
            bits |= bit
        else:
            unknown.add(name)
    return bits
