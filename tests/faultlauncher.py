"""Run commands of uxc-runtime, each in a fork of a fresh interpreter, with a fault at a named step.

    python3 -I -S faultlauncher.py LIBRARY

Reads requests, one JSON object a line, from stdin and answers on stdout. A step is the call of a
function of the runtime's core, or the return from it: ``uxc.oci.creation:Creation.make:call``. What
is passed is heard by sys.setprofile(), which the processes that the runtime clones inherit; so the
program under test has no code for this. Steps go to a file that is mapped into all of them.
"""

import json
import mmap
import posix
import select
import struct
import sys
import time
import traceback
from types import CodeType, FrameType
from typing import Any

KILL, FAIL, RECORD = "kill", "fail", "record"
# Functions that a process passes first, by who it is from then on.
BECOMES = {
    "uxc.oci.process:_go_between": "between",
    "uxc.oci.init:run": "first",
    "uxc.oci.joining:run": "first",
    "uxc.oci.hooks:_become": "hook",
}
ROLES = ("runtime", "between", "first", "hook", "child")
HEAD_BYTES = 4096
AREA_BYTES = 1 << 20
MAP_BYTES = HEAD_BYTES + AREA_BYTES * len(ROLES)
# In the head, 8 bytes each: who wants to be killed, whether a fault came, the lengths of the areas.
_DYING, _FIRED, _LENGTHS = 0, 8, 16
SIGKILL, SIGPIPE = 9, 13
EIO = 5
PATIENCE_S = 20.0
PR_SET_CHILD_SUBREAPER = 36


class Watch:
    """The profile function: notes each step, and makes the fault happen."""

    def __init__(self, request: dict[str, Any], shared: mmap.mmap) -> None:
        self.mode = request["mode"]
        self.wanted = request.get("step", "")
        self.role_wanted = request.get("role", "runtime")
        self.left = request.get("nth", 1)
        self.shared = shared
        self.home = posix.getpid()
        self.role = "runtime"
        self.names: dict[CodeType, str] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        name = self.names.get(code)
        if name is None:
            name = self.names[code] = _name(frame)
        if not name:
            return
        if event == "call" and name in BECOMES:
            self.role = BECOMES[name]
        elif self.role == "runtime" and posix.getpid() != self.home:
            self.role = "child"
        # An exception on its way out is no return.
        step = f"{name}:{event}"
        if self.mode == RECORD:
            self._note(step)
        elif step == self.wanted and self.role == self.role_wanted:
            self.left -= 1
            if self.left == 0:
                self._strike()

    def _note(self, step: str) -> None:
        number = ROLES.index(self.role)
        place = _LENGTHS + 8 * number
        length = struct.unpack_from("=q", self.shared, place)[0]
        data = step.encode() + b"\n"
        start = HEAD_BYTES + number * AREA_BYTES + length
        self.shared[start : start + len(data)] = data
        struct.pack_into("=q", self.shared, place, length + len(data))

    def _strike(self) -> None:
        struct.pack_into("=q", self.shared, _FIRED, 1)
        if self.mode == FAIL:
            raise OSError(EIO, "Input/output error", "injected")
        if posix.getpid() == self.home:
            posix.kill(self.home, SIGKILL)
        # Pid 1 of a namespace gets no signal from there, not even this one: we do it.
        # Again and again, for another one may ask at the same time.
        while True:
            struct.pack_into("=q", self.shared, _DYING, posix.getpid())
            time.sleep(0.001)


