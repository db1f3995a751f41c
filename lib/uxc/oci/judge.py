"""config.json judged as a whole by JSON Schemas: every problem at once, each with its JSON path.

The strict reader (``spec``) stops at the first problem and is what a container is created from;
this module is for people who repair a bundle. The two agree, to the word: a test compares them.
jsonschema costs 70 ms and 10 MB, so it is imported only when something is judged.
"""

from uxc import files
from uxc.oci.spec import sysctl_problem, without_namespace
from uxc.oci.spec_fields import member, one_of, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Schema = dict[str, Any]

_DIRECTORY = __file__.rpartition("/")[0] + "/schemas"
_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
}
# Keywords whose failure the schema's own "message" explains.
_EXPLAINED = ("anyOf", "enum", "minLength", "not", "pattern")
_EMPTY = "must not be empty"

# Made once: the schemas do not change.
_validator: "Any" = None
_schemas: "dict[str, Schema]" = {}


def judge(config: object) -> "list[tuple[str, str]]":
    """Return all that is wrong with the document ``config`` as (JSON path, message) pairs.

    The path of the document itself is empty. Raises ModuleNotFoundError when jsonschema is not
    installed.
    """
    global _validator
    if _validator is None:
        _validator = _make_validator()
    found: dict[str, list[str]] = {}
    for error in _validator.iter_errors(config):
        for path, message in _explain(error):
            messages = found.setdefault(path, [])
            if message not in messages:
                messages.append(message)
    return [
        (path, message)
        for path, messages in sorted(found.items(), key=lambda entry: _in_order(entry[0]))
        # An empty text breaks every other rule as well.
        for message in ([_EMPTY] if _EMPTY in messages else messages)
    ]


def _make_validator() -> "Any":
    # Costly: see the module's first lines.
    import jsonschema

    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    keywords = {
        "$ref": _ref,
        "properties": _of_members("properties"),
        "required": _of_members("required"),
        "dependentRequired": _of_members("dependentRequired"),
        "pattern": _pattern,
        "uniqueBy": _unique_by,
        "onlyWhen": _only_when,
        "ownNamespaces": _own_namespaces,
        "newUserNamespaceHas": _new_user_namespace_has,
    }
    validator = jsonschema.validators.extend(
        jsonschema.Draft202012Validator, keywords, type_checker=checker
    )
    return validator({"$ref": "config.json"})


def _is_integer(checker: object, value: object) -> bool:
    # JSON Schema takes 1.0 for an integer; Go's decoder, which all peers have, does not.
    del checker
    return type(value) is int


def _explain(error: "Any") -> "Iterator[tuple[str, str]]":
    """Turn one error of jsonschema into paths and messages."""
    path = _path(error.absolute_path)
    keyword, value, instance, schema = (
        error.validator,
        error.validator_value,
        error.instance,
        error.schema,
    )
    if "propertyNames" in error.absolute_schema_path:
        path = _join(path, instance)
    if keyword in _EXPLAINED and "message" in schema:
        yield path, schema["message"].replace("{value}", str(instance))
    elif keyword == "type":
        yield path, wrong_type(_TYPES[value], instance)
    elif keyword == "required":
        for name in value:
            if instance.get(name) is None:
                yield _join(path, name), "is missing"
    elif keyword == "dependentRequired":
        for name, others in value.items():
            for other in others:
                if instance.get(name) is not None and instance.get(other) is None:
                    yield _join(path, other), f"is missing: {name} is given"
    elif keyword == "enum":
        yield path, one_of([word for word in value if word])
    elif keyword in ("minimum", "maximum"):
        yield path, f"must be a number from {schema['minimum']} to {schema['maximum']}"
    elif keyword in ("minLength", "minItems"):
        yield path, _EMPTY
    else:
        yield path, error.message


def _in_order(path: str) -> str:
    """Return ``path`` so changed that item 10 comes after item 9."""
    head, *rest = path.split("[")
    numbers = [part.partition("]") for part in rest]
    return head + "".join(f"[{number:>9}]{after}" for number, _, after in numbers)


def _path(parts: "Any") -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path


def _join(path: str, name: str) -> str:
    # member() sets no dot after a space, which stands for the document here.
    return member(path or " ", name).lstrip(" ")


