"""The operations of the runtime specification as functions: create, start, state, kill, delete.

Used by the command line and by the keeper alike. Nothing here prints or ends the process; every
failure is a UxcError, and a failed create leaves nothing behind. Call from a process with one
thread.
"""

from uxc.oci.createoptions import CONFIG, CreateOptions, wants_terminal
from uxc.oci.creation import Creation, WouldWaitError, begin, create
from uxc.oci.gate import has_start_hooks, wait_opened
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
    "has_start_hooks",
    "kill",
    "load",
    "open_gate",
    "start",
    "states",
    "wait_opened",
    "wants_terminal",
]
