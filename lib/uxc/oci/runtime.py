"""The operations of the runtime specification as functions: create, start, state, kill, delete.

Used by the command line and by the keeper alike. Nothing here prints or ends the process; every
failure is a UxcError, and a failed create leaves nothing behind. Call from a process with one
thread.
"""

from uxc.oci.creation import CONFIG, CreateOptions, Creation, WouldWaitError, begin, create
from uxc.oci.gate import wait_opened
from uxc.oci.lifecycle import delete, kill, load, open_gate, start, states
from uxc.oci.state import State

__all__ = [
    "CONFIG",
    "CreateOptions",
    "Creation",
    "State",
    "WouldWaitError",
    "begin",
    "create",
    "delete",
    "kill",
    "load",
    "open_gate",
    "start",
    "states",
    "wait_opened",
]
