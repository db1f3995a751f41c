"""Where the milliseconds of create, start, state and delete go, function by function."""

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bundles
import stamped
from timing import command_ms

from uxc.demo.router import TOP

# What is looked at, in the order of a life: (module, function, what it is; deeper ones indented).
SPANS = (
    ("uxc.ocicli.main", "load", "the module of the command"),
    ("uxc.oci.creation", "Creation.__init__", "resolve the bundle"),
    ("uxc.oci.creation", "read_config", "  read config.json"),
    ("uxc.oci.spec", "parse", "  check and type it"),
    ("uxc.oci.plan", "Plan.__init__", "  plan the process and its root"),
    ("uxc.oci.cgroup.layout", "probe", "  look for the cgroup trees"),
    ("uxc.oci.seccomp", "program", "  find the compiled filter"),
    ("uxc.oci.creation", "Creation.reserve", "reserve the id"),
    ("uxc.oci.creation", "Creation.make", "make"),
    ("uxc.oci.state", "State.save_config", "  keep config.json"),
    ("uxc.oci.cgroup.setup", "Plan.create", "  cgroups, with limits"),
    ("uxc.oci.process", "spawn", "  clone the first process"),
    ("uxc.oci.creation", "Creation.finish", "finish"),
    ("uxc.oci.process", "FirstProcess.hear", "  wait for the first process"),
    ("uxc.oci.child", "detach", "    drop descriptors, signals, session"),
    ("uxc.oci.init", "_enter_cgroups", "    enter the cgroups"),
    ("uxc.oci.init", "_enter_namespaces", "    network up"),
    ("uxc.oci.mounts", "make_all", "    mounts"),
    ("uxc.oci.devices", "make_all", "    devices"),
    ("uxc.oci.init", "_set_names_and_settings", "    host name, sysctls"),
    ("uxc.oci.rootfs", "Rootfs.make_paths_readonly", "    read-only paths"),
    ("uxc.oci.rootfs", "Rootfs.mask", "    masked paths"),
    ("uxc.oci.rootfs", "Rootfs.enter", "    pivot"),
    ("uxc.oci.program", "become", "    user, capabilities"),
    ("uxc.oci.process", "FirstProcess.park", "  park it"),
    ("uxc.oci.gate", "let_run", "let it run, wait for the exec"),
    ("uxc.oci.state", "load", "read the record"),
    ("uxc.oci.lifecycle", "clean_up", "remove cgroups and record"),
)
_OWN = {-2: "import the command line", -3: "the command"}
_COMMANDS = ("create", "state", "start", "delete")
# line in SPANS or _OWN → (begin, length, of it importing), milliseconds since the start.
Times = dict[int, tuple[float, float, float]]


class Stage:
    """A library, an interpreter that is prepared, and a bundle, to be run with stamps."""

    def __init__(self, directory: Path, bundle: Path, interpreter: Path) -> None:
        """Keep notes and state in ``directory``."""
        self._bundle = bundle
        self._spans = directory / "spans"
        self._notes = directory / "notes"
        self._root = directory / "where.root"
        self._spans.write_text("".join(f"{module} {name}\n" for module, name, _ in SPANS))
        program = (str(interpreter), "-I", "-S", stamped.__file__)
        self._program = (*program, str(TOP / "lib"), str(self._spans), str(self._notes))

    def run(self, command: str) -> tuple[Times, float]:
        """Run one command on the container and return its spans, and how long it took (ms)."""
        self._notes.write_bytes(bytes(stamped.AREAS * stamped.AREA_BYTES))
        options = ("--bundle", str(self._bundle)) if command == "create" else ()
        begin = time.perf_counter_ns()
        total = command_ms(*self._program, "--root", str(self._root), command, *options, "where")
        return self._read(begin), total

    def _read(self, origin: int) -> Times:
        data = self._notes.read_bytes()
        found: Times = {}
        for area in range(0, len(data), stamped.AREA_BYTES):
            (count,) = struct.unpack_from("=q", data, area)
            for number in range(count):
                at = area + 8 + number * stamped.RECORD_BYTES
                line, begin, end, importing = struct.unpack_from(stamped.RECORD, data, at)
                found[line] = ((begin - origin) / 1e6, (end - begin) / 1e6, importing / 1e6)
        return found


