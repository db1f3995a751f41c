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
# "defaults" is what is there without it. silent and loud are about the kernel's log, which a file
# system made by fsopen(2) does not write to.
WITHOUT_EFFECT = ("defaults", "silent", "loud")
# What mount(8) reads in fstab and never tells the kernel; so is all that begins with "x-".
FOR_FSTAB = ("auto", "noauto", "nofail", "_netdev", "nouser", "nousers", "nogroup", "noowner")
BINDS = {"bind": False, "rbind": True}
# Whether owners are mapped in the mounts below, too.
IDMAPS = {"idmap": False, "ridmap": True}
# Options that are no more than their name.
SWITCHES = {
    "remount": "remount",
    "tmpcopyup": "copy_up",
    # As crun has them: make a symbolic source again instead of mounting what it points to; mount a
    # symbolic source itself; mount on a symbolic link.
    "copy-symlink": "copy_symlink",
    "src-nofollow": "source_nofollow",
    "dest-nofollow": "destination_nofollow",
}


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

    def __and__(self, attributes: int) -> int:
        """Return those of ``attributes`` that change."""
        return (self.set | self.clear) & attributes

    def __bool__(self) -> bool:
        """Tell whether there is anything to change."""
        return bool(self.set or self.clear)


class Options:
    """The options of one mount, sorted by whom they are for."""

    __slots__ = (
        "bind",
        "change",
        "copy_symlink",
        "copy_up",
        "data",
        "destination_nofollow",
        "idmap",
        "idmap_recursive",
        "idmap_text",
        "iversion",
        "propagation",
        "recursive_bind",
        "recursive_change",
        "remount",
        "source_nofollow",
    )

    def __init__(self, options: "list[str]") -> None:
        """Sort ``options``; those that nobody knows are data for the file system."""
        self.bind = False
        self.recursive_bind = False
        self.change = Change()
        self.recursive_change = Change()
        self.propagation: list[tuple[int, bool]] = []
        self.data: list[str] = []
        self.remount = False
        self.copy_up = False
        self.copy_symlink = False
        self.source_nofollow = False
        self.destination_nofollow = False
        self.iversion = False
        self.idmap = False
        self.idmap_recursive = False
        # What follows "idmap=", see ``parse_idmap``.
        self.idmap_text = ""
        for option in options:
            self._add(option)

    def _add(self, option: str) -> None:
        name, _, value = option.partition("=")
        if option in ATTRIBUTES:
            self.change.add(ATTRIBUTES[option])
        elif option in BINDS:
            self.bind = True
            self.recursive_bind = self.recursive_bind or BINDS[option]
        elif option in PROPAGATIONS:
            self.propagation.append(PROPAGATIONS[option])
        elif option in RECURSIVE_ATTRIBUTES:
            self.recursive_change.add(RECURSIVE_ATTRIBUTES[option])
        elif option in SWITCHES:
            setattr(self, SWITCHES[option], True)
        elif option in ("iversion", "noiversion"):
            self.iversion = option == "iversion"
        elif name in IDMAPS:
            self.idmap = True
            self.idmap_recursive = self.idmap_recursive or IDMAPS[name]
            self.idmap_text = value
        elif option not in WITHOUT_EFFECT + FOR_FSTAB and not option.startswith("x-"):
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


def parse_idmap(text: str) -> "dict[str, list[tuple[bool, int, int, int]]]":
    """Read the mappings in ``idmap=uids=0-1000-1#…;gids=…``, as Podman hands them on to crun.

    Returns, for ``uids`` and ``gids``, (relative, on the disk, on the host, how many) each; a
    relative one begins with ``@`` and counts from the container's own ids. Raises ValueError.
    """
    found: dict[str, list[tuple[bool, int, int, int]]] = {}
    for part in text.split(";"):
        kind, _, ranges = part.partition("=")
        if kind not in ("uids", "gids") or kind in found:
            raise ValueError(part)
        found[kind] = []
        for one in ranges.split("#"):
            numbers = one.removeprefix("@").split("-")
            if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
                raise ValueError(part)
            inside, outside, size = map(int, numbers)
            found[kind].append((one.startswith("@"), inside, outside, size))
    if len(found) != 2:
        raise ValueError(text)
    return found
