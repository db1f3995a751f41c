"""A created container without an interpreter: its program loaded, and frozen before it begins.

The first process is traced, executes the program, and stops inside the execve; then its cgroup is
frozen and it is let go: ``start`` thaws the cgroup. See docs/decisions/0015-frozen-at-exec.md.
"""

import posix

from uxc.errors import SystemFailure, system_failure
from uxc.linux import caps, trace
from uxc.oci import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.group import Cgroup
    from uxc.oci.plan import Plan
    from uxc.oci.process import FirstProcess
    from uxc.oci.seccomp import Program

# An annotation with the value "false" has the program opened at start and not at create.
ANNOTATION = "org.openwrt.uxc.frozen-at-exec"


def is_possible(
    plan: "Plan", cgroup: "Cgroup", seccomp: "Program | None", annotations: "dict[str, str]"
) -> bool:
    """Tell whether the container can wait for its start frozen inside its execve."""
    if plan.program is None or annotations.get(ANNOTATION) == "false":
        return False
    if plan.hooks.start_container or plan.labels_exec:
        return False
    if seccomp is not None and seccomp.notifies_exec:
        # Nobody answers the notification before start, and create would wait for it.
        return False
    if not (cgroup.unified and cgroup.is_new):
        # Somebody else's processes would be frozen, too.
        return False
    effective, _, _ = caps.get()
    return bool(effective & capabilities.SYS_PTRACE)


class Tracer:
    """The maker of a container, holding its first process by ptrace."""

    __slots__ = ("_process",)

    def __init__(self, process: "FirstProcess") -> None:
        """Seize ``process``, which waits for an answer; OSError as ptrace(2)."""
        self._process = process
        trace.seize(process.pid)

    def has_executed(self, status: int) -> bool:
        """Take in a wait status; tell whether the program is loaded, and stopped.

        Raises the UxcError that the process sent before it ended, or SystemFailure.
        """
        process = self._process
        if not posix.WIFSTOPPED(status):
            process.status = status
            process.hear()
            raise SystemFailure("the container's first process ended instead of its program")
        if trace.at_exec(status):
            return True
        trace.go_on(process.pid, status)
        return False

    def release(self) -> None:
        """Let go of the process, which stays where it is: its cgroup is frozen; SystemFailure."""
        try:
            trace.release(self._process.pid)
        except OSError as error:
            raise system_failure("let go of the container's first process", error) from None
