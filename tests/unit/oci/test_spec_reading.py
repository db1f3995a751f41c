"""What the strict reader takes, whatever is beside it; the judge says the same."""

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specdocuments import FULL, MINIMAL, config, lines, refusal
from uxc.oci import spec


def test_smallest_document() -> None:
    """A version and a root are enough; everything else is absent in its typed way."""
    read = spec.parse(MINIMAL)

    assert read.root.path == "rootfs"
    assert not read.root.readonly
    assert read.process is None
    assert read.mounts == []
    assert read.linux.namespaces == []
    assert read.linux.resources is None
    assert read.linux.seccomp is None
    assert read.hooks.prestart == []
    assert read.hostname == ""


def test_full_document() -> None:
    """A document with every property of the specification is read and found right."""
    read = spec.parse(FULL)

    assert read.process is not None
    assert read.process.console_size == (25, 80)
    assert read.process.rlimits[0].hard == 2**64 - 1
    assert read.process.io_priority is not None
    assert read.linux.time_offsets == {"monotonic": (-5, 999999999)}
    assert read.linux.net_devices == {"eth0": "c%d", "eth1": ""}
    assert read.linux.resources is not None
    assert read.linux.resources.devices[1].major is None
    assert read.linux.resources.pids_limit == 0
    assert read.linux.seccomp is not None
    assert read.linux.namespace("time") is not None
    assert lines(FULL) == []


# Objects whose keys are the bundle's own.
MAPS = {"annotations", "sysctl", "timeOffsets", "netDevices", "rdma", "unified"}


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value inside ``value``."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths_of(item, (*path, index))
    return found


def test_unknown_properties_are_ignored() -> None:
    """Junk beside known properties changes nothing, at whatever depth (config.md)."""
    document = copy.deepcopy(FULL)
    for path in paths_of(FULL):
        target = document
        for part in path:
            target = target[part]
        if isinstance(target, dict) and not (path and path[-1] in MAPS):
            target["uxcJunk"] = {"a": [None]}

    assert spec.parse(document).linux.cgroups_path == "/a/..b/c.."
    assert lines(document) == []


PROPERTIES = [
    path
    for path in paths_of(FULL)
    if path and isinstance(path[-1], str) and not (set(path[:-1][-1:]) & MAPS)
]


@pytest.mark.parametrize("path", PROPERTIES, ids=lambda path: ".".join(map(str, path)))
def test_a_property_that_is_null_is_absent(path: tuple[Any, ...]) -> None:
    """Go's encoder writes null for what is empty: the same is said as without the property."""
    null, absent = copy.deepcopy(FULL), copy.deepcopy(FULL)
    *above, name = path
    for document in (null, absent):
        target: Any = document
        for part in above:
            target = target[part]
        if document is null:
            target[name] = None
        else:
            del target[name]

    assert lines(null) == lines(absent)
    if lines(absent):
        assert refusal(null) == refusal(absent)
    else:
        spec.parse(null)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from(
        ["", "/", "a", "/a\n", "\ud800", "a\0", "..", "../x", "pid", "user", "1.0.0", "MB:", "x.y"]
    ),
    st.lists(st.one_of(st.none(), st.text(max_size=3), st.integers(-2, 9)), max_size=3),
    st.dictionaries(st.sampled_from(["type", "path", "limit", "", "a.b"]), st.just("x")),
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return the full document with one to three places replaced, removed, or copied elsewhere."""
    document: Any = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        paths = paths_of(document)[1:]
        if not paths:
            break
        *above, last = draw(st.sampled_from(paths))
        target = document
        for part in above:
            target = target[part]
        deed = draw(st.sampled_from(["replace", "remove", "repeat", "rename"]))
        if deed == "replace":
            target[last] = draw(JUNK)
        elif deed == "remove" or (isinstance(target, dict) and deed == "repeat"):
            del target[last]
        elif deed == "repeat":
            target.append(copy.deepcopy(target[last]))
        elif isinstance(target, dict):
            target[draw(st.sampled_from(["", "x", "kernel.foo", "a/b", "cgroup.procs"]))] = (
                target.pop(last)
            )
    return document


@given(mutated())
@example(config(linux={"namespaces": "x"}))
@example(config(linux=[]))
def test_reader_and_judge_agree(document: Any) -> None:
    """The judge finds a problem when and only when the reader refuses, and names the reader's."""
    found = lines(document)
    if found:
        assert refusal(document) in found
    else:
        spec.parse(document)
