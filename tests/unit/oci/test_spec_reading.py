"""What the strict reader takes and how it refuses; the judge says the same, and all of it."""

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uxc.errors import InvalidError
from uxc.oci import judge, spec

MINIMAL: dict[str, Any] = {"ociVersion": "1.0.0", "root": {"path": "rootfs"}}
PROCESS: dict[str, Any] = {"cwd": "/", "args": ["sh"]}


def config(**properties: Any) -> dict[str, Any]:
    return {**copy.deepcopy(MINIMAL), **properties}


def refusal(document: Any) -> str:
    with pytest.raises(InvalidError) as caught:
        spec.parse(document)
    return caught.value.message


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


@pytest.mark.parametrize(
    "version",
    ["1.0.0", "1.0.2-dev", "1.0.2", "1.1.0+dev", "1.2.1", "1.3.0", "1.99.0", "1.1.0-rc.1+a-b.c"],
)
def test_versions_taken(version: str) -> None:
    """Every release from 1.0.0 on and below 2.0.0 is read, known today or not."""
    assert spec.parse(config(ociVersion=version)).oci_version == version


@pytest.mark.parametrize("version", ["1.0.0-rc5", "0.9.0", "2.0.0", "10.0.0"])
def test_versions_not_supported(version: str) -> None:
    """Releases before 1.0.0 and from 2.0.0 on are refused by name."""
    assert refusal(config(ociVersion=version)) == (
        f"config.json: ociVersion: {version} is not supported,"
        " only 1.0.0 and later versions below 2.0.0 are"
    )


@pytest.mark.parametrize(
    "version", ["1", "1.0", "1.0.0.0", "v1.0.0", "1.00.0", "1.0.0-", "1.0.0+", "1.0.0\n", "1.0.٣"]
)
def test_versions_that_are_none(version: str) -> None:
    """What is no semantic version is said to be none."""
    message = "config.json: ociVersion: must be a semantic version such as 1.2.0"

    assert refusal(config(ociVersion=version)) == message


