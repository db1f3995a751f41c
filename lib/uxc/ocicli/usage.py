"""What ``uxc-runtime`` says about itself: help texts and versions."""

from uxc.version import VERSION

SPEC_VERSION = "1.3.0"
# The command line of this release of runc is the one that we have, for who asks a "runc".
_RUNC_VERSION = "1.3.0"

_GENERAL = """\
usage: uxc-runtime [GLOBAL OPTIONS] COMMAND [OPTIONS] [OPERANDS]

{commands}

global options:
  --root DIR             where state is kept; other roots are other worlds
  --log FILE             append messages to FILE, too
  --log-format FORMAT    text (default) or json
  --log-level LEVEL      debug, warning (default) or error
  --debug                say more; a bug of ours shows where it happened
  --criu PATH            the program for checkpoint and restore
  --cgroup-manager NAME  cgroupfs; systemd and disabled are taken as that
  --systemd-cgroup       accepted: slice:prefix:name becomes a path in cgroupfs
  --rootless [VALUE]     accepted as runc and crun have it
  --version, -v          print the versions
  --help, -h             print this text; COMMAND --help tells of a command

The whole reference is docs/runtime.md.
"""

_CREATE = """\
  --bundle DIR, -b DIR   the bundle; the working directory when not given
  --config FILE, -f FILE another config.json
  --pid-file FILE        write the pid of the first process
  --console-socket PATH  send the terminal there
  --pidfd-socket PATH    send a pidfd of the first process there
  --preserve-fds N       hand N descriptors to the program, behind those of LISTEN_FDS
  --no-pivot             put the root in place without pivot_root(2)
  --no-new-keyring       keep the caller's session keyring
  --no-subreaper         accepted: the caller is never made one
"""
_CRIU = """\
  --image-path DIR       where the images are; ./checkpoint when not given
  --work-path DIR        where criu writes its logs; the images' place when not given
  --tcp-established      also connections that are open
  --ext-unix-sk          also Unix sockets to the outside
  --shell-job            also processes of a shell's session
  --file-locks           also locks
  --manage-cgroups-mode MODE
                         soft (default), full, strict or ignore
  --empty-ns network     a network namespace without what is in it
  --auto-dedup           images without pages that are there twice
  --lazy-pages           memory as it is needed
"""

# Command → (operands, what it does in one line, its options).
_COMMANDS = {
    "create": ("ID", "make the container of a bundle; its program waits for start", _CREATE),
    "start": ("ID", "let its program run", ""),
    "run": (
        "ID",
        "create, start, wait, delete; the exit code is the program's",
        _CREATE
        + """\
  --detach, -d           do not wait
  --keep                 do not delete
""",
    ),
    "exec": (
        "ID [COMMAND ARGUMENT…]",
        "run another program in it",
        """\
  --process FILE, -p     the process object, instead of a command
  --tty, -t              give it a terminal
  --cwd DIR              its working directory
  --env NAME=VALUE, -e   one more variable
  --user UID[:GID], -u   as whom
  --additional-gids GID, -g
                         one more group
  --cap NAME, -c         one more capability
  --no-new-privs         it can gain no privileges
  --apparmor PROFILE     its AppArmor profile
  --process-label LABEL  its SELinux label
  --cgroup PATH          a cgroup below the container's
  --detach, -d           do not wait
  --pid-file FILE        write its pid
  --console-socket PATH  send the terminal there
  --pidfd-socket PATH    send a pidfd there
  --preserve-fds N       hand N descriptors to it
  --ignore-paused        also in a paused container
  --no-subreaper         accepted: the caller is never made one
""",
    ),
    "state": ("ID", "print its state as JSON", ""),
    "list": (
        "",
        "list containers",
        """\
  --quiet, -q            ids only
  --format FORMAT, -f    table (default) or json
""",
    ),
    "ps": (
        "ID [WORD…]",
        "list its processes; WORDs go to the host's ps(1)",
        """\
  --format FORMAT, -f    table (default) or json: pids only
""",
    ),
    "kill": (
        "ID [SIGNAL]",
        "send a signal, SIGTERM when none is named",
        """\
  --all, -a              to all of its processes
""",
    ),
    "delete": (
        "ID",
        "take everything away that create made",
        """\
  --force, -f            also of one that runs; none there is no error
""",
    ),
    "pause": ("ID", "stop all of its processes", ""),
    "resume": ("ID", "let them go on", ""),
    "update": (
        "ID",
        "change its limits: all that are named, or none",
        """\
  --resources FILE, -r   a resources object as in config.json; - is standard input,
                         and then no other option counts
  --memory BYTES, --memory-reservation BYTES, --memory-swap BYTES
                         512M and the like; -1 is no limit; swap is the sum of both
  --cpu-shares N, --cpu-quota USEC, --cpu-period USEC, --cpu-burst USEC, --cpu-idle 0|1
  --cpu-rt-period USEC, --cpu-rt-runtime USEC
  --cpuset-cpus LIST, --cpuset-mems LIST
  --pids-limit N         -1 is no limit
  --blkio-weight N       10 to 1000
""",
    ),
    "events": (
        "ID",
        "print statistics at intervals, and kills for want of memory",
        """\
  --stats                statistics once
  --interval DURATION    5s when not given; as in 500ms, 1m30s
""",
    ),
    "checkpoint": (
        "ID",
        "save it to images, by criu",
        _CRIU
        + """\
  --leave-running        let it run on
  --pre-dump             its memory alone, and let it run on
  --parent-path DIR      the images of a pre-dump before, seen from these
  --page-server ADDRESS:PORT
                         send the memory there
  --status-fd N          criu writes a zero byte when lazy pages are ready
""",
    ),
    "restore": (
        "ID",
        "make it again from images, by criu",
        _CRIU
        + """\
  --bundle DIR, -b DIR   the bundle; the working directory when not given
  --pid-file FILE        write the pid of the first process
  --detach, -d           do not wait
  --no-pivot, --no-subreaper, --console-socket PATH
                         accepted as runc has them
  --lsm-profile TYPE:NAME, --lsm-mount-context CONTEXT
                         another label than before
""",
    ),
    "spec": (
        "",
        "write a config.json to begin with",
        """\
  --bundle DIR, -b DIR   into this directory; the working directory when not given
  --file NAME, -f NAME   under another name
  --rootless             for who is not root
""",
    ),
    "features": ("", "print what the runtime knows, as JSON", ""),
}


def text(command: str) -> str:
    """Return the help text of ``command``, the general one for a word that is none."""
    if command not in _COMMANDS:
        rows = [f"  {name:<12}{summary}\n" for name, (_, summary, _) in _COMMANDS.items()]
        return _GENERAL.format(commands="commands:\n" + "".join(rows).rstrip())
    operands, summary, options = _COMMANDS[command]
    words = ["usage: uxc-runtime", command, *(["[OPTIONS]"] if options else []), operands]
    lines = f"{' '.join(words).rstrip()}\n\n{summary}\n"
    return f"{lines}\noptions:\n{options}" if options else lines


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
