"""The container sections that our commands write, change and remove, committed on their own.

Everything goes through ``uci.transaction``: pending changes of other admins stay pending, and
nothing is written while LuCI may roll back.
"""

from uxc.errors import NotFoundError
from uxc.manager.settings import Values, check_name
from uxc.paths import Paths
from uxc.uci.transaction import Transaction, refuse_while_rollback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.uci.model import Section

_PACKAGE = "uxc"
_TYPE = "container"


def check_writable(paths: Paths) -> None:
    """Raise ConflictError when a section could not be changed at the moment."""
    refuse_while_rollback(paths)


def add(paths: Paths, section: str, values: Values) -> None:
    """Write a new section and commit it; UxcError, and then nothing has changed."""
    with Transaction(paths, _PACKAGE) as edit:
        edit.add(_TYPE, section)
        for option, value in values.items():
            edit.set(section, option, value)


def remove(paths: Paths, name: str) -> None:
    """Remove the sections of the container ``name``; none there is fine."""
    with Transaction(paths, _PACKAGE) as edit:
        for section in edit.sections:
            if _container_of(section) == name:
                edit.delete(section.name)


def set_autostart(paths: Paths, name: str, autostart: bool) -> None:
    """Say whether boot starts the container ``name``; UxcError when no section declares it."""
    check_name(name)
    with Transaction(paths, _PACKAGE) as edit:
        found = [section for section in edit.sections if _container_of(section) == name]
        if not found:
            raise NotFoundError(
                f"{name}: no such container", f"make it: uxc create {name} PATH-OF-BUNDLE"
            )
        for section in found:
            edit.set(section.name, "autostart", "1" if autostart else "0")


def _container_of(section: "Section") -> str:
    """Return the container that ``section`` declares, empty for sections of other types."""
    if section.type != _TYPE:
        return ""
    option = section.option("name")
    if option is not None and isinstance(option.value, str):
        return option.value
    return "" if section.anonymous else section.name
