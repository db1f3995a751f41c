"""One entry of ``mounts`` resolved to one step: what kind it is, from where, with which owners."""

from uxc import files
from uxc.errors import InvalidError
from uxc.oci import idmaps, mountoptions
from uxc.oci.idmaps import Maps
from uxc.oci.spec_linux import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec import Mount
    from uxc.oci.spec_linux import Linux

# What the parent opens for the child is known by its index in ``mounts``, and by these.
ROOT_TREE = -1
DEVICES_TREE = -2

# What shows the kernel's own data keeps its labels (runc and crun agree), and what is there already
# has some.
_UNLABELLED = ("proc", "sysfs", "cgroup", "bind", "remount")


class MountStep:
    """One mount to make; ``kind`` is ``bind``, ``cgroup``, ``remount`` or a file system's name."""

    __slots__ = (
        "destination",
        "index",
        "kind",
        "label",
        "maps",
        "options",
        "source",
        "unified",
    )

    def __init__(self, index: int, kind: str, source: str, destination: str) -> None:
        """Keep where in ``mounts`` it came from, for messages."""
        self.index = index
        self.kind = kind
        self.source = source
        self.destination = destination
        self.options = mountoptions.Options([])
        # Of an idmapped mount; None stands for the container's own maps.
        self.maps: Maps | None = None
        # SELinux's, for the files of the mount; empty for none.
        self.label = ""
        # A cgroup mount that wants the v2 tree, also where v1 hierarchies are.
        self.unified = False

    @property
    def place(self) -> str:
        """The destination without blank, ``.`` and ``..`` parts, as in ``/proc/sys``."""
        parts: list[str] = []
        for part in self.destination.split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return "/" + "/".join(parts)


def resolve(
    index: int, mount: "Mount", bundle: str, linux: "Linux", labelled: bool = False
) -> MountStep:
    """Return the step for ``mount``, which is number ``index`` in config.json; InvalidError.

    ``labelled``: files of the mount get ``linux.mountLabel``.
    """
    where = f"config.json: mounts[{index}]"
    options = mountoptions.Options(mount.options)
    options.bind = options.bind or mount.type == "bind"
    for text in (mount.destination, mount.source, *options.data):
        _check_text(text, where)
    kind, source = _kind(mount, options, where), mount.source
    if kind == "bind":
        if not source:
            raise InvalidError(f"{where}.source: is missing: a bind mount needs one")
        if not source.startswith("/"):
            source = f"{bundle}/{source}"
    step = MountStep(index, kind, source, mount.destination)
    step.options = options
    step.unified = mount.type == "cgroup2"
    _check_options(step, where)
    _set_maps(step, mount, linux, where)
    if labelled and kind not in _UNLABELLED:
        step.label = linux.mount_label
    return step


def knows_labels(filesystems: str = "/proc/filesystems") -> bool:
    """Tell whether this kernel labels files.

    SELinux lists its own file system in ``filesystems`` unless it is left out or switched off.
    """
    return b"\tselinuxfs\n" in files.read_bytes(filesystems)


def _kind(mount: "Mount", options: mountoptions.Options, where: str) -> str:
    if options.remount:
        return "remount"
    if options.bind:
        return "bind"
    if mount.type in ("cgroup", "cgroup2"):
        return "cgroup"
    if not mount.type:
        raise InvalidError(f"{where}.type: is missing, and no option says bind or rbind")
    return mount.type


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise InvalidError(f"{where}: must not hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidError(f"{where}: holds half of a surrogate pair") from None


def _check_options(step: MountStep, where: str) -> None:
    options = step.options
    if options.copy_up:
        if step.kind != "tmpfs":
            raise InvalidError(f"{where}.options: tmpcopyup is for a tmpfs only")
        # It is the child that needs it, and that one imports nothing.
        __import__("uxc.oci.copyup")
    links = (options.copy_symlink, options.source_nofollow, options.destination_nofollow)
    if any(links) and step.kind != "bind":
        raise InvalidError(
            f"{where}.options: copy-symlink, src-nofollow and dest-nofollow are for bind mounts"
        )
    if options.copy_symlink and any(links[1:]):
        raise InvalidError(f"{where}.options: copy-symlink excludes src-nofollow and dest-nofollow")


def _set_maps(step: MountStep, mount: "Mount", linux: "Linux", where: str) -> None:
    """Resolve where the owners of an idmapped mount come from (config.md, ``idmap``)."""
    options = step.options
    if mount.uid_mappings or mount.gid_mappings:
        if not (mount.uid_mappings and mount.gid_mappings):
            raise InvalidError(f"{where}: uidMappings and gidMappings are given both or not at all")
        options.idmap = True
        step.maps = Maps(mount.uid_mappings, mount.gid_mappings)
    if not options.idmap:
        return
    if step.kind != "bind":
        raise InvalidError(f"{where}.options: idmap and ridmap are for bind mounts only")
    if step.maps is None and options.idmap_text:
        step.maps = _read_maps(options.idmap_text, linux, where)
    if step.maps is None and linux.namespace("user") is None:
        raise InvalidError(
            f"{where}: has no uidMappings and gidMappings, and the container has no user namespace"
        )


def _read_maps(text: str, linux: "Linux", where: str) -> Maps:
    try:
        found = mountoptions.parse_idmap(text)
    except ValueError as error:
        raise InvalidError(
            f"{where}.options: idmap: cannot read '{error}'", "as in idmap=uids=0-1000-1;gids=0-0-1"
        ) from None
    read = []
    for key, mappings in (("uids", linux.uid_mappings), ("gids", linux.gid_mappings)):
        entries = []
        for relative, inside, outside, size in found[key]:
            host = idmaps.host_id(mappings, outside) if relative else outside
            if host < 0:
                raise InvalidError(
                    f"{where}.options: idmap: {outside} is not in the container's own {key}"
                )
            numbers = {"containerID": inside, "hostID": host, "size": size}
            entries.append(IDMapping(numbers, f"{where}.options: idmap"))
        read.append(entries)
    return Maps(*read)
