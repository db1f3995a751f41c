"""All containers: create, start, kill, delete, attach, and what becomes of them.

Every operation is done or handed to a worker at once; answers are sent when the kernel tells.
"""

from __future__ import annotations

import _socket
import fcntl
import posix

from uxc import files, protocol
from uxc.errors import ConflictError, InvalidError, NotFoundError, UxcError
from uxc.keeper import exits, output, overlay, ring
from uxc.keeper.building import build
from uxc.keeper.container import CREATED, CREATING, RUNNING, STOPPED, Container
from uxc.keeper.creations import Creations
from uxc.keeper.loop import READ
from uxc.keeper.viewers import Audience
from uxc.linux import proc
from uxc.oci import (
    attributes,
    init,
    lsm,
    parking,
    plan,
    process,
    runtime,
    seccomp,
    spec,
    spec_resources,
    spec_seccomp,
)
from uxc.oci.cgroup import group, layout, setup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from uxc.keeper.children import Children
    from uxc.keeper.exits import Exit
    from uxc.keeper.loop import Loop
    from uxc.keeper.server import Request
    from uxc.oci.state import State
    from uxc.paths import Paths

# The core imports these when it needs them. A worker would have to do so for each container.
IMPORTED_BEFORE_FORK = (
    attributes,
    group,
    init,
    layout,
    lsm,
    parking,
    plan,
    process,
    seccomp,
    setup,
    spec,
    spec_resources,
    spec_seccomp,
)

_NAME_BYTES = 255
_NAME_EXTRA = frozenset("_-.+")
_SIGNALS = 64


