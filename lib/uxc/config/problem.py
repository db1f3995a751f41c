"""What is wrong in the configuration: one line that says where, a hint that says what to do."""

from dataclasses import dataclass

from uxc.config.models import Place
from uxc.config.source import Section

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem; an error leaves its section out, a warning only speaks."""

    file: str
    line: int
    kind: str = ""
    section: str = ""
    option: str = ""
    message: str
    hint: str = ""
    severity: str = ERROR

    @property
    def is_error(self) -> bool:
        """Whether the section was left out for this."""
        return self.severity == ERROR

    def __str__(self) -> str:
        """Return ``FILE:LINE: KIND 'SECTION': option 'OPTION': MESSAGE``, each part when known."""
        parts = [f"{self.file}:{self.line}"] if self.line else []
        if not self.is_error:
            parts.append("warning")
        if self.kind:
            parts.append(f"{self.kind} '{self.section}'")
        if self.option:
            parts.append(f"option '{self.option}'")
        return ": ".join([*parts, self.message])


def place_of(section: Section) -> Place:
    """Return where ``section`` stands."""
    return Place(file=section.file, line=section.line, section=section.name)


def title_of(section: Section) -> str:
    """Return the name by which people know ``section``.

    ``option name`` tells containers and devices apart, whose sections are often anonymous; for
    others without a name it is what ``uci`` takes: ``@interface[2]``.
    """
    if section.type in {"container", "device"} and section.text("name"):
        return section.text("name")
    return f"@{section.type}[{section.index}]" if section.anonymous else section.name


def problem_in(
    section: Section,
    option: str,
    message: str,
    hint: str = "",
    *,
    severity: str = ERROR,
    index: int = 0,
) -> Problem:
    """Describe what is wrong in value number ``index`` of ``option``, or in the section itself.

    File and line are the value's own, the section's when the option is not there.
    """
    given = section.options.get(option)
    file, line = section.file, section.line
    if given and given.places:
        file, line = given.places[min(index, len(given.places) - 1)]
    return Problem(
        file=file,
        line=line,
        kind=section.type,
        section=_one_line(title_of(section)),
        option=option,
        message=_one_line(message),
        hint=_one_line(hint),
        severity=severity,
    )


def _one_line(text: str) -> str:
    """Escape what would break the line, steer a terminal, or be no UTF-8: values hold anything."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
