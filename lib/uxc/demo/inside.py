"""The demo inside its namespaces: set up the router, tell the story, take everything away."""

import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from uxc.demo import host
from uxc.demo.router import LAN_BRIDGE, Router
from uxc.demo.story import PROGRAM, StepError, Story

# As a shell reports a command that Ctrl-C ended.
INTERRUPTED = 128 + signal.SIGINT


class _EndError(Exception):
    """Somebody pressed Ctrl-C, or told a kept demo to end."""


def _end(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: what follows is the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _EndError


def play(directory: Path, ready: int) -> int:
    """Play below ``directory``, which is removed at the end; return the exit status.

    With ``ready``, a pipe, say there when the story is told, and wait to be told to end.
    """
    signal.signal(signal.SIGTERM, _end)
    before = host.look()
    router = Router(directory, LAN_BRIDGE)
    try:
        status = _tell(router, ready)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        router.close()
        shutil.rmtree(directory)
    if status == 0:
        left = host.left_since(before)
        print("\n── Links, mounts, processes and cgroups that are left on the host")
        print("\n".join(f"  {line}" for line in left or ["nothing"]))
        print("\ndemo: failed: something is left" if left else "\ndemo: ok")
        status = 1 if left else 0
    return status


def _tell(router: Router, ready: int) -> int:
    try:
        router.insert_disk()
        router.set_program("/bin/bash", "-c", PROGRAM, terminal=True)
        router.start()
        story = Story(router)
        story.begin()
        if ready >= 0:
            _keep(ready)
        story.end()
    except _EndError:
        return INTERRUPTED
    except (StepError, RuntimeError) as error:
        print(f"\ndemo: failed: {error}\n{router.log('manager')}", file=sys.stderr)
        return 1
    return 0


def _keep(ready: int) -> None:
    """Say that the story is told, let go of the terminal, and wait for the end."""
    os.write(ready, b"!")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(ready)
    while True:
        signal.pause()
