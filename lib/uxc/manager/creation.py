"""Making a container: judge the bundle, pin a network namespace, wire it, let the keeper create.

Each step is undone when a later one fails. What must be there first (mounts, lent devices) is
looked at here, too.
"""

import hashlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from uxc import files, protocol
from uxc.config.models import Config, Container, Place
from uxc.errors import InvalidError, NotFoundError, UxcError, system_failure
from uxc.keeper import output
from uxc.manager import conditions, doorbell, resolver, wiring
from uxc.manager.bundle import (
    Document,
    Surroundings,
    network_namespace,
    new_user_namespace,
)
from uxc.manager.bundles import Bundles
from uxc.manager.doorbell import Doorbell
from uxc.manager.keepers import Keeper
from uxc.manager.loop import Loop
from uxc.manager.records import Origin, Record
from uxc.manager.undo import Undo
from uxc.net import wire
from uxc.net.model import Wiring
from uxc.oci.bundle import Bundle
from uxc.paths import Paths

log = logging.getLogger(__name__)

# What a container can change without being made anew: where its section stands, which moves
# whenever others are edited, and what is looked up when it is needed.
_NOT_MADE_OF: dict[str, Any] = {
    "place": Place(file="", line=0, section=""),
    "autostart": False,
    "respawn": None,
    "stop_signal": 0,
    "stop_timeout_s": 0,
    "volumes": (),
}


class MissingConditionError(UxcError):
    """Something that the container needs is not there yet; ``what`` may be waited for."""

    kind = "missing"

    def __init__(self, name: str, what: str, hint: str) -> None:
        """``what`` is as ``list`` shows it: ``mount /mnt/sda1``."""
        super().__init__(f"{name}: {what} is not there", hint)
        self.what = what


