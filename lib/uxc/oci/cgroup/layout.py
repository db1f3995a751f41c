"""Which cgroup hierarchies this machine has, and where they are mounted (cgroups(7)).

Three layouts exist: one v2 tree with all controllers (every OpenWrt since 22.03), v1 hierarchies
only, and the hybrid: controllers on v1 hierarchies beside a v2 tree that has none or a few.
"""

from uxc import files

# Hierarchies of v1 that exist on their own and can count and stop processes, best first.
_TRACKERS = ("freezer", "pids", "devices", "memory", "cpu", "name=systemd")
_NAMES = {"io": "blkio"}


class Layout:
    """Mount points: ``unified`` of the v2 tree (or empty), ``v1`` by controller or ``name=…``."""

    __slots__ = ("_controllers", "unified", "v1")

    def __init__(self, unified: str, v1: "dict[str, str]") -> None:
        """Keep absolute paths without a trailing slash."""
        self.unified = unified
        self.v1 = v1
        self._controllers: tuple[str, ...] | None = None

    @property
    def controllers(self) -> "tuple[str, ...]":
        """The controllers that the v2 tree has at its root; OSError when they cannot be read."""
        if self._controllers is None:
            self._controllers = (
                read_words(self.unified + "/cgroup.controllers") if self.unified else ()
            )
        return self._controllers

    def version_of(self, controller: str) -> int:
        """Return the version (1 or 2) that ``controller`` (v2's name) is bound to, 0 for none."""
        if _NAMES.get(controller, controller) in self.v1:
            return 1
        return 2 if controller in self.controllers else 0

    def mount_of(self, controller: str) -> str:
        """Return where the v1 hierarchy of ``controller`` (v2's name) is mounted; KeyError."""
        return self.v1[_NAMES.get(controller, controller)]

    def tracker(self) -> str:
        """Return the v1 hierarchy that knows the processes where no v2 tree is, empty for none."""
        return next((name for name in _TRACKERS if name in self.v1), "")


def read_words(path: str) -> "tuple[str, ...]":
    """Return the words in a small cgroup file; OSError."""
    return tuple(files.read_bytes(path).decode().split())


def parse(mountinfo: str) -> Layout:
    """Return the layout that the text of a mountinfo file (proc(5)) describes."""
    unified = ""
    v1: dict[str, str] = {}
    mounts = _near_cgroups(mountinfo.splitlines())
    hidden = _hidden(mounts)
    for words in mounts:
        at = words.index("-") if "-" in words else len(words)
        kind = " ".join(words[at + 1 :])
        if not kind.startswith("cgroup") or words[0] in hidden:
            continue
        kind = kind.removeprefix("cgroup")
        # Field 4 is the part of the hierarchy seen here; ".." lies outside this cgroup namespace.
        if at < 6 or words[3].startswith("/.."):
            continue
        point = _unescape(words[4])
        if kind.startswith("2 "):
            unified = unified or point
            continue
        # The options of the superblock name the controllers that share the hierarchy.
        for option in kind.rsplit(" ", 1)[-1].split(","):
            if option not in _SUPER_OPTIONS:
                v1.setdefault(option, point)
    return Layout(unified, v1)


def _near_cgroups(lines: "list[str]") -> "list[list[str]]":
    """Return the fields of the mounts that are cgroups, or at or above the place of one.

    A router with many containers has many mounts, and only few of them matter.
    """
    places = {line.split(" ", 5)[4] for line in lines if " - cgroup" in line}
    for place in list(places):
        while place:
            place = place.rpartition("/")[0]
            places.add(place or "/")
    return [line.split(" ") for line in lines if line.split(" ", 5)[4] in places]


def _hidden(mounts: "list[list[str]]") -> "set[str]":
    """Return the ids of mounts that no path reaches, because another one lies on top of them.

    What covers a mount has it as its parent and the same mount point; what was mounted below a
    covered one is out of reach with it.
    """
    known = {words[0]: (words[1], words[4]) for words in mounts if len(words) > 4}
    covered = {
        parent
        for number, (parent, point) in known.items()
        if parent != number and known.get(parent, ("", ""))[1] == point
    }
    hidden = set(covered)
    # A mount is listed after its parent.
    for number, (parent, point) in known.items():
        if parent in hidden and known[parent][1] != point:
            hidden.add(number)
    return hidden


_SUPER_OPTIONS = (
    "rw",
    "ro",
    "noprefix",
    "clone_children",
    "cpuset_v2_mode",
    "xattr",
    "favordynmods",
)


def _unescape(path: str) -> str:
    if "\\" not in path:
        return path
    head, *rest = path.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def probe() -> Layout:
    """Return the layout of the calling process's mount namespace; OSError."""
    return parse(files.read_bytes("/proc/self/mountinfo").decode(errors="surrogateescape"))
