"""What ``list`` and ``state`` say about a container."""

import logging
from typing import Any

from uxc.config.models import Config
from uxc.errors import UxcError
from uxc.manager import addresses, wiring
from uxc.manager.records import STOPPED, UNINITIALIZED, Record
from uxc.oci.state import OCI_VERSION

log = logging.getLogger(__name__)


def listed(name: str, record: Record | None, config: Config, keeper_pid: int) -> dict[str, Any]:
    """Return the entry of ``name`` in ``list --json``; what is not known is left out."""
    container = config.containers.get(name)
    entry: dict[str, Any] = {
        "name": name,
        "status": record.status_text if record is not None else UNINITIALIZED,
        "autostart": container is not None and container.autostart,
    }
    origin = record.origin if record is not None else None
    if record is not None and record.pid:
        entry["pid"] = entry["container_pid"] = record.pid
        if keeper_pid:
            entry["runtime_pid"] = keeper_pid
    if record is not None and record.status == STOPPED and record.exit_code is not None:
        entry["exitcode"] = record.exit_code
    if origin is not None:
        entry["bundle"] = origin.bundle
    elif container is not None:
        entry["bundle"] = container.bundle
    interfaces = _interfaces(name, record, config)
    if interfaces:
        entry["interfaces"] = interfaces
    return entry


def _interfaces(name: str, record: Record | None, config: Config) -> list[dict[str, Any]]:
    origin = record.origin if record is not None else None
    if record is None or origin is None:
        if name not in config.containers:
            return []
        try:
            return wiring.shown(wiring.of(config, name))
        except UxcError as error:
            log.debug("%s: %s", name, error.message)
            return []
    if not origin.interfaces or not record.alive or not origin.network:
        return list(origin.interfaces)
    try:
        there = addresses.of_namespace(origin.network)
    except OSError as error:
        log.debug("%s: cannot look at its addresses: %s", name, error)
        return list(origin.interfaces)
    return [{**port, "addresses": there.get(port["name"], [])} for port in origin.interfaces]


def state(name: str, record: Record | None, config: Config) -> dict[str, Any]:
    """Return the OCI state object of ``name`` (runtime-spec, "State")."""
    origin = record.origin if record is not None else None
    container = config.containers.get(name)
    bundle = origin.bundle if origin is not None else container.bundle if container else ""
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "id": name,
        "status": record.status_text if record is not None else UNINITIALIZED,
    }
    if record is not None and record.pid:
        document["pid"] = record.pid
    document["bundle"] = bundle
    if origin is not None and origin.annotations:
        document["annotations"] = origin.annotations
    return document
