"""``restore``: make a container again from the images of a checkpoint, by criu."""

import posix

from uxc.errors import EXIT_OK
from uxc.oci import createoptions, lifecycle, restoring
from uxc.ocicli import attached, checkpointing
from uxc.ocicli.call import FLAG, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.ocicli.call import Call

OPTIONS = {
    **checkpointing.OPTIONS,
    "bundle": WORD,
    "console-socket": WORD,
    "pid-file": WORD,
    "detach": FLAG,
    "no-pivot": FLAG,
    "no-subreaper": FLAG,
    "lsm-profile": WORD,
    "lsm-mount-context": WORD,
}
SHORT = {"b": "bundle", "d": "detach"}
OPERANDS = (1, 1)


def run(call: "Call") -> int:
    """Restore the container, and without --detach wait for its end as ``run`` does."""
    given = call.options
    options = checkpointing.options_of(call)
    for name in ("lsm-profile", "lsm-mount-context"):
        if name in given:
            options.words += [f"--{name}", given[name]]
    bundle = createoptions.absolute(given.get("bundle") or posix.getcwd())
    wanted = createoptions.CreateOptions(call.root, call.id, bundle, call.paths.seccomp_dir)
    wanted.pid_file = given.get("pid-file", "")
    wanted.cgroup_parent = call.paths.cgroup_parent
    options.images = createoptions.absolute(options.images)
    options.work = createoptions.absolute(options.work)
    state = restoring.restore(wanted, options)
    for warning in state.warnings:
        call.warning(warning)
    if "detach" in given:
        return EXIT_OK
    code = attached.wait(state.pid, None)
    for warning in lifecycle.delete(call.root, call.id, force=True):
        call.warning(warning)
    return code
