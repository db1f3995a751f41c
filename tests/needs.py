"""What tests need from the machine, each found out by a probe.

``@pytest.mark.needs("veth", "crun")`` skips a test where one of them is missing. Those listed in
``UXC_MUST_HAVE`` (comma separated) fail it instead, so that CI cannot go green by skipping.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROBES: dict[str, Callable[[], str]] = {}
DEBIAN_BUNDLE = Path(__file__).parents[1] / ".cache/debian/bundle"


def _probe(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a probe: a function that returns why the thing is missing, or nothing."""

    def register(function: Callable[[], str]) -> Callable[[], str]:
        PROBES[name] = functools.cache(function)
        return function

    return register


def missing(name: str) -> str:
    """Return why ``name`` is missing on this machine, or an empty string; KeyError if unknown."""
    return PROBES[name]()


def require(*names: str) -> None:
    """Skip the running test, or fail it where the thing must be there."""
    must_have = set(filter(None, os.environ.get("UXC_MUST_HAVE", "").split(",")))
    unknown = (must_have | set(names)) - set(PROBES)
    if unknown:
        pytest.fail(f"tests/needs.py knows no {', '.join(sorted(unknown))}")
    for name in names:
        if reason := missing(name):
            (pytest.fail if name in must_have else pytest.skip)(f"needs {name}: {reason}")


def _tried(*command: str) -> str:
    """Run a command; return its complaint, or nothing when it succeeded."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"{command[0]} failed")


@_probe("root")
def _root() -> str:
    return "" if os.geteuid() == 0 else "not run as root"


@_probe("namespaces")
def _namespaces() -> str:
    return _tried("unshare", "-m", "-n", "-i", "-u", "-p", "-C", "-f", "true")


@_probe("user-namespaces")
def _user_namespaces() -> str:
    return _tried("unshare", "-U", "-r", "true")


# How to make one of each kind, in a network namespace that takes it away again.
LINKS = {
    "veth": "ip link add probe0 type veth peer name probe1",
    "bridge": "ip link add probe0 type bridge",
    "dummy": "ip link add probe0 type dummy",
    "macvlan": "ip link add probe0 type bridge && ip link add link probe0 probe1 type macvlan",
    "vlan": "ip link add probe0 type bridge && ip link add link probe0 probe1 type vlan id 7",
    "bridge-vlan": "ip link add probe0 type bridge vlan_filtering 1",
}
for _kind, _script in LINKS.items():
    _probe(_kind)(functools.partial(_tried, "unshare", "-n", "sh", "-c", _script))


@_probe("overlayfs")
def _overlayfs() -> str:
    with tempfile.TemporaryDirectory() as top:
        script = (
            'mount -t tmpfs t "$1" && cd "$1" && mkdir l u w m && '
            "mount -t overlay -o lowerdir=l,upperdir=u,workdir=w o m"
        )
        return _tried("unshare", "-m", "sh", "-c", script, "sh", top)


@_probe("seccomp")
def _seccomp() -> str:
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        return str(error)
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    return "" if actions.exists() else "the kernel has no seccomp filters"


def _cgroup1_mounts() -> Iterator[tuple[str, set[str]]]:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup":
            yield where, set(options.split(","))


def cgroup2_mount() -> str:
    """Return where the cgroup v2 tree is mounted, or an empty string."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return where
    return ""


def cgroup1_mount(controller: str) -> str:
    """Return where the cgroup v1 tree of a controller is mounted, or an empty string."""
    return next((where for where, options in _cgroup1_mounts() if controller in options), "")


def _on_v1(controller: str) -> str:
    found = cgroup1_mount(controller)
    return "" if found else f"no cgroup v1 tree has the {controller} controller"


def _on_v2(controller: str) -> str:
    where = cgroup2_mount()
    if not where:
        return "cgroup v2 is not mounted"
    controllers = Path(where, "cgroup.controllers").read_text().split()
    return "" if controller in controllers else f"cgroup v2 has no {controller} controller"


for _name in ("blkio", "cpu", "cpuset", "devices", "freezer", "hugetlb", "memory", "pids"):
    _probe(f"cgroup1-{_name}")(functools.partial(_on_v1, _name))
for _name in ("cpu", "cpuset", "hugetlb", "io", "memory", "pids"):
    _probe(f"cgroup2-{_name}")(functools.partial(_on_v2, _name))


@_probe("cgroup2-freezer")
def _cgroup2_freezer() -> str:
    where = cgroup2_mount()
    if not where:
        return "cgroup v2 is not mounted"
    # The root cgroup has no cgroup.freeze; any other one shows whether the kernel knows it.
    group = Path(tempfile.mkdtemp(dir=where))
    try:
        return "" if (group / "cgroup.freeze").exists() else "no cgroup.freeze"
    finally:
        group.rmdir()


@_probe("limits")
def _limits() -> str:
    for name in ("cpu", "cpuset", "memory", "pids"):
        if _on_v1(name) and _on_v2(name):
            return f"no cgroup tree has the {name} controller"
    return ""


@_probe("libuci")
def _libuci() -> str:
    try:
        import uci  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


@_probe("debian")
def _debian() -> str:
    return "" if DEBIAN_BUNDLE.is_dir() else "tests/run has not made the Debian bundle"


@_probe("sys-resource")
def _sys_resource() -> str:
    return _tried("sh", "-c", "echo -1 >/proc/self/oom_score_adj")


@_probe("criu")
def _criu() -> str:
    return _tried("criu", "check") if shutil.which("criu") else "criu is not installed"


@_probe("apparmor")
def _apparmor() -> str:
    try:
        active = Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except FileNotFoundError:
        active = False
    if not active:
        return "AppArmor is not active in this kernel"
    return "" if shutil.which("apparmor_parser") else "apparmor_parser is not installed"


@_probe("selinux")
def _selinux() -> str:
    active = "\tselinuxfs\n" in Path("/proc/filesystems").read_text()
    return "" if active else "SELinux is not active in this kernel"


@_probe("runtime-tools")
def _runtime_tools() -> str:
    # Not in CI: they are built with Go, and take minutes (docs/conformance.md).
    named = os.environ.get("UXC_RUNTIME_TOOLS", "")
    return "" if named else "UXC_RUNTIME_TOOLS names no checkout of its validation programs"


def _on_path(program: str) -> str:
    return "" if shutil.which(program) else f"{program} is not installed"


PROGRAMS = "crun runc umoci dnsmasq busybox shellcheck ip podman containerd".split()
for _name in PROGRAMS:
    _probe(_name)(functools.partial(_on_path, _name))
