"""A container made again from images that ``checkpoint`` had criu(8) make."""

import posix

from uxc import files
from uxc.errors import ConflictError, InvalidError, UxcError, system_failure
from uxc.linux import const, mount, ns, pid
from uxc.oci import announce, checkpoint, createoptions, criu, gate, lifecycle, spec
from uxc.oci import state as states
from uxc.oci.cgroup import layout as layouts
from uxc.oci.cgroup import setup
from uxc.oci.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.createoptions import CreateOptions

# In the container's directory: where criu wants the root mounted, and where it writes the pid.
_ROOT = "criu-root"
_PID_FILE = "criu.pid"
_LOG = "restore.log"


def restore(options: "CreateOptions", criu_options: checkpoint.CriuOptions) -> State:
    """Make a container from images; it runs when this returns.

    Record and cgroup are as ``create`` makes them; hooks are not run. Raises UxcError as ``create``
    does, and when criu fails; then nothing is left of it.
    """
    gate.check_id(options.id)
    config = createoptions.read_config(options)
    parsed = spec.parse(config)
    if parsed.process is not None and parsed.process.terminal:
        raise InvalidError("cannot restore a container with a terminal", checkpoint.NO_TERMINAL)
    state = State(options.root, options.id)
    state.bundle = createoptions.absolute(options.bundle)
    rootfs = parsed.root.path
    state.rootfs = rootfs if rootfs.startswith("/") else f"{state.bundle}/{rootfs}"
    state.annotations = parsed.annotations
    state.owner = "root" if posix.getuid() == 0 else str(posix.getuid())
    state.created = states.timestamp()
    state.poststop = bool(parsed.hooks.poststop)
    try:
        layout = layouts.probe()
    except OSError as error:
        raise system_failure("read the mounted cgroups", error) from None
    linux = parsed.linux
    planned = setup.plan(
        options.id, linux.cgroups_path, options.cgroup_parent, linux.resources, layout
    )
    state.warnings += planned.warnings
    state.cgroup = planned.record()
    lock = states.reserve(state)
    if lock < 0:
        raise ConflictError(
            f"container {options.id} was left by a create that died", "delete it with --force"
        )
    try:
        try:
            _make(state, config, planned, options, criu_options)
        except BaseException:
            # Nothing of it ran, so there is nothing for a hook to tidy up after.
            state.poststop = False
            lifecycle.clean_up(state)
            raise
    finally:
        posix.close(lock)
    return state


def _make(
    state: State,
    config: "dict[str, Any]",
    planned: setup.Plan,
    options: "CreateOptions",
    criu_options: checkpoint.CriuOptions,
) -> None:
    try:
        state.save_config(config)
        posix.mkdir(f"{state.directory}/{_ROOT}", 0o700)
    except OSError as error:
        raise system_failure("keep the configuration", error) from None
    cgroup = planned.create()
    try:
        state.cgroup = cgroup.record()
        # On record before anything runs: from here on a delete finds what there is.
        _save(state)
        _call_criu(state, config, cgroup, criu_options)
        cgroup.settle()
    finally:
        cgroup.close()
    _take_over(state)
    if options.pid_file:
        announce.write_pid_file(options.pid_file, state.pid)


def _save(state: State) -> None:
    try:
        state.save()
    except OSError as error:
        raise system_failure(f"put container {state.id} on record", error) from None


def _call_criu(
    state: State, config: "dict[str, Any]", cgroup: "Cgroup", options: checkpoint.CriuOptions
) -> None:
    root = f"{state.directory}/{_ROOT}"
    work = criu.make_directory(options.work)
    words = ["restore", "--root", root, "--restore-detached", "--restore-sibling"]
    words += ["--pidfile", f"{state.directory}/{_PID_FILE}"]
    words += ["--cgroup-root", f"/{cgroup.relative}"]
    words += checkpoint.places(options.images, work, _LOG) + options.words
    for destination, source in checkpoint.outside_mounts(config, state.rootfs):
        source = source if source.startswith("/") else f"{state.bundle}/{source}"
        words += ["--external", f"mnt[{destination}]:{source}"]
    words += _streams(options.images)
    opened = []
    entrances = cgroup.entrances(unified=True)
    try:
        for name, place in checkpoint.joined_namespaces(config):
            # Inherited by criu, which is told its number.
            opened.append(posix.open(place, posix.O_RDONLY))
            posix.set_inheritable(opened[-1], True)
            words += ["--inherit-fd", f"fd[{opened[-1]}]:{checkpoint.namespace_key(name)}"]
        prepare = _Entering(state.rootfs, root, entrances)
        criu.call(options.program, words, f"{work}/{_LOG}", prepare)
    except OSError as error:
        raise system_failure("join a namespace", error) from None
    finally:
        for fd in [*opened, *entrances]:
            posix.close(fd)


class _Entering:
    """What is done in criu's process before criu is: it enters the cgroup, and mounts the root.

    criu wants the root to be a mount; in a mount namespace of its own nobody has to unmount it.
    """

    __slots__ = ("_entrances", "_root", "_rootfs")

    def __init__(self, rootfs: str, root: str, entrances: "list[int]") -> None:
        self._rootfs = rootfs
        self._root = root
        self._entrances = entrances

    def __call__(self) -> None:
        for fd in self._entrances:
            posix.write(fd, b"0")
        ns.unshare(const.CLONE_NEWNS)
        mount.set_propagation("/", const.MS_PRIVATE)
        tree = mount.clone_tree(self._rootfs, recursive=True)
        target = posix.open(self._root, posix.O_PATH | posix.O_CLOEXEC)
        mount.attach(tree, target)


def _streams(images: str) -> "list[str]":
    """Put our standard streams where the container's were pipes, or files that are not its own."""
    try:
        names = files.read_json(f"{images}/{checkpoint.STREAMS}")
    except OSError as error:
        raise system_failure("read what the standard streams were", error) from None
    words: list[str] = []
    for number, name in enumerate(names if isinstance(names, list) else []):
        if isinstance(name, str) and name.startswith(("pipe:", "file[")):
            words += ["--inherit-fd", f"fd[{number}]:{name}"]
    return words


def _take_over(state: State) -> None:
    """Put the restored first process on record; SystemFailure."""
    file = f"{state.directory}/{_PID_FILE}"
    try:
        number = int(files.read_text(file))
        state.start_time = pid.start_time(number)
        state.pid = number
        posix.unlink(file)
        posix.rmdir(f"{state.directory}/{_ROOT}")
    except ValueError:
        raise UxcError(f"criu wrote no pid into {file}") from None
    except OSError as error:
        raise system_failure("take over what criu has restored", error) from None
    state.creator = None
    _save(state)
