"""What the strict reader refuses, and in which words; the judge uses the same."""

from typing import Any

import pytest

from specdocuments import PROCESS, config, lines, refusal
from uxc.errors import InvalidError
from uxc.oci import spec
from uxc.oci.spec_resources import Resources


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


def test_lone_objects() -> None:
    """The process of exec and the resources of update are read alone, under their file's name."""
    assert spec.parse_process(PROCESS).args == ["sh"]
    assert Resources({"pids": {"limit": 5}}, "").pids_limit == 5
    with pytest.raises(InvalidError, match=r"^process.json: user.uid: must be an integer"):
        spec.parse_process({**PROCESS, "user": {"uid": "0"}})
    with pytest.raises(InvalidError, match=r"^resources.json: memory.swap: must be an integer"):
        Resources({"memory": {"swap": []}}, "resources.json: ")
