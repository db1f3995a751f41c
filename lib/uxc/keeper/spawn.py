"""Start the keeper, detached from whoever starts it; connect to one that runs.

Used by the manager. The keeper must outlive it, its service and its session (docs/keeper.md).
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import posix
import select
import sys
import time

import uxc
from uxc import protocol
from uxc.errors import UnavailableError, UxcError, system_failure
from uxc.linux import fds as descriptors
from uxc.linux import proc
from uxc.oci import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from uxc.paths import Paths

_PACKETS = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)
_SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_INSTALLED = "/usr/libexec/uxc/uxc-keeper"
_CLIENT_FD = 3
# Above everything that is put in its place: 0 to 3.
_FIRST_FREE_FD = 4


def ensure(paths: Paths, timeout_s: float = 10.0) -> _socket.socket:
    """Return a blocking connection to the keeper of ``paths``, which is started if none answers.

    Raises UnavailableError, with the keeper's own words where it left some, when none comes up
    within ``timeout_s`` seconds, SystemFailure when the kernel refuses.
    """
    deadline = time.monotonic() + timeout_s
    sock = connect(paths, timeout_s)
    return sock if sock is not None else _start(paths, deadline)


def connect(paths: Paths, timeout_s: float = 10.0) -> _socket.socket | None:
    """Return a blocking connection to the running keeper of ``paths``, None when there is none.

    Raises SystemFailure when the kernel refuses.
    """
    sock = _socket.socket(_socket.AF_UNIX, _PACKETS)
    try:
        sock.settimeout(timeout_s)
        sock.connect(paths.keeper_socket)
        _greet(sock)
    except (UnavailableError, OSError) as error:
        sock.close()
        # It may just have ended: then it has not taken the connection, or cut it off.
        if isinstance(error, UnavailableError) or error.errno in _ABSENT:
            return None
        raise system_failure("connect to the keeper", error) from None
    sock.settimeout(None)
    return sock


def _start(paths: Paths, deadline: float) -> _socket.socket:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    words, stderr = posix.pipe2(posix.O_CLOEXEC)
    try:
        try:
            _fork_twice(paths, theirs.fileno(), stderr)
        finally:
            theirs.close()
            posix.close(stderr)
        said = _read_until_end(words, deadline)
        # The pipe ends when the keeper serves, and when it dies.
        ours.settimeout(max(deadline - time.monotonic(), 0.1))
        try:
            _greet(ours)
        except (UxcError, OSError):
            lines = said.decode(errors="replace").strip().splitlines()
            reason = lines[-1].removeprefix("uxc-keeper: ") if lines else "it said nothing"
            raise UnavailableError(f"the keeper did not start: {reason}") from None
    except BaseException:
        # A keeper that comes up too late finds its only client gone, and ends.
        ours.close()
        raise
    finally:
        posix.close(words)
    ours.settimeout(None)
    return ours


def _fork_twice(paths: Paths, client_fd: int, stderr: int) -> None:
    """Run the keeper as an orphan in a session of its own; OSError as fork(2)."""
    pid = posix.fork()
    if pid:
        # The one in between has ended at once: the keeper is no child of ours to be reaped.
        posix.waitpid(pid, 0)
        return
    try:
        posix.setsid()
        if posix.fork() == 0:
            _become_keeper(paths, client_fd, stderr)
    finally:
        posix._exit(0)


def _become_keeper(paths: Paths, client_fd: int, stderr: int) -> NoReturn:
    try:
        client_fd = fcntl.fcntl(client_fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
        stderr = fcntl.fcntl(stderr, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
        nothing = posix.open("/dev/null", posix.O_RDWR)
        for source, target in ((nothing, 0), (nothing, 1), (stderr, 2), (client_fd, _CLIENT_FD)):
            if source != target:
                posix.dup2(source, target)
        descriptors.close_range(_CLIENT_FD + 1)
        proc.reset_signals()
        # procd preloads a library into services whose output it collects: nothing of our
        # environment goes on, or it would reach every container's hooks.
        environment = {"PATH": _SEARCH_PATH}
        if paths.prefix:
            environment["UXC_PREFIX"] = paths.prefix
        arguments = [sys.executable, "-I", "-S", "-X", "utf8"]
        if sys.dont_write_bytecode:
            arguments.append("-B")
        arguments.append(_program())
        # A container's program can reach the file that its maker runs (docs/security.md). Where no
        # read-only mount of it is prepared the keeper starts itself again from one.
        prepared = interpreter.is_prepared(paths.interpreter)
        posix.execve(paths.interpreter if prepared else sys.executable, arguments, environment)
    except OSError as error:
        posix.write(2, f"{error.filename or 'exec'}: {error.strerror}\n".encode())
    finally:
        posix._exit(1)


def _program() -> str:
    """Return the keeper's launcher: the one beside this package in a checkout, or installed."""
    checkout = uxc.__path__[0].rpartition("/")[0].rpartition("/")[0] + "/bin/uxc-keeper"
    return checkout if posix.access(checkout, posix.X_OK) else _INSTALLED


def _greet(sock: _socket.socket) -> None:
    """Say hello; UnavailableError when nobody is there any more, OSError when the wait is over."""
    try:
        protocol.send_packet(sock, protocol.request(0, "hello", {}))
        message, fds = protocol.receive_packet(sock, "the keeper")
    except ConnectionError:
        message, fds = None, []
    protocol.close_all(fds)
    if message is None:
        raise UnavailableError("the keeper has ended")
    protocol.result_of(message)


def _read_until_end(fd: int, deadline: float) -> bytes:
    """Read ``fd`` until its end or the deadline."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    parts = []
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            break
        part = posix.read(fd, 4096)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
