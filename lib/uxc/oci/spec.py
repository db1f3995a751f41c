"""config.json as typed values: strict about every known property, deaf to unknown ones.

This is the reader of the core, where imports and milliseconds count; it stops at the first thing
that is wrong. ``judge`` tells about all of them. Both follow runtime-spec 1.3 and agree (a test
compares them). Lists and maps of plain strings are the document's own: do not change them.
"""

from uxc.errors import InvalidError
from uxc.oci.spec_fields import (
    MAX_INT32,
    absolute_path,
    flag,
    items_of,
    kind_of,
    need_text,
    node_of,
    number,
    refuse,
    text,
    text_entries,
    texts,
)
from uxc.oci.spec_linux import IDMapping, Linux, sysctl_namespace, sysctl_path
from uxc.oci.spec_process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from uxc.oci.spec_fields import Node

HOOKS = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
# Properties that would change the host's namespace if the container had none of its own.
NEEDED_NAMESPACES = (
    ("hostname", "uts"),
    ("domainname", "uts"),
    ("linux.uidMappings", "user"),
    ("linux.gidMappings", "user"),
    ("linux.timeOffsets", "time"),
    ("linux.netDevices", "network"),
    ("linux.maskedPaths", "mount"),
    ("linux.readonlyPaths", "mount"),
)


class Root:
    """The root file system; a relative path is relative to the bundle."""

    __slots__ = ("path", "readonly")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.path = need_text(node, "path", where)
        self.readonly = flag(node, "readonly", where)


class Mount:
    """One mount, in the order of the list; a relative destination is relative to ``/``."""

    __slots__ = ("destination", "gid_mappings", "options", "source", "type", "uid_mappings")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.destination = need_text(node, "destination", where)
        self.source = text(node, "source", where)
        self.type = text(node, "type", where)
        self.options = texts(node, "options", where)
        self.uid_mappings: list[IDMapping] = []
        self.gid_mappings: list[IDMapping] = []
        if "uidMappings" in node or "gidMappings" in node:
            self.uid_mappings = items_of(node, "uidMappings", where, IDMapping)
            self.gid_mappings = items_of(node, "gidMappings", where, IDMapping)
            for key, other in (("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")):
                if node.get(key) is None and node.get(other) is not None:
                    refuse(where, key, f"is missing: {other} is given")


class Hook:
    """A program to run at one point of the life cycle; ``timeout`` in seconds, None for none."""

    __slots__ = ("args", "env", "path", "timeout")

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.path = absolute_path(node, "path", where)
        self.args = texts(node, "args", where)
        self.env = texts(node, "env", where)
        self.timeout = number(node, "timeout", where, 1, MAX_INT32)


class Hooks:
    """The six lists of hooks."""

    __slots__ = (
        "create_container",
        "create_runtime",
        "poststart",
        "poststop",
        "prestart",
        "start_container",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the object at ``where``; InvalidError."""
        self.prestart = items_of(node, "prestart", where, Hook)
        self.create_runtime = items_of(node, "createRuntime", where, Hook)
        self.create_container = items_of(node, "createContainer", where, Hook)
        self.start_container = items_of(node, "startContainer", where, Hook)
        self.poststart = items_of(node, "poststart", where, Hook)
        self.poststop = items_of(node, "poststop", where, Hook)


class Spec:
    """A whole config.json. ``linux`` and ``hooks`` are never None: absent ones are empty."""

    __slots__ = (
        "annotations",
        "domainname",
        "hooks",
        "hostname",
        "linux",
        "mounts",
        "oci_version",
        "process",
        "root",
    )

    def __init__(self, node: "Node", where: str) -> None:
        """Read the document; InvalidError."""
        self.oci_version = need_text(node, "ociVersion", where)
        problem = version_problem(self.oci_version)
        if problem:
            refuse(where, "ociVersion", problem)
        root = node_of(node, "root", where)
        if root is None:
            refuse(where, "root", "is missing")
        self.root = Root(root, where + "root")
        self.mounts = items_of(node, "mounts", where, Mount)
        process = node_of(node, "process", where)
        self.process = None if process is None else Process(process, where + "process")
        self.hostname = text(node, "hostname", where)
        self.domainname = text(node, "domainname", where)
        self.hooks = Hooks(node_of(node, "hooks", where) or {}, where + "hooks")
        self.annotations = text_entries(node, "annotations", where)
        self.linux = Linux(node_of(node, "linux", where) or {}, where + "linux")
        _check_namespaces(self, where)


def _check_namespaces(spec: Spec, where: str) -> None:
    linux = spec.linux
    own = {space.type: space for space in linux.namespaces}
    given = (
        spec.hostname,
        spec.domainname,
        linux.uid_mappings,
        linux.gid_mappings,
        linux.time_offsets,
        linux.net_devices,
        linux.masked_paths,
        linux.readonly_paths,
    )
    for value, (path, kind) in zip(given, NEEDED_NAMESPACES, strict=True):
        if value and kind not in own:
            raise InvalidError(f"{where}{path}: {without_namespace(kind)}")
    user = own.get("user")
    if user is not None and not user.path:
        for mappings, key in (
            (linux.uid_mappings, "uidMappings"),
            (linux.gid_mappings, "gidMappings"),
        ):
            if not mappings:
                refuse(where + "linux", key, "must have an entry for the new user namespace")
    for key in linux.sysctl:
        problem = sysctl_problem(key, own)
        if problem:
            refuse(where + "linux.sysctl", key, problem)


def sysctl_problem(key: str, own: "Container[str]") -> str:
    """Return why a container with its ``own`` namespaces cannot have the setting ``key``."""
    kind = sysctl_namespace(key)
    if kind in own:
        return ""
    if sysctl_path(key) == "kernel/hostname":
        return "is set by the property hostname"
    return without_namespace(kind)


def without_namespace(kind: str) -> str:
    """Return the sentence that says why a property is refused; no ``kind``: it is the host's."""
    if kind:
        return f"needs a namespace of the type {kind} in linux.namespaces"
    return "belongs to the whole host, not to a namespace"


def version_problem(version: str) -> str:
    """Return why ``version`` is no release 1.0.0 or later of major version 1; empty when it is."""
    core, plus, build = version.partition("+")
    core, dash, pre = core.partition("-")
    numbers = core.split(".")
    if (
        len(numbers) != 3
        or not all(map(_is_plain_number, numbers))
        or (plus and not _is_dotted(build))
        or (dash and not _is_dotted(pre))
    ):
        return "must be a semantic version such as 1.2.0"
    if numbers[0] != "1" or (dash and core == "1.0.0"):
        return f"{version} is not supported, only 1.0.0 and later versions below 2.0.0 are"
    return ""


def _is_plain_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")


def _is_dotted(text: str) -> bool:
    """Tell whether ``text`` is a dotted list as SemVer has it for pre-releases and builds."""
    return all(
        part and part.isascii() and part.replace("-", "a").isalnum() for part in text.split(".")
    )


def _document(value: object, source: str) -> "Node":
    if type(value) is not dict:
        raise InvalidError(f"{source}: must be an object, not {kind_of(value)}")
    return value


def parse(config: object, source: str = "config.json") -> Spec:
    """Return the typed form of the JSON document ``config``.

    Raises InvalidError about the first thing that is wrong, as in ``config.json: process.args[1]:
    must be a string, not a number``.
    """
    return Spec(_document(config, source), source + ": ")


def parse_process(value: object, source: str = "process.json") -> Process:
    """Return the typed form of a lone process object, as ``exec --process`` reads it."""
    return Process(_document(value, source), source + ": ")
