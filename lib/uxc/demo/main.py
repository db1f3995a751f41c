"""Start the demo in namespaces of its own; keep it running, and end it later, when asked to."""

import argparse
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from uxc.demo import inside
from uxc.demo.router import TOP

# Who to tell that a kept demo shall end; there is one at most.
PID_FILE = Path("/run/uxc-demo.pid")
END_TIMEOUT_S = 60


def main(arguments: Sequence[str]) -> int:
    """Run the demo as ``arguments`` say; return the exit status."""
    parser = argparse.ArgumentParser(prog="uxc-demo", description="Play the announcement.")
    parser.add_argument("--keep", action="store_true", help="leave it running, to look around")
    parser.add_argument("--end", action="store_true", help="end what --keep left running")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ready", type=int, default=-1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        return inside.play(options.inside, options.ready)
    if options.end:
        return _end_kept()
    if _kept_pid():
        print("uxc-demo: one is running already; end it: bin/uxc-demo --end", file=sys.stderr)
        return 1
    return _outside(keep=options.keep)


def _outside(*, keep: bool) -> int:
    """Let the story be told in new namespaces; return when it is over, or ready to be kept."""
    directory = Path(tempfile.mkdtemp(prefix="uxc-demo."))
    ready, told = os.pipe()
    command = [str(TOP / "lib/apart.sh"), sys.executable, "-P", "-m", "uxc.demo.main"]
    command += ["--inside", str(directory)]
    if keep:
        command += ["--ready", str(told)]
    try:
        # A session of its own: a kept demo outlives this terminal, and Ctrl-C is passed on once.
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(told,),
            start_new_session=True,
        ) as process:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: _tell_to_end(process.pid))
            os.close(told)
            assert process.stdout
            if _relay(process.stdout.fileno(), ready):
                pid = _story_of(process.pid)
                PID_FILE.write_text(f"{pid}\n")
                print(_how_to_look_around(pid, directory), flush=True)
                # Not by way of what waits for the end and cleans up.
                os._exit(0)
            return process.wait()
    finally:
        # The story takes its things away itself, unless it was ended before it began.
        shutil.rmtree(directory, ignore_errors=True)


def _relay(output: int, ready: int) -> bool:
    """Print what the story says; return whether it was told and waits, or false at its end.

    Not the terminal itself for the story: a kept one must not hold it, nor a pipe in its place.
    """
    while True:
        readable, _, _ = select.select([output, ready], [], [])
        said = os.read(output, 1 << 16) if output in readable else b""
        if not said:
            return bool(os.read(ready, 1))
        sys.stdout.buffer.write(said)
        sys.stdout.flush()


def _story_of(unshare: int) -> int:
    """Return who tells the story: unshare's child is pid 1 in there, and its child tells it."""
    pid = unshare
    for _ in range(2):
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return pid


def _tell_to_end(unshare: int) -> None:
    try:
        os.kill(_story_of(unshare), signal.SIGTERM)
    except (OSError, IndexError):
        pass  # it is about to begin or has ended


def _how_to_look_around(pid: int, directory: Path) -> str:
    environment = f"UXC_PREFIX={directory}/root PATH={TOP}/bin:$PATH"
    return f"""
demo: ok, and running. A shell on its router:

  sudo nsenter --mount --net --ipc --uts --pid --target {pid} env {environment} bash

There, for example:

  uxc list
  uxc attach container1         # a shell in Debian; Ctrl-B leaves it running
  uci show network
  ip addr show br-lan
  cat {shlex.quote(str(directory))}/root/manager.log

To end it:

  sudo bin/uxc-demo --end"""


def _kept_pid() -> int:
    """Return the process to tell that the kept demo shall end, 0 when there is none."""
    try:
        pid = int(PID_FILE.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    # The number may have gone to somebody else since.
    return pid if b"uxc.demo.main" in command else 0


def _end_kept() -> int:
    pid = _kept_pid()
    if not pid:
        print("uxc-demo: none is running", file=sys.stderr)
        return 1
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_TIMEOUT_S
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            print(f"uxc-demo: process {pid} does not end", file=sys.stderr)
            return 1
        time.sleep(0.05)
    PID_FILE.unlink()
    print("demo: ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