def _floor(directory: Path, rounds: int) -> None:
    """Print what every command pays before its first line."""
    nothing = directory / "nothing.py"
    nothing.write_text("import posix\nposix._exit(0)\n")
    launcher = directory / "launcher"
    text = (TOP / "bin/uxc-runtime").read_text().replace("/usr/bin/python3", "/bin/true")
    launcher.write_text(text)
    launcher.chmod(0o755)
    commands = {
        "a process": ("/bin/true",),
        "the launcher and a process": (str(launcher), "--version"),
        "the interpreter": ("/usr/bin/python3", "-I", "-S", str(nothing)),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            times[name].append(command_ms(*words))
    print("what every command starts with (ms)")
    for name in commands:
        print(f"  {name:44}{statistics.median(times[name]):7.2f}")
    print()


def _show(command: str, runs: list[tuple[Times, float]]) -> None:
    lines = {line for times, _ in runs for line in times}
    names = {**_OWN, **{number: what for number, (_, _, what) in enumerate(SPANS)}}
    print(f"{command:46}{'begin':>7}{'length':>8}{'imports':>9}")
    first = statistics.median(times[-1][0] for times, _ in runs)
    print(f"  {'the interpreter, until its first line':44}{0:7.2f}{first:8.2f}")
    medians = {
        line: tuple(
            statistics.median(times[line][at] for times, _ in runs if line in times)
            for at in range(3)
        )
        for line in lines
        if line != -1
    }
    for line in sorted(medians, key=lambda line: (medians[line][0], -medians[line][1])):
        begin, length, importing = medians[line]
        shown = f"{importing:9.2f}" if importing >= 0.005 else ""
        print(f"  {names[line]:44}{begin:7.2f}{length:8.2f}{shown}")
    total = statistics.median(total for _, total in runs)
    print(f"  {'until it has ended and is waited for':44}{'':7}{total:8.2f}\n")


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests/bench/run where")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--config", choices=("plain", "podman"), default="plain")
    arguments = parser.parse_args()
    if Path("/sys/fs/cgroup/unified").is_dir():
        # As in the comparison with crun, which refuses the hybrid layout.
        subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified"], check=True)
    directory = Path(tempfile.mkdtemp(prefix="uxc-bench."))
    subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    try:
        bundle = getattr(bundles, arguments.config)(directory)
        os.environ["UXC_PREFIX"] = str(directory / "prefix")
        runtime = str(TOP / "bin/uxc-runtime")
        words = (runtime, "--root", str(directory / "first.root"))
        # The first one prepares the interpreter, and compiles the filter.
        command_ms(*words, "create", "--bundle", str(bundle), "first")
        command_ms(*words, "delete", "--force", "first")
        interpreter = directory / "prefix/var/run/uxc/interp/python3"
        _floor(directory, arguments.rounds)
        stage = Stage(directory, bundle, interpreter)
        runs: dict[str, list[tuple[Times, float]]] = {command: [] for command in _COMMANDS}
        for _ in range(arguments.rounds):
            for command in _COMMANDS:
                if command == "delete":
                    # Its program is done by then.
                    time.sleep(0.05)
                runs[command].append(stage.run(command))
        for command in _COMMANDS:
            _show(command, runs[command])
        subprocess.run(["umount", interpreter], check=True)
    finally:
        subprocess.run(["umount", "--recursive", directory], check=True)
        shutil.rmtree(directory)
    print("start is measured by the program; the launcher alone does a plain one (decision 3)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
