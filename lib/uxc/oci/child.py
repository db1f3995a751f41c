"""What a process that is cloned to become a program does first and last, wherever it goes.

The container's first process and one that joins a container are copies of the runtime until they
execute: they drop what they have from it before anything else, and keep nothing open at the end.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _socket
import errno
import posix
import sys

from uxc.errors import InternalError, UxcError, system_failure
from uxc.linux import fds, proc, pty
from uxc.oci import handshake
from uxc.protocol import send_with_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def live(channel: handshake.Channel, what: str, steps: "Callable[[], int]") -> "NoReturn":
    """Take the ``steps`` to the program, or tell the maker why not, and end with their exit code.

    Nothing may leave this function: above it is the stack of the process that was cloned. ``what``
    names this process in the message about a bug.
    """
    code = 1
    try:
        code = steps()
    except UxcError as error:
        _report(channel, error)
    except (EOFError, BrokenPipeError):
        # The maker is gone, and nobody waits for the program any more.
        code = 1
    except BaseException as error:
        _report(channel, InternalError(f"{type(error).__name__} in the {what}: {error}"))
    finally:
        posix._exit(code)


def _report(channel: handshake.Channel, error: UxcError) -> None:
    """Send ``error`` to the maker, or to the container's stderr when there is none any more."""
    try:
        channel.send_error(error)
    except OSError:
        posix.write(2, f"{error.message}\n".encode("utf-8", "replace"))


def detach(
    prepare: "Callable[[], None] | None", keep: "list[int]", stdio: "tuple[int, int, int]"
) -> None:
    """Drop what the caller left in this process: descriptors, signals, session, module search.

    ``prepare`` is called first of all, ``keep`` stays open beside ``stdio``, which become 0 to 2.
    From here on the process ends with its maker.
    """
    if prepare is not None:
        prepare()
    posix.umask(0)
    proc.set_parent_death_signal(_signal.SIGKILL)
    fds.close_all_but(keep)
    proc.reset_signals()
    # An import from here on would read files of the container as code.
    sys.meta_path.clear()
    sys.path.clear()
    if stdio != (0, 1, 2):
        # Copies first: one of them may have the number that another one is to get.
        for number, copy in enumerate([posix.dup(fd) for fd in stdio]):
            posix.dup2(copy, number)
    posix.setsid()


def join_session_keyring() -> None:
    """Leave the caller's session keyring, whose keys the program could search and read.

    The new one has no name: by name, another container may have made it before. SystemFailure.
    """
    try:
        proc.join_session_keyring()
    except OSError as error:
        # A kernel without keyrings has nothing to leave.
        if error.errno != errno.ENOSYS:
            raise system_failure("join a session keyring", error) from None


def enter_cgroups(entrances: "list[int]") -> None:
    """Enter the cgroups whose files are open at ``entrances``, and close those; SystemFailure."""
    try:
        for fd in entrances:
            # "0" is the writer itself. A single thread that moves itself by v1's "tasks" does not
            # wait for the lock of all threads, an RCU grace period of 10 ms on an idle machine.
            posix.write(fd, b"0")
            posix.close(fd)
    except OSError as error:
        raise system_failure("enter the container's cgroups", error) from None


def take_terminal(peer: int, master: int, name: bytes, console: int) -> None:
    """Make ``peer`` the controlling terminal and the standard streams, and send ``master`` away.

    It goes with ``name`` to whoever listens at the socket ``console``; all three are closed.
    Raises OSError for the terminal, SystemFailure for the socket.
    """
    for number in (0, 1, 2):
        posix.dup2(peer, number)
    pty.make_controlling(0)
    try:
        sock = _socket.socket(fileno=console)
        send_with_fds(sock, name, (master,))
        sock.close()
    except OSError as error:
        raise system_failure("send the terminal to the console socket", error) from None
    posix.close(master)
    posix.close(peer)


def keep_only(preserved: "list[int]") -> None:
    """Let the program inherit ``preserved`` and the standard streams, nothing else."""
    fds.close_all_but(preserved, cloexec=True)
    for fd in preserved:
        posix.set_inheritable(fd, True)


def hand_over(channel: handshake.Channel, listener: int) -> None:
    """Have the maker fetch the filter's listener; under that filter sendmsg(2) may not return."""
    posix.write(channel.fd, handshake.LISTENER + b"%d" % listener)
    channel.expect(handshake.TAKEN)
    posix.close(listener)