class Containers:
    """The table of containers, and the operations on it.

    ``on_exit(container)`` is called when one ended, ``on_gone()`` when one left the table.
    """

    __slots__ = (
        "_children",
        "_creations",
        "_loop",
        "_paths",
        "_pool",
        "on_exit",
        "on_gone",
        "table",
    )

    def __init__(
        self,
        loop: Loop,
        children: Children,
        paths: Paths,
        pool: ring.Pool,
        on_exit: Callable[[Container], None],
        on_gone: Callable[[], None],
    ) -> None:
        """Begin with an empty table."""
        self._loop = loop
        self._children = children
        self._creations = Creations(loop, children, self._created, self._failed, self._ended)
        self._paths = paths
        self._pool = pool
        self.on_exit = on_exit
        self.on_gone = on_gone
        self.table: dict[str, Container] = {}

    def adopt(self) -> None:
        """Take over the containers that an earlier keeper has left; OSError as open(2).

        A record that cannot be read is reported and left alone: the others must be watched.
        """
        root = self._paths.container_root
        files.make_dirs(root, 0o700)
        for name in sorted(posix.listdir(root)):
            try:
                self._adopt(runtime.load(root, name))
            except NotFoundError:
                # No record yet: a creation that died at its first step, and delete removes it.
                continue
            except Exception as error:
                self._loop.report(f"the record of container '{name}'", error)

    def _adopt(self, state: State) -> None:
        container = self._add(state.id, ring.DEFAULT_BYTES)
        container.pid, container.started = state.pid, state.start_time
        container.status = state.status()
        try:
            container.use_output()
        except FileNotFoundError:
            # A terminal: its master end is gone with the keeper that had it.
            container.terminal = True
        try:
            if container.status == STOPPED:
                raise ProcessLookupError
            container.pidfd = proc.pidfd_of(state.pid, state.start_time)
        except ProcessLookupError:
            container.end(exits.recorded(self._state_dir(container.name)))
        else:
            self._watch_stranger(container)

    def create(self, request: Request) -> None:
        """Create a container from the bundle in ``bundle``; answer its pid when it is parked."""
        name = name_of(request)
        bundle = request.text("bundle")
        limit = request.number("ring_bytes", ring.DEFAULT_BYTES)
        if name in self.table:
            raise ConflictError(f"container '{name}' exists already", "delete it first")
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        container = self._add(name, limit)
        writers: list[int] = []
        try:
            ours.setblocking(False)
            container.console_sock = ours
            self._loop.watch(ours.fileno(), READ, lambda _events: self._take_master(container))
            config = files.read_json(f"{bundle}/{runtime.CONFIG}")
            options = self._options(container, bundle, config, theirs.fileno(), writers)
            # A layer lies on a disk, which may take its time; what else does, the core knows.
            if overlay.is_wanted(bundle) or not self._creations.begin(container, request, options):
                self._work(container, request, options, (theirs.fileno(), *writers))
        except BaseException:
            self._forget(container)
            raise
        finally:
            protocol.close_all(writers)
            theirs.close()

    def _work(
        self,
        container: Container,
        request: Request,
        options: runtime.CreateOptions,
        keep: tuple[int, ...],
    ) -> None:
        """Create in a worker, which may wait as long as its hooks do."""
        options.may_wait = True
        options.prepare = None
        ourselves = posix.getpid()
        container.builder = self._children.work(
            "create the container",
            lambda _report: build(options, ourselves),
            lambda result, error: self._built(container, request, result, error),
            keep=keep,
        )

    def _options(
        self,
        container: Container,
        bundle: str,
        config: dict[str, Any],
        console_fd: int,
        writers: list[int],
    ) -> runtime.CreateOptions:
        """Return how to create ``container``; the ends of its FIFOs are added to ``writers``."""
        paths, name = self._paths, container.name
        options = runtime.CreateOptions(paths.container_root, name, bundle, paths.seccomp_dir)
        options.config = config
        options.cgroup_parent = paths.cgroup_parent
        if runtime.wants_terminal(config):
            options.console_fd = console_fd
            return options
        directory = f"{paths.output_dir}/{name}"
        output.make(directory)
        container.use_output()
        stdout, stderr = output.open_writers(directory)
        writers += (stdout, stderr)
        options.stdio = (0, stdout, stderr)
        return options

    def _created(self, container: Container, pid: int, started: int, ends_whole: bool) -> None:
        self._take_master(container)
        container.close_console_sock()
        container.pid, container.started = pid, started
        container.status = CREATED
        container.ends_whole = ends_whole

    def start(self, request: Request) -> None:
        """Let the parked program run; answer when it does, or has failed to."""
        container = self._known(request)
        if container.status == CREATING:
            raise ConflictError(f"container '{container.name}' is still being created")
        if container.start_request is not None:
            raise ConflictError(f"container '{container.name}' is being started already")
        root, name = self._paths.container_root, container.name
        if runtime.has_start_hooks(root, name):
            container.start_request = request
            self._children.work(
                "start the container",
                lambda _report: runtime.start(root, name),
                lambda _result, error: self._started(container, error),
            )
            return
        container.gate = runtime.open_gate(root, name)
        container.start_request = request
        if container.gate < 0:
            self._started(container)
            return
        # POLLHUP is always reported: nobody has the other end any more, the exec is done.
        self._loop.watch(container.gate, 0, lambda _events: self._started(container))

    def kill(self, request: Request) -> None:
        """Send ``signal`` to the container's init, or to ``all`` of its processes."""
        container = self._known(request)
        signal = request.number("signal")
        if not 0 < signal <= _SIGNALS:
            raise InvalidError(f"no signal has the number {signal}")
        if container.status == CREATING:
            raise ConflictError(f"container '{container.name}' is still being created")
        root, name = self._paths.container_root, container.name
        if not request.flag("all"):
            runtime.kill(root, name, signal)
            request.succeed()
            return
        # No process must escape by a fork meanwhile: the core may have to freeze them first.
        self._children.work(
            "signal the container",
            lambda _report: runtime.kill(root, name, signal, True),
            lambda _result, error: answer(request, error),
        )

    def delete(self, request: Request) -> None:
        """Remove a container that has ended; with ``force`` one in any other state, too."""
        name = name_of(request)
        force = request.flag("force")
        container = self.table.get(name)
        if container is None:
            # A creation that died with an earlier keeper may have left its FIFOs.
            output.remove(f"{self._paths.output_dir}/{name}")
            self._remove(name, force, lambda error: answer(request, error))
            return
        if container.deleting:
            raise ConflictError(f"container '{name}' is being deleted already")
        if container.status == CREATING and not force:
            raise ConflictError(f"container '{name}' is still being created")
        container.deleting = True
        if container.status == STOPPED and container.ends_whole and self._is_free(name):
            self._deleted(container, request, self._remove_now(name))
            return

        def remove() -> None:
            self._remove(name, force, lambda error: self._deleted(container, request, error))

        if container.creation is not None:
            self._creations.abandon(container)
            request.succeed()
        elif container.builder is None:
            remove()
        else:
            # It may hang in a hook. What it has made is removed when it is known to be gone.
            container.on_built = remove
            container.builder.kill()

    def attach(self, request: Request) -> None:
        """Show the container on the socket that came with the request."""
        container = self._known(request)
        read_only = request.flag("read_only")
        if len(request.fds) != 1:
            raise InvalidError("attach needs exactly one descriptor, the viewer's socket")
        container.audience.attach(request.fds.pop(), read_only)
        request.succeed({"terminal": container.terminal})

    def _add(self, name: str, ring_bytes: int) -> Container:
        audience = Audience(self._loop, self._pool.ring(ring_bytes))
        output_dir = f"{self._paths.output_dir}/{name}"
        container = self.table[name] = Container(self._loop, name, audience, output_dir)
        return container

    def _known(self, request: Request) -> Container:
        name = name_of(request)
        try:
            return self.table[name]
        except KeyError:
            raise NotFoundError(f"container '{name}' does not exist") from None

    def _state_dir(self, name: str) -> str:
        return f"{self._paths.container_root}/{name}"

    def _take_master(self, container: Container) -> None:
        """Receive the terminal, which the core sends as runc does: a name and one descriptor."""
        sock = container.console_sock
        if sock is None:
            return
        try:
            _, fds, _ = protocol.receive_with_fds(sock, 4096)
        except BlockingIOError:
            return
        if fds:
            container.use_console(fds.pop(0))
            protocol.close_all(fds)
        container.close_console_sock()

    def _built(
        self, container: Container, request: Request, result: Any, error: UxcError | None
    ) -> None:
        builder, container.builder = container.builder, None
        if error is None:
            # The terminal came before the result, but on a socket of its own.
            self._created(container, result["pid"], result["start_time"], result["ends_whole"])
            self._children.adopt_init(
                container.pid,
                container.started,
                lambda status: self._ended(container, exits.from_status(status)),
            )
            request.succeed({"pid": container.pid})
        elif container.on_built is not None:
            request.fail(ConflictError(f"container '{container.name}' was deleted meanwhile"))
        elif builder is not None and builder.crashed:
            # Nobody has undone what it had begun.
            failure = error
            container.deleting = True
            self._remove(
                container.name, True, lambda _error: self._failed(container, request, failure)
            )
        else:
            self._failed(container, request, error)
        if container.on_built is not None:
            container.on_built()

    def _failed(self, container: Container, request: Request, error: UxcError) -> None:
        self._forget(container)
        request.fail(error)

    def _started(self, container: Container, error: UxcError | None = None) -> None:
        request, container.start_request = container.start_request, None
        container.close_gate()
        if container.status == CREATED and error is None:
            container.status = RUNNING
        if request is not None:
            answer(request, error)

    def _ended(self, container: Container, ended: Exit) -> None:
        container.end(ended)
        if self.table.get(container.name) is container:
            self.on_exit(container)
        # Not into a directory that a worker is just emptying.
        if not container.deleting:
            exits.record(self._state_dir(container.name), ended)

    def _watch_stranger(self, container: Container) -> None:
        """Learn from a pidfd when a process ends that is not our child."""

        def ended(_events: int) -> None:
            how = exits.of_stranger(container.pidfd, container.pid, container.started)
            self._ended(container, how)

        self._loop.watch(container.pidfd, READ, ended)

    def _is_free(self, name: str) -> bool:
        """Tell whether no command of the core works on the container: it would hold the lock."""
        try:
            fd = posix.open(self._state_dir(name), posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            posix.close(fd)
        return True

    def _remove_now(self, name: str) -> UxcError | None:
        """Delete a container that has nothing left to wait for: a fifth of a worker's time."""
        try:
            runtime.delete(self._paths.container_root, name)
        except UxcError as error:
            return error
        return None

    def _remove(self, name: str, force: bool, done: Callable[[UxcError | None], None]) -> None:
        """Let a worker delete: hooks run, and a cgroup may be busy for a while."""
        root = self._paths.container_root

        def finished(warnings: Any, error: UxcError | None) -> None:
            for warning in warnings or ():
                self._loop.report(f"container '{name}'", UxcError(warning))
            done(error)

        self._children.work(
            "delete the container", lambda _report: runtime.delete(root, name, force), finished
        )

    def _deleted(self, container: Container, request: Request, error: UxcError | None) -> None:
        # A process that the worker has killed may wait to be reaped: its exit comes first.
        self._children.reap()
        if error is None or isinstance(error, NotFoundError):
            self._forget(container)
        else:
            container.deleting = False
            if container.ended is not None:
                exits.record(self._state_dir(container.name), container.ended)
        answer(request, error)

    def _forget(self, container: Container) -> None:
        del self.table[container.name]
        request = container.start_request
        container.close()
        if request is not None:
            request.fail(ConflictError(f"container '{container.name}' was deleted meanwhile"))
        self.on_gone()


def name_of(request: Request) -> str:
    """Return the argument ``name``; InvalidError unless it can be a file's name anywhere."""
    name = request.text("name")
    plain = all(c in _NAME_EXTRA or (c.isascii() and c.isalnum()) for c in name)
    if not plain or len(name) > _NAME_BYTES or name in (".", ".."):
        raise InvalidError(f"'{name}' cannot be the name of a container")
    return name


def answer(request: Request, error: UxcError | None) -> None:
    """Answer with ``error``, or that it was done."""
    if error is None:
        request.succeed()
    else:
        request.fail(error)
