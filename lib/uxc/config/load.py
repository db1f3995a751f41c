"""The two files below a prefix → Config, all problems with file and line, and a fingerprint."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from uxc.config.check import Judgement, judge
from uxc.config.problem import Problem
from uxc.config.source import Given, Package, Section
from uxc.paths import Paths
from uxc.uci import text
from uxc.uci.exceptions import UciException, UciParseError
from uxc.uci.model import Option
from uxc.uci.model import Section as UciSection

UXC = "uxc"
NETWORK = "network"

# What tells one state of a file from another: device, inode, size, mtime in ns; None when absent.
Fingerprint = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Judgement):
    """A judgement, with the sections that it is about and the state of the files they came from."""

    packages: tuple[Package, Package]
    fingerprint: Fingerprint

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that left something out."""
        return tuple(problem for problem in self.problems if problem.is_error)


def load(paths: Paths, pending: bool = False) -> Loaded:
    """Read ``uxc`` and ``network`` and say what is right and all that is wrong.

    ``pending`` lays the changes over them that the default save directory holds and nobody has
    committed. A missing file is an empty one. A file that cannot be read or parsed is a problem
    like others, not an exception.
    """
    state = fingerprint(paths, pending)
    deltas = (paths.uci_save_dir,) if pending else ()
    packages, problems = [], []
    for name in (UXC, NETWORK):
        package, problem = _read(_path(paths, name), deltas)
        packages.append(package)
        if problem:
            problems.append(problem)
    return _loaded((packages[0], packages[1]), tuple(problems), state)


def _loaded(
    packages: tuple[Package, Package], unreadable: tuple[Problem, ...], state: Fingerprint
) -> Loaded:
    judgement = judge(*packages)
    config, broken = judgement.config, judgement.broken
    if not packages[1].readable:
        names = [*config.containers, *broken]
        broken = {name: (*unreadable, *broken.get(name, ())) for name in names}
        config = replace(config, containers={})
    return Loaded(
        config=config,
        problems=(*unreadable, *judgement.problems),
        broken=broken,
        noted=judgement.noted,
        disabled=judgement.disabled,
        packages=packages,
        fingerprint=state,
    )


def fingerprint(paths: Paths, pending: bool = False) -> Fingerprint:
    """Return what changes whenever a file that ``load`` reads does; compare by equality."""
    names = [_path(paths, name) for name in (UXC, NETWORK)]
    if pending:
        names += [f"{paths.uci_save_dir}/{name}" for name in (UXC, NETWORK)]
    return tuple(map(_state, names))


def _state(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _path(paths: Paths, name: str) -> str:
    """Return the file that counts: libuci's override directory wins over the normal one."""
    override = f"{paths.uci_conf2_dir}/{name}"
    return override if os.path.exists(override) else f"{paths.config_dir}/{name}"


def _read(path: str, deltas: tuple[str, ...]) -> tuple[Package, Problem | None]:
    unreadable = Package(file=path, readable=False)
    try:
        package = text.parse_file(path, deltas=deltas)
    except FileNotFoundError:
        return Package(file=path), None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return unreadable, Problem(file=path, line=0, message=f"{path}: cannot be read: {reason}")
    except UciParseError as error:
        return unreadable, Problem(
            file=error.file or path,
            line=error.line,
            message=f"not UCI: {error.reason} (byte {error.byte})",
            hint=_SYNTAX_HINTS.get(error.reason, _ANY_SYNTAX_HINT),
        )
    except UciException as error:
        return unreadable, Problem(file=path, line=0, message=f"{path}: not UCI: {error}")
    counts: dict[str, int] = {}
    sections = []
    for section in package.sections:
        index = counts.setdefault(section.type, 0)
        counts[section.type] += 1
        sections.append(_section(section, index, path))
    return Package(file=path, sections=tuple(sections)), None


_ANY_SYNTAX_HINT = "no section of this file is used until the line is right"
_SYNTAX_HINTS = {
    "invalid character in name field": "names of sections and options have letters, digits and "
    "'_' only; a container with another name gets it by option name",
    "invalid command": "a line begins with config, option or list",
    "too many arguments": "put quotes around a value with blanks",
    "EOF with unterminated '": "the quote that this line opens is never closed",
    'EOF with unterminated "': "the quote that this line opens is never closed",
    "option/list command found before the first section": "begin with a line such as "
    "config container 'web'",
}


def _section(section: UciSection, index: int, file: str) -> Section:
    return Section(
        type=section.type,
        name=section.name,
        file=section.file or file,
        line=section.line,
        anonymous=section.anonymous,
        index=index,
        options={name: _given(option) for name, option in section.options.items()},
    )


def _given(option: Option) -> Given:
    if isinstance(option.value, list):
        return Given(values=tuple(option.value), places=tuple(option.item_places))
    return Given(values=(option.value,), places=((option.file, option.line),))


def judge_with(loaded: Loaded, section: str, values: Mapping[str, str | Sequence[str]]) -> Loaded:
    """Say what ``loaded`` would be with one more container section, before anybody writes it.

    ``section`` is the name of the section, empty for an anonymous one, whose name is then in
    ``values``; it replaces a section of that name. In the result the container is right or broken
    with all that belongs to it, the interfaces that name it as their jail included. A file that
    cannot be parsed takes no more sections: ``loaded`` comes back as it is.
    """
    uxc, network = loaded.packages
    if not uxc.readable:
        return loaded
    others = tuple(entry for entry in uxc.sections if not section or entry.name != section)
    options = {
        name: Given(values=(value,) if isinstance(value, str) else tuple(value))
        for name, value in values.items()
    }
    added = Section(
        type="container",
        name=section,
        file=uxc.file,
        line=0,
        anonymous=not section,
        index=len(uxc.of_type("container")),
        options=options,
    )
    unreadable = tuple(problem for problem in loaded.problems if not problem.kind)
    return _loaded(
        (replace(uxc, sections=(*others, added)), network), unreadable, loaded.fingerprint
    )
