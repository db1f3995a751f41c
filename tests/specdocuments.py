"""Documents for the strict reader of config.json: the smallest, one with everything, wrong ones."""

import copy
from typing import Any

import pytest

from uxc.errors import InvalidError
from uxc.oci import judge, spec

MINIMAL: dict[str, Any] = {"ociVersion": "1.0.0", "root": {"path": "rootfs"}}
PROCESS: dict[str, Any] = {"cwd": "/", "args": ["sh"]}

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


def config(**properties: Any) -> dict[str, Any]:
    """Return the smallest document with ``properties``."""
    return {**copy.deepcopy(MINIMAL), **properties}


def refusal(document: Any) -> str:
    """Return what the reader says of a document that it must refuse."""
    with pytest.raises(InvalidError) as caught:
        spec.parse(document)
    return caught.value.message


def lines(document: Any) -> list[str]:
    """Return all that the judge says of a document."""
    return [
        f"config.json: {path}: {message}" if path else f"config.json: {message}"
        for path, message in judge.judge(document)
    ]
