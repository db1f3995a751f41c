"""Both files, section by section and against each other → what is right, and all problems. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from uxc.config import plugs
from uxc.config.containers import Containers, read_containers
from uxc.config.jailed import JailedInterface, read_jailed
from uxc.config.models import Config, Place
from uxc.config.network import Network, read_network
from uxc.config.problem import Problem
from uxc.config.reading import Reading, nearest
from uxc.config.source import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the two files say.

    ``broken`` has, for each container that is left out of ``config``, the errors that left it out;
    ``noted`` for every container all that was found in its section and in its wiring, warnings
    too; ``disabled`` the containers that ``enabled '0'`` makes ignored.
    """

    config: Config = field(default_factory=Config)
    problems: tuple[Problem, ...] = ()
    broken: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    noted: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    disabled: dict[str, Place] = field(default_factory=dict)


def judge(uxc: Package, network: Package) -> Judgement:
    """Read and compare everything.

    A wrong section leaves out its container only. A file that could not be parsed is told by its
    package not being ``readable``: without the network file no container is right, since nobody
    can tell which wiring it was to have.
    """
    containers = read_containers(uxc)
    wires = read_network(network)
    names = {entry.name for entry in containers.entries if entry.name}
    ours: list[JailedInterface] = []
    foreign: list[JailedInterface] = []
    for section in wires.jailed:
        jail = section.text("jail")
        if jail in names:
            ours.append(read_jailed(section))
        elif jail not in containers.disabled:
            foreign.append(read_jailed(section))
    plugs.check_devices(wires)
    for entry in ours:
        plugs.check_device_of(wires, entry)
        plugs.check_routes(wires, entry)
    plugs.check_claims(wires, ours, foreign)
    plugs.check_inner_names(ours)
    plugs.check_addresses(wires, ours)
    strangers = _strangers(foreign, names, uxc.file) if uxc.readable else []
    noted = _by_container(containers, wires, ours)
    broken = {name: errors for name, found in noted.items() if (errors := _errors(found))}
    return Judgement(
        config=_config(containers, wires, ours, broken),
        problems=_in_order(
            (uxc.file, network.file),
            containers.problems,
            *(entry.reading.problems for entry in containers.entries),
            wires.problems,
            *(device.reading.problems for device in wires.devices),
            *(entry.reading.problems for entry in ours),
            strangers,
        ),
        broken=broken,
        noted=noted,
        disabled=containers.disabled,
    )


def _strangers(foreign: list[JailedInterface], names: set[str], file: str) -> list[Problem]:
    """Warn of jails that nobody declares: procd's own containers, or a mistyped name."""
    problems = []
    for entry in foreign:
        reading = Reading(entry.section)
        reading.warn(
            "jail",
            f"no section of {file} declares a container '{entry.jail}'",
            nearest(entry.jail, names),
        )
        problems += reading.problems
    return problems


def _errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(problem for problem in problems if problem.is_error)


def _by_container(
    containers: Containers, wires: Network, ours: list[JailedInterface]
) -> dict[str, tuple[Problem, ...]]:
    """Collect for each container the problems of its sections and of every device it needs."""
    noted: dict[str, list[Problem]] = {}
    for entry in containers.entries:
        noted.setdefault(entry.name, []).extend(entry.reading.problems)
    for interface in ours:
        found = noted.setdefault(interface.jail, [])
        found += interface.reading.problems
        for device in plugs.chain_of(wires, interface):
            found += device.reading.problems
    return {name: tuple(dict.fromkeys(found)) for name, found in noted.items() if name}


def _config(
    containers: Containers,
    wires: Network,
    ours: list[JailedInterface],
    broken: dict[str, tuple[Problem, ...]],
) -> Config:
    interfaces = {host.interface.name: host.interface for host in wires.hosts}
    interfaces |= {
        entry.interface.name: entry.interface
        for entry in ours
        if entry.interface and entry.jail not in broken
    }
    devices = [device for device in wires.devices if device.enabled and device.reading.is_right]
    return Config(
        globals=containers.globals,
        containers={
            entry.name: entry.container()
            for entry in containers.entries
            if entry.reading.is_right and entry.name and entry.name not in broken
        },
        veths={device.name: device.veth for device in devices if device.veth},
        bridges={device.name: device.bridge for device in devices if device.bridge},
        interfaces=interfaces,
    )


def _in_order(files: tuple[str, ...], *groups: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return every problem once: as the files are read, those of pending changes after them."""
    unique = dict.fromkeys(problem for group in groups for problem in group)
    rank = {file: number for number, file in enumerate(files)}
    return tuple(
        sorted(unique, key=lambda each: (rank.get(each.file, len(rank)), each.file, each.line))
    )
