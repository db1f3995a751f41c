"""What each option in ``mounts[].options`` means (config.md, "Linux mount options")."""

from uxc.linux import const

# Option → (MOUNT_ATTR_* to set, MOUNT_ATTR_* to clear). Access times are one field of several
# bits; relatime is the kernel's default and what "not the other kind" comes back to.
_ATIME = const.MOUNT_ATTR__ATIME
ATTRIBUTES = {
    "ro": (const.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, const.MOUNT_ATTR_RDONLY),
    "nosuid": (const.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, const.MOUNT_ATTR_NOSUID),
    "nodev": (const.MOUNT_ATTR_NODEV, 0),
    "dev": (0, const.MOUNT_ATTR_NODEV),
    "noexec": (const.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, const.MOUNT_ATTR_NOEXEC),
    "nodiratime": (const.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, const.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (const.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, const.MOUNT_ATTR_NOSYMFOLLOW),
    "noatime": (const.MOUNT_ATTR_NOATIME, _ATIME),
    "atime": (const.MOUNT_ATTR_RELATIME, _ATIME),
    "relatime": (const.MOUNT_ATTR_RELATIME, _ATIME),
    "norelatime": (const.MOUNT_ATTR_RELATIME, _ATIME),
    "strictatime": (const.MOUNT_ATTR_STRICTATIME, _ATIME),
    "nostrictatime": (const.MOUNT_ATTR_RELATIME, _ATIME),
}
# The same for a mount and everything below it.
RECURSIVE_ATTRIBUTES = {"r" + name: change for name, change in ATTRIBUTES.items()}

PROPAGATIONS = {
    "private": (const.MS_PRIVATE, False),
    "rprivate": (const.MS_PRIVATE, True),
    "shared": (const.MS_SHARED, False),
    "rshared": (const.MS_SHARED, True),
    "slave": (const.MS_SLAVE, False),
    "rslave": (const.MS_SLAVE, True),
    "unbindable": (const.MS_UNBINDABLE, False),
    "runbindable": (const.MS_UNBINDABLE, True),
}

# Flags of the superblock; a bind mount has none of its own, and the kernel ignores them there.
SUPERBLOCK = ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand")
# "defaults" is what is there without it; the others only steer the kernel's log, or say what
# holds anyhow.
WITHOUT_EFFECT = ("defaults", "silent", "loud", "noiversion")
BINDS = {"bind": False, "rbind": True}
NOT_YET = ("remount", "iversion", "tmpcopyup", "idmap", "ridmap")


class Change:
    """Attributes to set and to clear, in the order in which the options came."""

    __slots__ = ("clear", "set")

    def __init__(self) -> None:
        """Start with no change."""
        self.set = 0
        self.clear = 0

    def add(self, change: "tuple[int, int]") -> None:
        """Let ``change`` win over what came before."""
        set_, clear = change
        self.set = (self.set & ~clear) | set_
        self.clear = (self.clear & ~set_) | clear

    def __bool__(self) -> bool:
        """Tell whether there is anything to change."""
        return bool(self.set or self.clear)


class Options:
    """The options of one mount, sorted by whom they are for."""

    __slots__ = ("bind", "change", "data", "propagation", "recursive_bind", "recursive_change")

    def __init__(self, options: "list[str]") -> None:
        """Sort ``options``; those that nobody knows are data for the file system.

        Raises ValueError with the index of an option that is not supported.
        """
        self.bind = False
        self.recursive_bind = False
        self.change = Change()
        self.recursive_change = Change()
        self.propagation: list[tuple[int, bool]] = []
        self.data: list[str] = []
        for index, option in enumerate(options):
            if option in ATTRIBUTES:
                self.change.add(ATTRIBUTES[option])
            elif option in BINDS:
                self.bind = True
                self.recursive_bind = BINDS[option]
            elif option in PROPAGATIONS:
                self.propagation.append(PROPAGATIONS[option])
            elif option in RECURSIVE_ATTRIBUTES:
                self.recursive_change.add(RECURSIVE_ATTRIBUTES[option])
            elif option in NOT_YET:
                raise ValueError(index)
            elif option not in WITHOUT_EFFECT:
                self.data += split_data(option)

    @property
    def read_only(self) -> bool:
        """Tell whether the mount itself ends up read-only."""
        return bool(self.change.set & const.MOUNT_ATTR_RDONLY)


def split_data(text: str) -> "list[str]":
    r"""Split mount data at its commas, but not in double quotes nor after a backslash.

    A quoted value (an SELinux context has commas) loses its quotes; ``\,`` stays as it is, for
    overlayfs to read.
    """
    parts = [""]
    quoted = escaped = False
    for char in text:
        if char == '"' and not escaped:
            quoted = not quoted
            continue
        if char == "," and not quoted and not escaped:
            parts.append("")
        else:
            parts[-1] += char
        escaped = char == "\\" and not escaped
    return [part for part in parts if part]