# Validating functions have the signature that jsonschema calls them with.


def _ref(validator: "Any", reference: str, instance: object, schema: object) -> "Iterator[Any]":
    """Go on with the schema that ``FILE#/$defs/NAME`` or ``FILE`` means.

    jsonschema's own look-up needs a registry that differs between its versions, and changes to a
    validator without the keywords defined here when it meets a ``$schema``.
    """
    del schema
    target = _schemas.get(reference)
    if target is None:
        file, _, pointer = reference.partition("#/")
        target = files.read_json(f"{_DIRECTORY}/{file}")
        for part in pointer.split("/") if pointer else ():
            target = target[part]
        target.pop("$schema", None)
        _schemas[reference] = target
    yield from validator.descend(instance, target)


def _error(message: str, *path: "str | int") -> "Any":
    from jsonschema import ValidationError

    return ValidationError(message, path=path)


def _of_members(keyword: str) -> "Any":
    """Return the function for ``keyword`` that takes a property that is null for an absent one."""
    from jsonschema import Draft202012Validator

    original = Draft202012Validator.VALIDATORS[keyword]

    def validate(
        validator: object, value: object, instance: object, schema: object
    ) -> "Iterator[Any]":
        if isinstance(instance, dict) and None in instance.values():
            instance = {name: member for name, member in instance.items() if member is not None}
        yield from original(validator, value, instance, schema)

    return validate


def _pattern(validator: object, pattern: str, instance: object, schema: object) -> "Iterator[Any]":
    from jsonschema import Draft202012Validator

    # "$" ends the text in JSON Schema, but in Python also stands before a last newline.
    exact = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    yield from Draft202012Validator.VALIDATORS["pattern"](validator, exact, instance, schema)


def _unique_by(validator: object, name: str, items: object, schema: object) -> "Iterator[Any]":
    """Refuse a second item of a list with the same text as member ``name``."""
    del validator, schema
    seen = set()
    for index, item in enumerate(items if isinstance(items, list) else ()):
        value = item.get(name) if isinstance(item, dict) else None
        if isinstance(value, str):
            if value in seen:
                yield _error(f"{value} is listed twice", index, name)
            seen.add(value)


def _only_when(
    validator: object, rules: "dict[str, dict[str, list[str]]]", node: object, schema: object
) -> "Iterator[Any]":
    """Refuse a member unless another one has one of the values that go with it."""
    del validator, schema
    if not isinstance(node, dict):
        return
    for name, condition in rules.items():
        for other, values in condition.items():
            given = node.get(name) is not None and isinstance(node.get(other), str)
            if given and node[other] not in values:
                yield _error(f"{node[other]} takes no number", name)


def _own_namespaces(
    validator: object, needs: "dict[str, str]", config: object, schema: object
) -> "Iterator[Any]":
    """Refuse settings of a namespace that the container does not have for itself."""
    del validator, schema
    if not isinstance(config, dict):
        return
    linux = config.get("linux")
    linux = linux if isinstance(linux, dict) else {}
    own = {space["type"] for space in _namespaces(linux)}
    for path, kind in needs.items():
        *above, name = path.split(".")
        if (linux if above else config).get(name) and kind not in own:
            yield _error(without_namespace(kind), *above, name)
    sysctl = linux.get("sysctl")
    for key in sysctl if isinstance(sysctl, dict) else ():
        problem = sysctl_problem(key, own)
        if problem:
            yield _error(problem, "linux", "sysctl", key)


def _new_user_namespace_has(
    validator: object, names: "list[str]", linux: object, schema: object
) -> "Iterator[Any]":
    """Refuse a new user namespace without mappings."""
    del validator, schema
    if not isinstance(linux, dict):
        return
    for space in _namespaces(linux):
        if space["type"] == "user" and not space.get("path"):
            for name in names:
                if not linux.get(name):
                    yield _error("must have an entry for the new user namespace", name)
            return


def _namespaces(linux: "dict[str, Any]") -> "list[dict[str, Any]]":
    spaces = linux.get("namespaces")
    return [
        space
        for space in (spaces if isinstance(spaces, list) else ())
        if isinstance(space, dict) and isinstance(space.get("type"), str)
    ]
