"""What this runtime knows, as the features document of the specification (features.md).

Made from the tables that the runtime itself works by, so that nothing is promised that is not
done. It tells of the runtime, not of the machine it is on.
"""

from uxc.oci import (
    capabilities,
    mountoptions,
    parking,
    spec,
    spec_linux,
    spec_rare,
    spec_seccomp,
)
from uxc.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST_VERSION = "1.0.0"
NEWEST_VERSION = "1.3.0"


def document() -> "dict[str, Any]":
    """Return the document."""
    return {
        "ociVersionMin": OLDEST_VERSION,
        "ociVersionMax": NEWEST_VERSION,
        "hooks": list(spec.HOOKS),
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": sorted(spec_linux.NAMESPACES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {
                "v1": True,
                "v2": True,
                # The names of systemd's units are understood; systemd itself is never asked.
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False, "schemata": False, "monitoring": False},
            "memoryPolicy": {
                "modes": list(spec_rare.MEMORY_MODES),
                "flags": list(spec_rare.MEMORY_FLAGS),
            },
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": _annotations(),
        # These come from whoever wrote the bundle, and change what the runtime does.
        "potentiallyUnsafeConfigAnnotations": [parking.ANNOTATION],
    }


def mount_options() -> "list[str]":
    """Return every option that has a meaning of its own, without those of file systems."""
    return sorted(
        {
            *mountoptions.ATTRIBUTES,
            *mountoptions.RECURSIVE_ATTRIBUTES,
            *mountoptions.PROPAGATIONS,
            *mountoptions.SUPERBLOCK,
            "iversion",
            "noiversion",
            *mountoptions.WITHOUT_EFFECT,
            *mountoptions.BINDS,
            *mountoptions.IDMAPS,
            *mountoptions.SWITCHES,
        }
    )


def _seccomp() -> "dict[str, Any]":
    return {
        "enabled": True,
        "actions": sorted(spec_seccomp.ACTIONS),
        "operators": sorted(spec_seccomp.OPERATORS),
        "archs": sorted(spec_seccomp.ARCHITECTURES),
        "knownFlags": sorted(spec_seccomp.FLAGS),
        # They go to seccomp(2) without the library, and every kernel that we run on has them.
        "supportedFlags": sorted(spec_seccomp.FLAGS),
    }


def _annotations() -> "dict[str, str]":
    found = {
        "org.openwrt.uxc.version": VERSION,
        # What Podman and CRI-O look for before they offer a checkpoint; criu does the work.
        "org.opencontainers.runc.checkpoint.enabled": "true",
    }
    try:
        from uxc.linux import seccomp_lib
    except OSError:
        # The library is wanted by a bundle with a profile, not before.
        return found
    version = ".".join(map(str, seccomp_lib.version()))
    found["io.github.seccomp.libseccomp.version"] = version
    return found
