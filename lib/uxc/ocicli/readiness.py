"""``start`` for a caller that wants to hear when the service in the container is ready."""

from uxc.errors import EXIT_OK
from uxc.oci import lifecycle, notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call


def start(call: "Call") -> int:
    """Start the container, wait until it is ready or has ended, and tell the caller's supervisor.

    One that was created without a supervisor is started, and nothing is waited for.
    """
    state = lifecycle.load(call.root, call.id)
    try:
        listener = notify.Listener(state.directory)
    except FileNotFoundError:
        lifecycle.start(call.root, call.id)
        return EXIT_OK
    try:
        lifecycle.start(call.root, call.id)
        if not listener.forward(notify.address(), state.pid, state.start_time):
            call.debug("the container ended, or its supervisor did not answer")
    finally:
        listener.close()
    return EXIT_OK