class Creation:
    """Makes and unmakes containers; knows no wishes and no policy."""

    def __init__(self, loop: Loop, paths: Paths, keeper: Keeper) -> None:
        """Work below ``paths`` through ``keeper``."""
        self._loop = loop
        self._paths = paths
        self._keeper = keeper
        self.bundles = Bundles(paths)

    def _digest(self, config: Config, container: Container, bundle_digest: bytes) -> str:
        """Return a text that differs when the container would be made differently."""
        wires = wiring.of(config, container.name)
        text = repr((replace(container, **_NOT_MADE_OF), wires, bundle_digest))
        return hashlib.sha256(text.encode()).hexdigest()

    def current_digest(self, config: Config, container: Container) -> str:
        """Return the digest that the container would have if it were made now; UxcError."""
        return self._digest(config, container, self.bundles.read(container.bundle).digest)

    def missing(self, config: Config, container: Container) -> MissingConditionError | None:
        """Return what the container needs and this host does not have yet."""
        if container.volumes:
            volume = conditions.missing_volume(
                container.volumes, doorbell.mounted(), doorbell.device_of
            )
            if volume is not None:
                return MissingConditionError(
                    container.name, f"mount {volume}", "mount it, or take it out of list volumes"
                )
        lent = tuple(
            port.device
            for port in wiring.of(config, container.name).ports
            if port.host is None and port.required
        )
        device = conditions.missing_device(lent, doorbell.device_exists)
        if device is not None:
            return MissingConditionError(
                container.name, device, "no such network device on this host"
            )
        return None

    async def wait_for_devices(
        self, config: Config, container: Container, progress: Callable[[str], None]
    ) -> None:
        """Wait for lent devices as long as ``option network_timeout`` allows.

        Raises MissingConditionError then, and at once for what does not come by itself.
        """
        lacking = self.missing(config, container)
        if lacking is None:
            return
        deadline = self._loop.clock() + config.globals.network_timeout_s
        rung = self._loop.future()
        bell = Doorbell(self._loop, lambda: rung.set_result(None))
        bell.listen(True)
        try:
            while lacking is not None:
                left_s = deadline - self._loop.clock()
                if left_s <= 0 or lacking.what.startswith("mount "):
                    raise lacking
                progress(f"waiting: {lacking.what}")
                try:
                    await self._loop.within(left_s, rung)
                except TimeoutError:
                    pass
                rung = self._loop.future()
                lacking = self.missing(config, container)
        finally:
            bell.listen(False)

    async def create(
        self, record: Record, config: Config, container: Container, pid_file: str, undo: Undo
    ) -> None:
        """Make the container of ``record``, wired and parked; ``undo`` gets what unmakes it.

        The caller runs ``undo`` on failure.
        """
        name = container.name
        found = self.bundles.read(container.bundle)
        document = found.config
        wires = wiring.of(config, name)
        has_own, joined = network_namespace(document)
        if wires.ports and not has_own:
            raise InvalidError(
                f"{name}: its bundle uses the host's network, so its interfaces cannot be wired",
                f'add {{"type": "network"}} to linux.namespaces of {container.bundle}',
            )
        pins = has_own and not joined
        network = f"{self._paths.netns_dir}/{name}" if pins else joined
        maps = new_user_namespace(document) if pins else {}
        origin = Origin(
            bundle=container.bundle,
            digest=self._digest(config, container, found.digest),
            network=network if wires.ports else "",
            pid_file=pid_file,
            interfaces=tuple(wiring.shown(wires)),
            annotations=dict(document.get("annotations") or {}),
        )
        around = Surroundings(
            bundle=container.bundle,
            cgroup=f"/{self._paths.cgroup_parent}/c/{name}",
            network=network if pins else "",
            user=f"{self._paths.userns_dir}/{name}" if maps else "",
            root=self.bundles.overlay_root(name) if _has_overlay(container) else "",
            resolver=self._resolver(found, container, wires),
        )
        await self._keeper.connect()
        record.incarnation += 1
        record.origin = origin
        undo.add("forget it", record.forget_process)
        # First of all: whoever finds it after our death knows that there may be more to undo.
        undo.add("remove its effective bundle", lambda: self.bundles.remove(name))
        directory = self.bundles.write(found, container, around, origin)
        pinned = None
        if pins:
            undo.add("unpin its network namespace", lambda: self._unpin(record))
            record.pinned = True
            pinned = self._keeper.ask("pin", {"name": name, **maps})
        if wires.ports:
            if pinned is not None:
                protocol.close_all((await pinned)[1])
                pinned = None
            undo.add("unwire it", lambda: self._unwire(name, network))
            self._wire(wires, network)
        # Also when the keeper refuses: it may have gone away in the middle of it.
        undo.add("delete it", lambda: self._delete(name))
        created = self._keeper.ask(
            "create",
            {"name": name, "bundle": directory, "ring_bytes": config.globals.log_ring_bytes},
        )
        if pinned is not None:
            # Nothing was to be done in between, so both were asked at once.
            protocol.close_all((await pinned)[1])
        answer, _ = await created
        record.take_creation(answer["pid"], _has_terminal(document, container))
        if pid_file:
            undo.add("remove its pid file", lambda: _remove(pid_file))
            _write_pid(pid_file, record.pid)

    async def unmake(self, record: Record, force: bool) -> None:
        """Remove a container and everything that was made for it, but not its section.

        Raises UxcError; what could not be removed is still there for the next attempt.
        """
        name, origin = record.name, record.origin
        if record.alive and force:
            # Its last packets go out before its cable does.
            await self._delete(name)
            record.ended(None)
        if origin is not None and origin.network:
            self._unwire(name, origin.network)
        # Both at once: neither needs the other's end.
        deleted = self._keeper.ask("delete", {"name": name}) if record.exists else None
        unpinned = self._keeper.ask("unpin", {"name": name}) if record.pinned else None
        await _gone(deleted)
        await _gone(unpinned)
        record.pinned = False
        if origin is not None and origin.pid_file:
            _remove(origin.pid_file)
        self.bundles.remove(name)
        record.forget_process()

    async def clear(self, name: str) -> None:
        """Remove what a creation has left that the keeper does not know of; UxcError."""
        await self._delete(name)
        try:
            output.remove(f"{self._paths.output_dir}/{name}")
        except OSError as error:
            raise system_failure("remove its output's FIFOs", error) from None
        self.bundles.remove(name)

    async def cut_off(self, record: Record) -> None:
        """Give back the cables and devices of a container whose program has ended."""
        if record.origin is not None and record.origin.network:
            self._unwire(record.name, record.origin.network)
            record.origin = replace(record.origin, network="")
            if record.pinned:
                await self._unpin(record)

    def _wire(self, wires: Wiring, network: str) -> None:
        try:
            fd = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise system_failure("open the network namespace", error) from None
        try:
            wire.wire(self._paths, wires, fd)
        finally:
            os.close(fd)

    def _unwire(self, name: str, network: str) -> None:
        try:
            fd = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Gone with the last process in it, if it was not pinned.
            wire.unwire(self._paths, name)
            return
        try:
            wire.unwire(self._paths, name, fd)
        finally:
            os.close(fd)

    async def _unpin(self, record: Record) -> None:
        await self._keeper.connect()
        await _gone(self._keeper.ask("unpin", {"name": record.name}))
        record.pinned = False

    async def _delete(self, name: str) -> None:
        await self._keeper.connect()
        await _gone(self._keeper.ask("delete", {"name": name, "force": True}))

    def _resolver(self, found: Bundle, container: Container, wires: Wiring) -> str:
        """Return the resolv.conf to show, empty when there is none or it cannot be shown."""
        if not wires.dns:
            return ""
        mounts = list(found.config.get("mounts", ()))
        if not _has_overlay(container) and not resolver.can_be_shown(found.root, mounts):
            log.warning(
                "%s: %s has no /etc/resolv.conf to show the name servers at: make an empty one,"
                " or use temp_overlay_size",
                container.name,
                found.root,
            )
            return ""
        return wire.resolver_path(self._paths, container.name)


async def _gone(answer: Awaitable[object] | None) -> None:
    """Wait for the end of a removal; what is not there any more is removed."""
    if answer is None:
        return
    try:
        await answer
    except NotFoundError:
        return


def _has_overlay(container: Container) -> bool:
    return container.temp_overlay_size is not None or container.write_overlay_path is not None


def _has_terminal(document: Document, container: Container) -> bool:
    if container.console is not None:
        return container.console
    return bool((document.get("process") or {}).get("terminal"))


def _write_pid(path: str, pid: int) -> None:
    try:
        files.write_atomic(path, str(pid).encode(), 0o644)
    except OSError as error:
        raise system_failure(f"write the pid file {path}", error) from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error.strerror)
