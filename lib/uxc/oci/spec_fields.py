"""Typed members of a JSON object, and the sentences that refuse wrong ones with their JSON path.

``where`` names the object a member is read from: ``config.json: `` for the document itself (with
the space), ``config.json: process.user`` for anything inside. Paths are put together only when an
error is raised or a list is entered, so that a right document pays nothing for them.

A property that is null is absent: Go's encoder writes null for an empty list, map or pointer, and
the peers take it. An item of a list and a value of a map stay what they are.
"""

from uxc.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn, TypeVar

    Node = dict[str, Any]
    Made = TypeVar("Made")

MAX_INT32 = (1 << 31) - 1
MAX_UINT16 = (1 << 16) - 1
MAX_UINT32 = (1 << 32) - 1
MAX_INT64 = (1 << 63) - 1
MAX_UINT64 = (1 << 64) - 1

_KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def kind_of(value: object) -> str:
    """Return the JSON type of ``value`` with its article."""
    return _KINDS[type(value)]


def member(where: str, key: str) -> str:
    """Return the path of the member ``key`` of the object at ``where``."""
    if not key.isidentifier():
        return f"{where}[{quoted(key)}]"
    return where + key if where.endswith(" ") else f"{where}.{key}"


def quoted(key: str) -> str:
    """Return ``key`` in double quotes, safe to be printed."""
    return '"' + key.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def fail(path: str, message: str) -> "NoReturn":
    """Raise the InvalidError that says what is wrong at ``path``."""
    raise InvalidError(f"{path}: {message}")


def refuse(where: str, key: str, message: str) -> "NoReturn":
    """Raise the InvalidError that says what is wrong with the member ``key`` of ``where``."""
    fail(member(where, key), message)


def wrong_type(wanted: str, value: object) -> str:
    """Return the sentence that refuses ``value`` for its type."""
    return f"must be {wanted}, not {kind_of(value)}"


def text_fault(value: object) -> str:
    """Return why ``value`` is no string that the kernel can take, empty when it is one."""
    if type(value) is not str:
        return wrong_type("a string", value)
    if "\0" in value:
        return "must not contain a NUL character"
    # isascii() is a flag test; only the rare other text is encoded.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must not contain a lone surrogate"
    return ""


def number_fault(value: object, low: int, high: int) -> str:
    """Return why ``value`` is no integer from ``low`` to ``high``, empty when it is one."""
    # bool is a subclass of int in Python, and 1.0 is no integer for Go's decoder.
    if type(value) is not int:
        return wrong_type("an integer", value)
    return "" if low <= value <= high else f"must be a number from {low} to {high}"


def _check_text(where: str, key: str, value: object) -> None:
    fault = text_fault(value)
    if fault:
        refuse(where, key, fault)


def text(node: "Node", key: str, where: str) -> str:
    """Return the string ``key``, empty when absent."""
    value = node.get(key)
    if value is None:
        return ""
    if value != "":
        _check_text(where, key, value)
    return value  # type: ignore[no-any-return]  # _check_text left nothing else


def need_text(node: "Node", key: str, where: str) -> str:
    """Return the string ``key``, which must be there and not empty."""
    value = node.get(key)
    if value is None:
        refuse(where, key, "is missing")
    _check_text(where, key, value)
    if not value:
        refuse(where, key, "must not be empty")
    return value  # type: ignore[no-any-return]  # _check_text left nothing else


def absolute_path(node: "Node", key: str, where: str) -> str:
    """Return the absolute path ``key``, which must be there."""
    value = need_text(node, key, where)
    if value[0] != "/":
        refuse(where, key, "must be an absolute path")
    return value


def one_of(allowed: "Iterable[str]") -> str:
    """Return the sentence that lists the allowed values."""
    return "must be one of " + ", ".join(allowed)


def need_choice(node: "Node", key: str, where: str, allowed: "tuple[str, ...]") -> str:
    """Return the string ``key``, which must be there and one of ``allowed``."""
    value = node.get(key)
    if value is None:
        refuse(where, key, "is missing")
    _check_text(where, key, value)
    if value not in allowed:
        refuse(where, key, one_of(allowed))
    return value  # type: ignore[no-any-return]  # _check_text left nothing else


def flag(node: "Node", key: str, where: str) -> bool:
    """Return the boolean ``key``, False when absent."""
    value = node.get(key)
    if value is True or value is False:
        return value
    if value is None:
        return False
    refuse(where, key, wrong_type("a boolean", value))


def need_flag(node: "Node", key: str, where: str) -> bool:
    """Return the boolean ``key``, which must be there."""
    if node.get(key) is None:
        refuse(where, key, "is missing")
    return flag(node, key, where)


