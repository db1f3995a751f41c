"""The demo inside its namespaces: set up the router, tell the story, take everything away."""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from uxc.demo import host
from uxc.demo.router import LAN_BRIDGE, Router
from uxc.demo.story import PROGRAM, EndedError, StepError, Story

# As a shell reports a command that Ctrl-C ended.
INTERRUPTED = 128 + signal.SIGINT


def play(directory: Path, ready: int) -> int:
    """Play below ``directory``, which is removed at the end; return the exit status.

    With ``ready``, a pipe, say there when the story is told, and wait to be told to end.
    """
    # Taken note of between two steps: a command that was cut off would still be at work.
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    before = host.look()
    router = Router(directory, LAN_BRIDGE)
    try:
        status = _tell(router, ready, ended)
    finally:
        router.close()
        shutil.rmtree(directory)
    if status == 0:
        left = host.left_since(before)
        print("\n── Links, mounts, processes and cgroups that are left on the host")
        print("\n".join(f"  {line}" for line in left or ["nothing"]))
        print("\ndemo: failed: something is left" if left else "\ndemo: ok")
        status = 1 if left else 0
    return status


def _tell(router: Router, ready: int, ended: threading.Event) -> int:
    try:
        router.insert_disk()
        router.set_program("/bin/bash", "-c", PROGRAM, terminal=True)
        router.start()
        story = Story(router, ended)
        story.begin()
        if ready >= 0:
            os.write(ready, b"!")
            ended.wait()
            # Nobody reads any more what is printed.
            return INTERRUPTED
        story.end()
    except EndedError:
        return INTERRUPTED
    except (StepError, RuntimeError) as error:
        print(f"\ndemo: failed: {error}\n{router.log('manager')}", file=sys.stderr)
        return 1
    return 0