def _name(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__", "")
    function = frame.f_code.co_qualname
    counts = module == "uxc.files" or module.startswith(("uxc.oci.", "uxc.linux."))
    # Of comprehensions the function around them tells enough; "<module>" is an import.
    return f"{module}:{function}" if counts and "<" not in function.split(".")[-1] else ""


def _run(request: dict[str, Any], shared: mmap.mmap) -> None:
    """Be the runtime for one command; never returns."""
    code = 99
    try:
        null = posix.open("/dev/null", posix.O_RDONLY)
        out = posix.open(request["output"], posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
        for fd, number in ((null, 0), (out, 1), (out, 2)):
            posix.dup2(fd, number)
        posix.closerange(3, max(null, out) + 1)
        for name, value in request.get("environment", {}).items():
            posix.environ[name.encode()] = value.encode()
        from uxc.ocicli.main import main

        if request["mode"]:
            sys.setprofile(Watch(request, shared))
        code = main(request["words"])
    except BaseException as error:
        sys.setprofile(None)
        posix.write(2, "".join(traceback.format_exception(error)).encode())
    finally:
        posix._exit(code)


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    """Run one command to its end; what became of it, and whether processes of it are there."""
    fd = posix.open(request["map"], posix.O_RDWR | posix.O_CREAT | posix.O_TRUNC, 0o600)
    posix.ftruncate(fd, MAP_BYTES)
    shared = mmap.mmap(fd, MAP_BYTES)
    posix.close(fd)
    pid = posix.fork()
    if pid == 0:
        _run(request, shared)
    deadline = time.monotonic() + PATIENCE_S
    pidfd = posix.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    hung = False
    while not poll.poll(1 if request["mode"] == KILL else 1000):
        if dying := struct.unpack_from("=q", shared, _DYING)[0]:
            # First the one: whoever comes next asks as soon as he can.
            struct.pack_into("=q", shared, _DYING, 0)
            _kill_inside(pid, dying)
        if time.monotonic() > deadline:
            hung = True
            posix.kill(pid, SIGKILL)
    posix.close(pidfd)
    status = posix.waitpid(pid, 0)[1]
    fired = bool(struct.unpack_from("=q", shared, _FIRED)[0])
    shared.close()
    code = posix.waitstatus_to_exitcode(status)
    _reap()
    return {"code": code, "hung": hung, "fired": fired}


def _kill_inside(parent: int, number: int) -> None:
    """Kill the child of ``parent`` that has ``number`` in its own pid namespace."""
    for name in posix.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/status") as file:
                fields = dict(line.split(":", 1) for line in file)
            if int(fields["PPid"]) == parent and int(fields["NSpid"].split()[-1]) == number:
                posix.kill(int(name), SIGKILL)
        except OSError:
            # It has ended meanwhile.
            continue


def _reap() -> bool:
    """Reap who was left to us; tell whether somebody still runs."""
    while True:
        try:
            if posix.waitpid(-1, posix.WNOHANG) == (0, 0):
                return True
        except ChildProcessError:
            return False


def _wait_for_all(request: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of all who were left to us; kill, and name, those who stay."""
    deadline = time.monotonic() + request["wait"]
    while _reap():
        if time.monotonic() > deadline:
            left = _children()
            for pid in left:
                posix.kill(int(pid), SIGKILL)
            return {"children": left}
        time.sleep(0.001)
    return {"children": {}}


def _children() -> dict[str, str]:
    """Return our children: pid → what it shows."""
    found = {}
    for name in posix.listdir("/proc"):
        try:
            if name.isdigit():
                with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as words:
                    line = stat.read()
                    if int(line.rpartition(")")[2].split()[1]) == posix.getpid():
                        found[name] = f"{line} {words.read()!r}"
        except OSError:
            continue
    return found


def _import_all(package: str) -> None:
    """Import every module now: none does it under a fault."""
    directory = f"{sys.path[0]}/{package.replace('.', '/')}"
    for name in sorted(posix.listdir(directory)):
        if name.endswith(".py") and name != "__init__.py":
            __import__(f"{package}.{name[:-3]}")
        elif "." not in name and name != "__pycache__" and name != "schemas":
            _import_all(f"{package}.{name}")


def main() -> None:
    """Answer requests until there are no more."""
    sys.path.insert(0, sys.argv[1])
    for package in ("uxc.oci", "uxc.ocicli", "uxc.linux"):
        _import_all(package)
    from uxc.linux import proc

    proc.set_subreaper()
    for line in sys.stdin:
        request = json.loads(line)
        answer = _wait_for_all(request) if "wait" in request else _serve(request)
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
