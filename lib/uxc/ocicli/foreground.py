"""``run``: create, start, wait and delete in one, with the caller's terminal if one is wanted."""

import posix

from uxc.errors import EXIT_OK, UxcError
from uxc.oci import createoptions, creation, lifecycle, notify
from uxc.ocicli import attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.notify import Listener
    from uxc.oci.state import State
    from uxc.ocicli.call import Call


def run(options: createoptions.CreateOptions, detached: bool, kept: bool, call: "Call") -> int:
    """Run a container and return its program's exit code, 128+n for signal n; 0 when detached."""
    terminal = None
    if not detached and not options.console_socket and _wants_terminal(options):
        terminal = attached.Terminal()
        options.console_fd = terminal.container_end
    try:
        state = creation.create(options)
        if terminal is not None:
            terminal.receive()
        for warning in state.warnings:
            call.warning(warning)
        listener = notify.Listener(state.directory) if options.notifies else None
        try:
            lifecycle.start(options.root, options.id)
            if listener is not None:
                _forward(listener, state, detached)
        except UxcError:
            lifecycle.delete(options.root, options.id, force=True)
            raise
        if detached:
            return EXIT_OK
        code = attached.wait(state.pid, terminal)
    finally:
        if terminal is not None:
            terminal.close()
    if not kept:
        for warning in lifecycle.delete(options.root, options.id, force=True):
            call.warning(warning)
    return code


def _forward(listener: "Listener", state: "State", detached: bool) -> None:
    """Tell the supervisor when the container is ready; in a process apart if we wait for its end.

    The supervisor is to watch the container's process when we leave, and us as long as we stay.
    """
    if detached:
        listener.forward(notify.address(), state.pid, state.start_time)
    elif posix.fork() == 0:
        try:
            listener.forward(notify.address(), state.pid, state.start_time, posix.getppid())
        finally:
            posix._exit(0)
    listener.close()


def _wants_terminal(options: createoptions.CreateOptions) -> bool:
    # Kept, so that what was looked at is what is run.
    options.config = createoptions.read_config(options)
    return createoptions.wants_terminal(options.config)
