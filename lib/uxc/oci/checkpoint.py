"""A container saved to images by criu(8), which knows processes and namespaces.

What it cannot know is what we tell it here: which mounts come from outside, what freezes the
container, and what its standard streams were. ``restoring`` is the way back.
"""

import posix

from uxc import files
from uxc.errors import ConflictError, InvalidError, system_failure
from uxc.oci import criu, gate, lifecycle
from uxc.oci import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.state import State

# What the standard streams were, as runc keeps it.
STREAMS = "descriptors.json"
NO_TERMINAL = "no terminal of a container can be handed to criu's command line"


class CriuOptions:
    """What the caller says about the images."""

    __slots__ = ("images", "leaves_running", "program", "words", "work")

    def __init__(self, program: str, images: str, work: str, words: "list[str]") -> None:
        """Take the path of criu, the directories, and words that go to it as they are."""
        self.program = program
        self.images = images
        self.work = work or images
        self.words = words
        self.leaves_running = False


def dump(root: str, container_id: str, options: CriuOptions, only_memory: bool) -> "list[str]":
    """Save a running container; unless told otherwise it is gone then. Return warnings.

    ``only_memory`` is a pre-dump: less is left to do for the dump that follows. Raises
    NotFoundError, ConflictError, MissingError without criu, SystemFailure when criu fails: the
    container goes on then.
    """
    lock = gate.lock_container(root, container_id)
    try:
        state = states.load(root, container_id)
        status = state.status()
        if status not in ("running", "paused"):
            raise ConflictError("container not running", f"it is {status}")
        config = state.read_config()
        if (config.get("process") or {}).get("terminal"):
            raise InvalidError("cannot checkpoint a container with a terminal", NO_TERMINAL)
        images, work = criu.make_directory(options.images), criu.make_directory(options.work)
        verb = "pre-dump" if only_memory else "dump"
        log = f"{verb}.log"
        words = [verb, "--tree", str(state.pid), "--root", state.rootfs]
        words += places(images, work, log) + options.words
        if only_memory:
            words.append("--track-mem")
        else:
            words += _external(config, state) + _freezer(state) + _save_streams(state, images)
            if options.leaves_running:
                words.append("--leave-running")
        criu.call(options.program, words, f"{work}/{log}")
    finally:
        posix.close(lock)
    if only_memory or options.leaves_running:
        return []
    return lifecycle.delete(root, container_id, force=True)


def places(images: str, work: str, log: str) -> "list[str]":
    """Return the words that say where criu reads and writes."""
    return ["--images-dir", images, "--work-dir", work, "--log-file", log, "-v4"]


def outside_mounts(config: "dict[str, Any]", rootfs: str) -> "list[tuple[str, str]]":
    """Return (destination, source) of mounts that are not the container's own.

    criu saves the content of a tmpfs; what was bound from the host it is told to find there again.
    """
    found = []
    for entry in config.get("mounts") or []:
        options = entry.get("options") or []
        if entry.get("type") == "bind" or "bind" in options or "rbind" in options:
            found.append((_absolute(entry["destination"]), entry["source"]))
    for name in (config.get("linux") or {}).get("maskedPaths") or []:
        # Masked files have /dev/null on them, masked directories a tmpfs.
        if not posix.access(f"{rootfs}{name}/.", posix.F_OK):
            found.append((name, "/dev/null"))
    return found


def _absolute(destination: str) -> str:
    return "/" + destination.strip("/")


def _external(config: "dict[str, Any]", state: "State") -> "list[str]":
    words: list[str] = []
    for destination, _ in outside_mounts(config, f"/proc/{state.pid}/root"):
        words += ["--external", f"mnt[{destination}]:{destination}"]
    for name, path in joined_namespaces(config):
        inode = posix.stat(path).st_ino
        words += ["--external", f"{name}[{inode}]:{namespace_key(name)}"]
    return words


def joined_namespaces(config: "dict[str, Any]") -> "list[tuple[str, str]]":
    """Return (criu's name, path) of namespaces that were joined and that criu can join again."""
    names = {"network": "net", "pid": "pid"}
    return [
        (names[entry["type"]], entry["path"])
        for entry in (config.get("linux") or {}).get("namespaces") or []
        if entry.get("path") and entry["type"] in names
    ]


def namespace_key(name: str) -> str:
    """Return the key in the images for a namespace from outside, as runc calls it."""
    return f"extRoot{name.capitalize()}NS"


def _freezer(state: "State") -> "list[str]":
    """Tell criu the cgroup to freeze, so that nothing is forked away from under it."""
    if state.cgroup is None or not state.cgroup["unified"]:
        return []
    return ["--freeze-cgroup", f"{state.cgroup['unified']}/{state.cgroup['path']}"]


def _save_streams(state: "State", images: str) -> "list[str]":
    """Note what the standard streams are; return the words about files outside the container."""
    words: list[str] = []
    names: list[str] = []
    try:
        text = files.read_bytes(f"/proc/{state.pid}/mountinfo").decode(errors="surrogateescape")
        inside = {line.split(" ", 1)[0] for line in text.splitlines()}
        for number in range(3):
            place = f"/proc/{state.pid}/fd/{number}"
            name = posix.readlink(place)
            mount = _mount_id(state.pid, number)
            if name.startswith("/") and mount not in inside:
                name = f"file[{int(mount):x}:{posix.stat(place).st_ino:x}]"
                words += ["--external", name]
            names.append(name)
        files.write_json(f"{images}/{STREAMS}", names)
    except OSError as error:
        raise system_failure("save what the standard streams are", error) from None
    return words


def _mount_id(pid: int, number: int) -> str:
    text = files.read_bytes(f"/proc/{pid}/fdinfo/{number}").decode()
    values = [line.split()[1] for line in text.splitlines() if line.startswith("mnt_id:")]
    return values[0]
