"""What ``uxc-runtime`` says about itself: help texts and versions."""

from uxc.version import VERSION

SPEC_VERSION = "1.3.0"
# The command line of this release of runc is the one that we have, for who asks a "runc".
_RUNC_VERSION = "1.3.0"

_USAGE = """\
usage: uxc-runtime [GLOBAL OPTIONS] COMMAND [OPTIONS] [OPERANDS]

commands:
  create [OPTIONS] ID    make the container of a bundle; its program waits for start
  start ID               let its program run
  run [OPTIONS] ID       create, start, wait, delete; the program's exit code
  state ID               print its state as JSON
  list [OPTIONS]         list containers
  kill [OPTIONS] ID [SIGNAL]
                         send a signal, SIGTERM when none is named
  delete [OPTIONS] ID    take everything away that create made

global options:
  --root DIR             where state is kept
  --log FILE             append messages to FILE too
  --log-format FORMAT    text (default) or json
  --debug                say more
  --version              print the versions
  --systemd-cgroup, --cgroup-manager cgroupfs|systemd, --rootless, --criu PATH,
  --log-level LEVEL      accepted as runc and crun have them

options of create and run:
  --bundle DIR, -b DIR   the bundle, the working directory when not given
  --config FILE, -f FILE another config.json
  --pid-file FILE        write the pid of the first process
  --console-socket PATH  send the terminal there
  --pidfd-socket PATH    send a pidfd there
  --preserve-fds N       hand N descriptors above 2 to the program
  --no-pivot, --no-new-keyring
  --detach, -d           (run) do not wait
  --keep                 (run) do not delete

options of others:
  kill --all, -a         all processes of the container
  delete --force, -f     also one that runs; none there is no error
  list --quiet, -q       ids only
  list --format, -f      table or json
"""


def text(command: str) -> str:
    """Return the help text."""
    del command
    return _USAGE


def version(program: str) -> str:
    """Return the lines of --version, for the program as it was called.

    go-runc reads the first line only when it begins with "runc version"; a link of that name is
    how containerd and Docker can be given another runtime.
    """
    if program.rpartition("/")[2] == "runc":
        first = f"runc version {_RUNC_VERSION}"
    else:
        first = f"uxc-runtime version {VERSION}"
    return f"{first}\ncommit: uxc-{VERSION}\nspec: {SPEC_VERSION}\n"
