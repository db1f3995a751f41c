"""Root filesystems and bundles around busybox: small, made anew for each test in milliseconds."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

DIRECTORIES = "bin dev etc proc root run sys tmp usr var".split()


@cache
def _applets() -> tuple[str, ...]:
    done = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    return tuple(done.stdout.split())


def make_rootfs(directory: Path) -> Path:
    """Fill ``directory``, made when missing, with a root filesystem; return it."""
    for name in DIRECTORIES:
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "tmp").chmod(0o1777)
    source = shutil.which("busybox")
    assert source, "tests/run installs busybox-static"
    shutil.copy(source, directory / "bin/busybox")
    for applet in _applets():
        if applet != "busybox":
            os.symlink("busybox", directory / "bin" / applet)
    (directory / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n"
    )
    (directory / "etc/group").write_text("root:x:0:\nguest:x:1000:\n")
    (directory / "etc/resolv.conf").write_text("")
    return directory


def make_config(*args: str, terminal: bool = False) -> dict[str, Any]:
    """Return a config.json for ``args`` as ``runc spec`` would lay it out."""
    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    strict = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(
                ("bounding", "effective", "permitted", "ambient"), capabilities
            ),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "guest",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": [*strict, "mode=1777", "size=65536k"],
            },
            {
                "destination": "/dev/mqueue",
                "type": "mqueue",
                "source": "mqueue",
                "options": strict,
            },
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*strict, "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ],
        },
    }


def make_bundle(directory: Path, *args: str, terminal: bool = False) -> Path:
    """Fill ``directory`` with a bundle that runs ``args``; return it."""
    make_rootfs(directory / "rootfs")
    config = make_config(*args, terminal=terminal)
    (directory / "config.json").write_text(json.dumps(config, indent="\t"))
    return directory