def _checked_number(where: str, key: str, value: int, low: int, high: int) -> int:
    fault = number_fault(value, low, high)
    if fault:
        refuse(where, key, fault)
    return value


def number(node: "Node", key: str, where: str, low: int, high: int) -> "int | None":
    """Return the integer ``key`` between ``low`` and ``high``, None when absent."""
    value = node.get(key)
    return None if value is None else _checked_number(where, key, value, low, high)


def need_number(node: "Node", key: str, where: str, low: int, high: int) -> int:
    """Return the integer ``key`` between ``low`` and ``high``, which must be there."""
    value = node.get(key)
    if value is None:
        refuse(where, key, "is missing")
    return _checked_number(where, key, value, low, high)


def array(node: "Node", key: str, where: str) -> "list[Any]":
    """Return the array ``key``, empty when absent; its items are not looked at."""
    value = node.get(key)
    if value is None:
        return []
    if type(value) is not list:
        refuse(where, key, wrong_type("an array", value))
    return value


def texts(node: "Node", key: str, where: str) -> "list[str]":
    """Return the array of strings ``key``, empty when absent."""
    items = array(node, key, where)
    for index, item in enumerate(items):
        if type(item) is not str or "\0" in item or not item.isascii():
            fault = text_fault(item)
            if fault:
                refuse_item(where, key, index, fault)
    return items


def numbers(node: "Node", key: str, where: str, low: int, high: int) -> "list[int]":
    """Return the array of integers ``key``, each between ``low`` and ``high``."""
    items = array(node, key, where)
    for index, item in enumerate(items):
        fault = number_fault(item, low, high)
        if fault:
            refuse_item(where, key, index, fault)
    return items


def refuse_item(where: str, key: str, index: int, message: str, name: str = "") -> "NoReturn":
    """Raise the InvalidError about the item ``index`` of the array ``key``, or its ``name``."""
    path = f"{member(where, key)}[{index}]"
    fail(member(path, name) if name else path, message)


def refuse_repeated(values: "list[str]", key: str, name: str, where: str) -> None:
    """Refuse the first repeated one of ``values``, the members ``name`` of the array ``key``."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            refuse_item(where, key, index, f"{value} is listed twice", name)
        seen.add(value)


def choices(node: "Node", key: str, where: str, allowed: "tuple[str, ...]") -> "list[str]":
    """Return the array of strings ``key``, whose items must be among ``allowed``."""
    items = texts(node, key, where)
    for index, item in enumerate(items):
        if item not in allowed:
            refuse_item(where, key, index, one_of(allowed))
    return items


def absolute_paths(node: "Node", key: str, where: str) -> "list[str]":
    """Return the array of absolute paths ``key``, empty when absent."""
    items = texts(node, key, where)
    for index, item in enumerate(items):
        if item[:1] != "/":
            refuse_item(where, key, index, "must be an absolute path")
    return items


def node_of(node: "Node", key: str, where: str) -> "Node | None":
    """Return the object ``key``, None when absent."""
    value = node.get(key)
    if value is not None and type(value) is not dict:
        refuse(where, key, wrong_type("an object", value))
    return value


def items_of(
    node: "Node", key: str, where: str, make: "Callable[[Node, str], Made]"
) -> "list[Made]":
    """Return what ``make`` makes of each object in the array ``key``, empty when absent."""
    items = array(node, key, where)
    if not items:
        return []
    made = []
    path = member(where, key)
    for index, item in enumerate(items):
        if type(item) is not dict:
            fail(f"{path}[{index}]", wrong_type("an object", item))
        made.append(make(item, f"{path}[{index}]"))
    return made


def entries_of(
    node: "Node", key: str, where: str, make: "Callable[[Node, str], Made]"
) -> "dict[str, Made]":
    """Return what ``make`` makes of each object in the map ``key``, empty when absent."""
    entries = node_of(node, key, where)
    if not entries:
        return {}
    path = member(where, key)
    made = {}
    for name, item in entries.items():
        check_key(path, name)
        if type(item) is not dict:
            refuse(path, name, wrong_type("an object", item))
        made[name] = make(item, member(path, name))
    return made


def text_entries(node: "Node", key: str, where: str) -> "dict[str, str]":
    """Return the map of strings ``key``, empty when absent."""
    entries = node_of(node, key, where)
    if not entries:
        return {}
    path = member(where, key)
    for name, value in entries.items():
        check_key(path, name)
        _check_text(path, name, value)
    return entries


def check_key(path: str, name: str) -> None:
    """Refuse the key of a map when it is empty or not usable as text."""
    fault = text_fault(name) if name else "a key must not be empty"
    if fault:
        refuse(path, name, fault)
