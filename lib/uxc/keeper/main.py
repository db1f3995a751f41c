"""The keeper's process: what it is before it serves, and when it ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _socket
import gc
import posix
import resource
import syslog

from uxc import files
from uxc import paths as paths_module
from uxc.errors import ConflictError, UxcError, system_failure
from uxc.keeper import building, cgroup
from uxc.keeper.children import Children, place
from uxc.keeper.container import Container
from uxc.keeper.containers import Containers, name_of
from uxc.keeper.loop import Loop
from uxc.keeper.namespaces import Namespaces
from uxc.keeper.ring import Pool
from uxc.keeper.server import Request, Server
from uxc.linux import proc
from uxc.oci import interpreter
from uxc.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from uxc.paths import Paths

PROTOCOL = 1

# Without us every terminal is hung up, and no exit code is known: rather a container than us.
_OOM_SCORE_ADJ = b"-900"


class Keeper:
    """Everything that has to be handed over if ever another keeper takes this one's place."""

    __slots__ = ("_children", "_loop", "_namespaces", "containers", "server")

    def __init__(self, paths: Paths, before_task: Any) -> None:
        """Take over what an earlier keeper has left below ``paths``; OSError as the calls do."""
        self._loop = Loop(report)
        self._children = Children(self._loop, before_task)
        self._namespaces = Namespaces(paths.netns_dir, paths.userns_dir)
        self.server = Server(self._loop, self._operations(), report)
        self.server.on_gone = self._end_if_idle
        self.containers = Containers(
            self._loop, self._children, paths, Pool(), self._announce_exit, self._end_if_idle
        )
        self.containers.adopt()
        # Nobody takes the containers down by accident: not by a kill of everything that is called
        # like this, nor by procd at the end of a service that this process has left.
        _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        self._loop.on_signal(_signal.SIGTERM, self._end_if_empty)

    def run(self) -> None:
        """Serve until told to end, or until there is neither a container nor a client."""
        self._loop.run()

    def _operations(self) -> dict[str, Any]:
        return {
            "hello": self._hello,
            "list": lambda request: request.succeed(self._list()),
            "pin": self._pin,
            "unpin": self._unpin,
            "create": lambda request: self.containers.create(request),
            "start": lambda request: self.containers.start(request),
            "kill": lambda request: self.containers.kill(request),
            "delete": lambda request: self.containers.delete(request),
            "attach": lambda request: self.containers.attach(request),
            "shutdown": self._shutdown,
        }

    def _hello(self, request: Request) -> None:
        request.succeed(
            {
                "protocol": PROTOCOL,
                "version": VERSION,
                "pid": posix.getpid(),
                "containers": self._list(),
            }
        )

    def _list(self) -> list[dict[str, Any]]:
        pinned = self._namespaces.names()
        table = self.containers.table
        entries = [container.entry(name in pinned) for name, container in table.items()]
        for name in sorted(pinned - table.keys()):
            entries.append({"name": name, "status": "uninitialized", "pinned": True})
        return entries

    def _pin(self, request: Request) -> None:
        name = name_of(request)
        fd = self._namespaces.pin(name, building.maps_of(request.args))
        request.succeed({"path": self._namespaces.path(name)}, (fd,))

    def _unpin(self, request: Request) -> None:
        self._namespaces.unpin(name_of(request))
        request.succeed()

    def _shutdown(self, request: Request) -> None:
        count = len(self.containers.table)
        if count:
            text = "one container is" if count == 1 else f"{count} containers are"
            raise ConflictError(f"{text} still there", "delete them first")
        request.succeed()
        self._loop.stop()

    def _announce_exit(self, container: Container) -> None:
        ended = container.ended
        assert ended is not None
        self.server.broadcast(
            {
                "event": "exit",
                "name": container.name,
                "pid": container.pid,
                "exit_code": ended.code,
                "signal": ended.signal,
            }
        )

    def _end_if_empty(self) -> None:
        if not self.containers.table:
            self._loop.stop()

    def _end_if_idle(self) -> None:
        if not self.server.clients:
            self._end_if_empty()


def report(where: str, error: Exception) -> None:
    """Write an error of ours to syslog, in one line."""
    text = f"{where}: {type(error).__name__}: {error} ({place(error)})"
    syslog.syslog(syslog.LOG_ERR, text.replace("\n", " ").replace("\0", " "))


def main() -> NoReturn:
    """Be the keeper; ``uxc.keeper.spawn`` starts it with a connected client as descriptor 3.

    What goes wrong before it serves is written to stderr, which the starter reads.
    """
    try:
        if not interpreter.is_protected():
            interpreter.restart()
        _serve(paths_module.from_environment())
    except UxcError as error:
        posix.write(2, f"uxc-keeper: {error.message}\n".encode())
    except OSError as error:
        posix.write(2, f"uxc-keeper: {system_failure('start', error).message}\n".encode())
    else:
        posix._exit(0)
    posix._exit(1)


def _serve(paths: Paths) -> None:
    proc.set_name("uxc-keeper")
    proc.set_subreaper()
    syslog.openlog("uxc-keeper", syslog.LOG_PID, syslog.LOG_DAEMON)
    posix.chdir("/")
    posix.umask(0o022)
    files.make_dirs(paths.run, 0o755)
    lock = _lock(paths.keeper_lock)
    group = cgroup.leave_service(paths.cgroup_parent)
    before_task = _claim_resources()
    keeper = Keeper(paths, before_task)
    keeper.server.listen(paths.keeper_socket)
    keeper.server.adopt(_socket.socket(fileno=3))
    # All that was made so far stays: a collection would only copy it into every child.
    gc.collect()
    gc.freeze()
    # The starter's pipe ends here, and this says that we serve.
    posix.dup2(1, 2)
    try:
        keeper.run()
    except Exception as error:
        # Nobody reads stderr any more.
        report("the keeper", error)
        raise
    finally:
        keeper.server.close()
        if group is not None:
            cgroup.return_and_remove(group)
        posix.close(lock)


def _lock(path: str) -> int:
    """Be the one keeper of the prefix; wait for another one that is about to end."""
    try:
        return files.lock(path, wait=False)
    except BlockingIOError:
        # If it does not end, the starter loses patience, and these are the last words it read.
        posix.write(2, f"uxc-keeper: another keeper holds {path} and does not answer\n".encode())
        return files.lock(path)


def _claim_resources() -> Any:
    """Take as many descriptors and as much protection as we may; return what undoes it.

    Children inherit both, and a container must start with what the system gives to everybody.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    score = files.read_bytes("/proc/self/oom_score_adj", 64).strip()
    lowered = _set_oom_score_adj(_OOM_SCORE_ADJ)

    def give_back() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        if lowered:
            _set_oom_score_adj(score)
        proc.set_name("uxc-worker")

    return give_back


def _set_oom_score_adj(score: bytes) -> bool:
    fd = posix.open("/proc/self/oom_score_adj", posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        files.write_all(fd, score)
    except PermissionError:
        # Lowering takes CAP_SYS_RESOURCE; we run as well without.
        return False
    finally:
        posix.close(fd)
    return True
