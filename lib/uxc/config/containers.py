"""Sections of ``/etc/config/uxc`` → containers and settings, each section for itself. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uxc.config.fields import FieldError, container_name
from uxc.config.models import Container, Globals, Place
from uxc.config.problem import Problem, place_of
from uxc.config.reading import Reading, nearest, read
from uxc.config.schema import CONTAINER, GLOBALS
from uxc.config.source import Package, Section

_TYPES = {"container", "uxc"}

# Options whose attribute says the unit or the plural.
_ATTRIBUTES = {
    "stop_timeout": "stop_timeout_s",
    "memory": "memory_bytes",
    "cpu": "cpus",
    "network_timeout": "network_timeout_s",
    "log_ring": "log_ring_bytes",
}


@dataclass(slots=True)
class ContainerEntry:
    """One enabled container section: its name ("" when it has none) and what was read of it."""

    name: str
    reading: Reading

    def container(self) -> Container:
        """Return the value; call it only when the reading is right."""
        values = _attributes(self.reading.values)
        return Container(name=self.name, place=place_of(self.reading.section), **values)


@dataclass(slots=True)
class Containers:
    """Everything of the file; ``problems`` are those of no container."""

    globals: Globals = field(default_factory=Globals)
    entries: list[ContainerEntry] = field(default_factory=list)
    disabled: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _ATTRIBUTES.get(name, name): value
        for name, value in values.items()
        if name not in {"enabled", "name"}
    }


def read_containers(package: Package) -> Containers:
    """Read every section of ``package``; a wrong one stays in ``entries`` with its problems."""
    result = Containers()
    for section in package.sections:
        if section.type == "container":
            _add_container(result, section)
        elif section.type == "uxc" and section.name == "globals":
            _read_globals(result, section)
        elif section.type == "uxc":
            reading = Reading(section)
            reading.warn("", "only the section 'globals' of this type is read")
            result.problems += reading.problems
        else:
            reading = Reading(section)
            reading.warn(
                "",
                "sections of this type are not known and have no effect",
                nearest(section.type, _TYPES),
            )
            result.problems += reading.problems
    _note_duplicates(result.entries)
    return result


def _read_globals(result: Containers, section: Section) -> None:
    reading = read(section, GLOBALS)
    # A wrong setting leaves only itself out: its default does less harm than a stopped manager.
    result.globals = Globals(**_attributes(reading.values))
    result.problems += reading.problems


def _add_container(result: Containers, section: Section) -> None:
    reading = read(section, CONTAINER)
    name = reading.values.get("name") or ("" if section.anonymous else section.name)
    if reading.values.get("enabled") is False:
        if name:
            result.disabled[name] = place_of(section)
        return
    if not name:
        if "name" not in section.options:
            reading.fail("", "the container has no name", "write config container 'NAME'")
    elif "name" not in reading.values:
        # libuci bounds neither a section's name nor its length as a file name is bounded.
        try:
            container_name(name)
        except FieldError as error:
            reading.fail("", error.message, error.hint)
    if {"temp_overlay_size", "write_overlay_path"} <= reading.values.keys():
        reading.fail(
            "temp_overlay_size",
            "cannot be used together with option 'write_overlay_path'",
            "changes are kept either in memory or on disk: remove one of the two",
        )
    result.entries.append(ContainerEntry(name, reading))


def _note_duplicates(entries: list[ContainerEntry]) -> None:
    first: dict[str, Section] = {}
    for entry in entries:
        section = entry.reading.section
        other = first.setdefault(entry.name, section) if entry.name else section
        if other is not section:
            entry.reading.fail(
                "name" if "name" in section.options else "",
                f"the name '{entry.name}' is taken by the section at {other.where}",
                "give one of them another name",
            )