WRONG = [
    ([], "config.json: must be an object, not an array"),
    (None, "config.json: must be an object, not null"),
    ({}, "config.json: ociVersion: is missing"),
    ({"ociVersion": "1.0.0"}, "config.json: root: is missing"),
    (config(root={}), "config.json: root.path: is missing"),
    (config(root={"path": ""}), "config.json: root.path: must not be empty"),
    (config(root={"path": "a\0b"}), "config.json: root.path: must not contain a NUL character"),
    (
        config(root={"path": "a\ud800"}),
        "config.json: root.path: must not contain a lone surrogate",
    ),
    (
        config(root={"path": "x", "readonly": 1}),
        "config.json: root.readonly: must be a boolean, not a number",
    ),
    (config(hostname=5), "config.json: hostname: must be a string, not a number"),
    (
        config(linux={"namespaces": [{"type": "uts"}], "sysctl": {"kernel.hostname": "x"}}),
        'config.json: linux.sysctl["kernel.hostname"]: is set by the property hostname',
    ),
    (
        config(linux={"sysctl": {"net.x": None}}),
        'config.json: linux.sysctl["net.x"]: must be a string, not null',
    ),
    (
        config(process={**PROCESS, "args": ["sh", None]}),
        "config.json: process.args[1]: must be a string, not null",
    ),
    (
        config(process={"cwd": "/", "args": ["a", 1]}),
        "config.json: process.args[1]: must be a string, not a number",
    ),
    (config(process={"cwd": "/", "args": []}), "config.json: process.args: must not be empty"),
    (config(process={"cwd": "/"}), "config.json: process.args: is missing"),
    (config(process={"args": ["a"]}), "config.json: process.cwd: is missing"),
    (
        config(process={**PROCESS, "cwd": "tmp"}),
        "config.json: process.cwd: must be an absolute path",
    ),
    (
        config(process={**PROCESS, "user": {"uid": True}}),
        "config.json: process.user.uid: must be an integer, not a boolean",
    ),
    (
        config(process={**PROCESS, "user": {"uid": 1.0}}),
        "config.json: process.user.uid: must be an integer, not a number",
    ),
    (
        config(process={**PROCESS, "user": {"gid": -1}}),
        "config.json: process.user.gid: must be a number from 0 to 4294967295",
    ),
    (
        config(process={**PROCESS, "user": {"additionalGids": [1, "2"]}}),
        "config.json: process.user.additionalGids[1]: must be an integer, not a string",
    ),
    (
        config(mounts=[{"destination": "/a"}, {"source": "b"}]),
        "config.json: mounts[1].destination: is missing",
    ),
    (
        config(mounts=[{"destination": "/a", "uidMappings": []}]),
        "config.json: mounts[0].gidMappings: is missing: uidMappings is given",
    ),
    (config(mounts={}), "config.json: mounts: must be an array, not an object"),
    (config(mounts=["x"]), "config.json: mounts[0]: must be an object, not a string"),
    (
        config(hooks={"poststop": [{"path": "sh"}]}),
        "config.json: hooks.poststop[0].path: must be an absolute path",
    ),
    (
        config(hooks={"poststop": [{"path": "/sh", "timeout": 0}]}),
        "config.json: hooks.poststop[0].timeout: must be a number from 1 to 2147483647",
    ),
    (
        config(annotations={"org.x": 1}),
        'config.json: annotations["org.x"]: must be a string, not a number',
    ),
    (config(annotations={"": "x"}), 'config.json: annotations[""]: a key must not be empty'),
    # linux
    (
        config(linux={"namespaces": [{"type": "pid"}, {"type": "pid"}]}),
        "config.json: linux.namespaces[1].type: pid is listed twice",
    ),
    (
        config(linux={"namespaces": [{"type": "net"}]}),
        "config.json: linux.namespaces[0].type: must be one of"
        " pid, network, mount, ipc, uts, user, cgroup, time",
    ),
    (
        config(linux={"namespaces": [{"type": "pid", "path": "ns"}]}),
        "config.json: linux.namespaces[0].path: must be an absolute path",
    ),
    (
        config(hostname="a"),
        "config.json: hostname: needs a namespace of the type uts in linux.namespaces",
    ),
    (
        config(linux={"maskedPaths": ["/proc/kcore"]}),
        "config.json: linux.maskedPaths: needs a namespace of the type mount in linux.namespaces",
    ),
    (
        config(linux={"namespaces": [{"type": "mount"}], "readonlyPaths": ["/a", "proc"]}),
        "config.json: linux.readonlyPaths[1]: must be an absolute path",
    ),
    (
        config(linux={"namespaces": [{"type": "user"}]}),
        "config.json: linux.uidMappings: must have an entry for the new user namespace",
    ),
    (
        config(linux={"uidMappings": [{"containerID": 0, "hostID": 1, "size": 0}]}),
        "config.json: linux.uidMappings[0].size: must be a number from 1 to 4294967295",
    ),
    (
        config(linux={"sysctl": {"kernel.core_pattern": "|/x"}}),
        'config.json: linux.sysctl["kernel.core_pattern"]:'
        " belongs to the whole host, not to a namespace",
    ),
    (
        config(linux={"sysctl": {"net.ipv4.ip_forward": "1"}}),
        'config.json: linux.sysctl["net.ipv4.ip_forward"]:'
        " needs a namespace of the type network in linux.namespaces",
    ),
    (
        config(linux={"devices": [{"type": "c", "path": "/dev/x", "major": 1}]}),
        "config.json: linux.devices[0].minor: is missing",
    ),
    (
        config(linux={"cgroupsPath": "/a/../b"}),
        "config.json: linux.cgroupsPath: must not contain '..'",
    ),
    (
        config(linux={"timeOffsets": {"realtime": {}}}),
        "config.json: linux.timeOffsets.realtime: must be one of monotonic, boottime",
    ),
    (
        config(linux={"netDevices": {"a/b": {}}}),
        'config.json: linux.netDevices["a/b"]: must be an interface name:'
        " 1 to 15 printable characters without '/' and ':'",
    ),
    (
        config(linux={"intelRdt": {"memBwSchema": "L3:"}}),
        "config.json: linux.intelRdt.memBwSchema: must start with MB:",
    ),
    (
        config(linux={"personality": {"domain": "BSD"}}),
        "config.json: linux.personality.domain: must be one of LINUX, LINUX32",
    ),
    # resources
    (
        config(linux={"resources": {"memory": {"limit": "64M"}}}),
        "config.json: linux.resources.memory.limit: must be an integer, not a string",
    ),
    (
        config(linux={"resources": {"memory": {"limit": -2}}}),
        "config.json: linux.resources.memory.limit:"
        " must be a number from -1 to 9223372036854775807",
    ),
    (
        config(linux={"resources": {"cpu": {"cpus": "0 1"}}}),
        "config.json: linux.resources.cpu.cpus: must be a list such as 0-3,7",
    ),
    (
        config(linux={"resources": {"devices": [{"allow": True, "access": "rx"}]}}),
        "config.json: linux.resources.devices[0].access: must be made of the letters r, w and m",
    ),
    (
        config(linux={"resources": {"devices": [{"type": "a"}]}}),
        "config.json: linux.resources.devices[0].allow: is missing",
    ),
    (
        config(linux={"resources": {"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}}),
        "config.json: linux.resources.hugepageLimits[0].pageSize:"
        " must be a size such as 64KB, 2MB or 1GB",
    ),
    (
        config(linux={"resources": {"blockIO": {"weightDevice": [{"major": 1, "minor": 2}]}}}),
        "config.json: linux.resources.blockIO.weightDevice[0]: weight or leafWeight is missing",
    ),
    (
        config(linux={"resources": {"rdma": {"mlx": {}}}}),
        "config.json: linux.resources.rdma.mlx: hcaHandles or hcaObjects is missing",
    ),
    (
        config(linux={"resources": {"unified": {"cgroup.procs": "1"}}}),
        'config.json: linux.resources.unified["cgroup.procs"]:'
        " must be the name of a limit's file such as memory.high",
    ),
    (
        config(linux={"resources": {"unified": {"../memory.max": "1"}}}),
        'config.json: linux.resources.unified["../memory.max"]:'
        " must be the name of a limit's file such as memory.high",
    ),
    # seccomp
    (
        config(linux={"seccomp": {}}),
        "config.json: linux.seccomp.defaultAction: is missing",
    ),
    (
        config(linux={"seccomp": {"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}}),
        "config.json: linux.seccomp.defaultErrnoRet: SCMP_ACT_KILL takes no number",
    ),
    (
        config(
            linux={
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}],
                }
            }
        ),
        "config.json: linux.seccomp.syscalls[0].names: must not be empty",
    ),
    (
        config(linux={"seccomp": {"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "x"}}),
        "config.json: linux.seccomp.listenerPath: is missing",
    ),
]


@pytest.mark.parametrize(("document", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_document(document: Any, message: str) -> None:
    """A wrong document is refused with the path of what is wrong, in the judge's words, too."""
    assert refusal(document) == message
    assert message in lines(document)


def lines(document: Any) -> list[str]:
    return [
        f"config.json: {path}: {message}" if path else f"config.json: {message}"
        for path, message in judge.judge(document)
    ]


def test_all_problems_at_once() -> None:
    """The judge does not stop at the first problem."""
    document = config(hostname=1, process={"args": ["a", 2]}, mounts=[{}])

    assert sorted(lines(document)) == [
        "config.json: hostname: must be a string, not a number",
        "config.json: hostname: needs a namespace of the type uts in linux.namespaces",
        "config.json: mounts[0].destination: is missing",
        "config.json: process.args[1]: must be a string, not a number",
        "config.json: process.cwd: is missing",
    ]


FULL: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/r", "readonly": True},
    "hostname": "h",
    "domainname": "d",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "data",
            "source": "d",
            "options": ["rbind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 4294967295}],
            "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
        },
    ],
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "cwd": "/",
        "env": ["A=ä", "B"],
        "args": ["sh", ""],
        "user": {"uid": 4294967295, "gid": 1, "umask": 63, "additionalGids": [5]},
        "capabilities": {"bounding": ["CAP_KILL", "CAP_OF_TOMORROW"], "ambient": []},
        "rlimits": [{"type": "RLIMIT_AS", "soft": 0, "hard": 18446744073709551615}],
        "noNewPrivileges": True,
        "oomScoreAdj": -500,
        "apparmorProfile": "p",
        "selinuxLabel": "l",
        "scheduler": {"policy": "SCHED_FIFO", "nice": -20, "flags": ["SCHED_FLAG_RECLAIM"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7},
        "execCPUAffinity": {"initial": "0-1", "final": "1"},
    },
    "hooks": {"prestart": [{"path": "/h", "args": ["h"], "env": ["A=1"], "timeout": 5}]},
    "annotations": {"org.example": ""},
    "linux": {
        "namespaces": [
            {"type": kind}
            for kind in ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
        ],
        "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}],
        "gidMappings": [{"containerID": 0, "hostID": 1, "size": 2}],
        "timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 999999999}},
        "devices": [
            {"type": "p", "path": "/dev/fifo"},
            {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438},
        ],
        "netDevices": {"eth0": {"name": "c%d"}, "eth1": {}},
        "cgroupsPath": "/a/..b/c..",
        "rootfsPropagation": "rslave",
        "sysctl": {"net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "9", "kernel/sem": "1"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "m",
        "intelRdt": {"closID": "c", "memBwSchema": "MB:0=1", "schemata": ["L3:0=1"]},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32", "flags": []},
        "resources": {
            "devices": [{"allow": False}, {"allow": True, "type": "c", "major": -1, "minor": 3}],
            "memory": {"limit": -1, "swap": 0, "swappiness": 100, "useHierarchy": True},
            "cpu": {"shares": 2, "quota": -1, "burst": 0, "cpus": "0-3,7", "mems": "", "idle": 1},
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 18446744073709551615}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854772000}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 500}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
            "unified": {"memory.high": "1", "cgroup.max.depth": "2"},
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/l",
            "listenerMetadata": "m",
            "syscalls": [
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [
                        {"index": 5, "value": 18446744073709551615, "op": "SCMP_CMP_MASKED_EQ"}
                    ],
                }
            ],
        },
    },
}


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


def test_lone_objects() -> None:
    """The process of exec and the resources of update are read alone, under their file's name."""
    assert spec.parse_process(PROCESS).args == ["sh"]
    assert spec.parse_resources({"pids": {"limit": 5}}).pids_limit == 5
    with pytest.raises(InvalidError, match=r"^process.json: user.uid: must be an integer"):
        spec.parse_process({**PROCESS, "user": {"uid": "0"}})
    with pytest.raises(InvalidError, match=r"^resources.json: memory.swap: must be an integer"):
        spec.parse_resources({"memory": {"swap": []}})
