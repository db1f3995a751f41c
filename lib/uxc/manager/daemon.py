"""The manager's process: options, wiring of its parts, signals, the end."""

import gc
import logging
import os
import signal
import sys
from typing import Any

from uxc import files, log
from uxc import paths as fixed_paths
from uxc.errors import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_USAGE,
    ConflictError,
    InternalError,
    UxcError,
    system_failure,
)
from uxc.manager.adoption import Adoption
from uxc.manager.configuration import Configuration
from uxc.manager.containers import Containers
from uxc.manager.control import Control
from uxc.manager.intents import Intents
from uxc.manager.keepers import Keeper
from uxc.manager.loop import Loop, Task
from uxc.manager.requests import PASSIVE, Requests
from uxc.manager.wishes import Wishes
from uxc.paths import Paths
from uxc.version import VERSION

logger = logging.getLogger(__name__)

USAGE = """\
usage: uxc-manager [--log stderr|syslog] [--debug]

Keeps containers as /etc/config/uxc says; stays in the foreground. SIGTERM ends it and leaves
containers alone, SIGHUP reads the configuration again. It is ready when its socket answers.
"""

# How long the answer to "shutdown" may take to leave.
_FAREWELL_S = 0.05
_RECONNECT_S = 1.0
# At the end: how long what is half-way may take to finish, and then to be taken back. Together
# less than the 5 s after which procd kills.
_FINISH_S = 2.5
_UNDO_S = 2.0
_POLL_S = 0.01


class Daemon:
    """All parts of the manager, put together."""

    def __init__(self, paths: Paths) -> None:
        """Make the parts; nothing is opened yet."""
        self.loop = Loop()
        self._paths = paths
        self._keeper = Keeper(self.loop, paths)
        configuration = Configuration(paths)
        intents = Intents(paths)
        containers = Containers(self.loop, paths, configuration, self._keeper)
        self._wishes = Wishes(self.loop, configuration, containers, intents)
        self._adoption = Adoption(
            self.loop, paths, configuration, self._keeper, containers, self._wishes
        )
        requests = Requests(configuration, self._keeper, containers, self._wishes, self._shut_down)
        self._control = Control(self.loop, paths.control_socket, requests.handle, PASSIVE)
        self._keeper.on_event = self._wishes.on_event
        self._keeper.on_lost = self._on_keeper_lost
        self._ending = False
        self._end: Task[None] | None = None

    async def begin(self) -> None:
        """Take over what is there, then answer on the socket; UxcError when that cannot be."""
        await self._adoption.at_start()
        self._control.open()
        self._wishes.resume()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self.end)
        self.loop.on_signal(signal.SIGHUP, self._reload)
        logger.info("ready")

    def end(self) -> None:
        """Leave when nothing is half-way any more; the keeper and the containers go on."""
        if self._end is None:
            self._end = self.loop.spawn(self._leave(), "the end")

    async def _leave(self) -> None:
        self._ending = True
        self._control.finish()
        self._wishes.rest()
        if not await self._quiet(_FINISH_S):
            for task in self._busy():
                logger.warning("%s: taken back: it takes too long", task.name)
                task.cancel()
            if not await self._quiet(_UNDO_S):
                logger.error("not everything was taken back; the next manager will do that")
        self._control.close()
        self._keeper.close()
        self.loop.stop()

    def _busy(self) -> set[Task[Any]]:
        return {task for task in self.loop.tasks if task is not self._end}

    async def _quiet(self, limit_s: float) -> bool:
        """Wait until nothing goes on any more; False when something still does after ``limit_s``.

        What goes on may begin more: the end of a program is seen to, for example.
        """
        deadline = self.loop.clock() + limit_s
        while self._busy():
            if self.loop.clock() >= deadline:
                return False
            await self.loop.sleep(_POLL_S)
        return True

    async def _shut_down(self, keeper_too: bool) -> None:
        if keeper_too:
            await self._keeper.call("shutdown")
            self._ending = True
        self.loop.call_later(_FAREWELL_S, self.end)

    def _reload(self) -> None:
        self.loop.spawn(self._reload_and_log(), "reload")

    async def _reload_and_log(self) -> None:
        result = await self._wishes.reload()
        for line in result["problems"]:
            logger.error("%s", line)
        for line in result["notes"]:
            logger.info("%s", line)

    def _on_keeper_lost(self) -> None:
        if not self._ending:
            self.loop.spawn(self._recover_keeper(), "looking for the keeper")

    async def _recover_keeper(self) -> None:
        while not self._ending:
            try:
                await self._adoption.after_loss()
            except UxcError as error:
                logger.error("%s", error.message)
                await self.loop.sleep(_RECONNECT_S)
            else:
                return


def main(words: list[str]) -> int:
    """Be the manager; return the exit code."""
    debug = "--debug" in words
    try:
        target = _parse([word for word in words if word != "--debug"])
        if target is None:
            return EXIT_OK
        log.set_up(target, debug=debug)
        return _serve(fixed_paths.from_environment())
    except (UxcError, ValueError) as error:
        return _report(error, debug)


def _parse(words: list[str]) -> str | None:
    """Return where to log, None when only help was wanted; ValueError for wrong words."""
    target = "stderr"
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("--help", "-h"):
            sys.stdout.write(USAGE)
            return None
        if word == "--version":
            sys.stdout.write(f"uxc-manager version {VERSION}\n")
            return None
        name, equals, value = word.partition("=")
        if name != "--log":
            raise ValueError(f"unknown option '{word}'")
        target = value if equals else rest.pop(0) if rest else ""
        if target not in log.TARGETS:
            raise ValueError(f"--log takes {' or '.join(log.TARGETS)}, not '{target}'")
    return target


def _serve(paths: Paths) -> int:
    if os.geteuid() != 0:
        raise ConflictError("only root can manage containers", "run it as root")
    os.umask(0o022)
    try:
        files.make_dirs(paths.run)
        # Now, so that the first container leaves nothing behind when it goes.
        files.make_dirs(paths.bundle_dir, 0o711)
        for directory in (paths.container_root, paths.output_dir):
            files.make_dirs(directory, 0o700)
        lock = files.lock(paths.manager_lock, wait=False)
    except BlockingIOError:
        raise ConflictError(
            "another manager is running", f"it holds {paths.manager_lock}; uxc shutdown ends it"
        ) from None
    except OSError as error:
        raise system_failure("prepare the run-time directory", error) from None
    daemon = Daemon(paths)
    try:
        daemon.loop.run_until(daemon.begin())
        # All that was imported and loaded stays: a collection need not look at it again.
        gc.collect()
        gc.freeze()
        daemon.loop.run()
    finally:
        daemon.loop.close()
        os.close(lock)
    return EXIT_OK


def _report(error: Exception, debug: bool) -> int:
    if debug or isinstance(error, InternalError):
        logging.getLogger().debug("failed", exc_info=error)
    text, hint = (error.message, error.hint) if isinstance(error, UxcError) else (str(error), "")
    lines = f"uxc-manager: {text}\n" + (f"  ({hint})\n" if hint else "")
    # syslog may be where nobody looks while it does not start.
    sys.stderr.write(lines)
    if not isinstance(error, UxcError):
        sys.stderr.write(USAGE)
        return EXIT_USAGE
    return EXIT_FAILURE
