"""Podman and containerd, the real programs, on crun and on ours: the same tests for both.

``CLIENT_RUNTIMES`` names others or fewer: comma separated names of ``RUNTIMES``. All state of the
clients is below one tmpfs; images and daemon are made once a session.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Containerd, Ctr, Podman, Store
from rootfs import busybox
from runtimes import OURS

UNIFIED = Path("/sys/fs/cgroup/unified")
# Program, and whether the cgroup v2 tree is hidden from it. crun refuses a machine that has v1
# controllers and that tree beside them; ours takes both.
RUNTIMES = {
    "crun": ("/usr/bin/crun", True),
    "runc": ("/usr/sbin/runc", False),
    "uxc-runtime": (OURS, False),
    "uxc-runtime-v1": (OURS, True),
}
# The slow machine with v2 alone is for ours; crun shows here that the tests are right.
DEFAULT = "crun,uxc-runtime" if UNIFIED.is_dir() else "uxc-runtime"
CHOSEN = os.environ.get("CLIENT_RUNTIMES", DEFAULT).split(",")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test with each chosen runtime; those about cgroups with v1 alone, too."""
    if "runtime" not in metafunc.fixturenames:
        return
    names = list(CHOSEN)
    about_cgroups = metafunc.definition.get_closest_marker("vm") is not None
    if "uxc-runtime" in names and UNIFIED.is_dir() and about_cgroups:
        names.append("uxc-runtime-v1")
    metafunc.parametrize("runtime", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def runtime(request: pytest.FixtureRequest, store: Store) -> Iterator[str]:
    """Return the path of a runtime, on a machine that it accepts."""
    program, hidden = RUNTIMES[request.param]
    hidden = hidden and UNIFIED.is_dir()
    if hidden:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(UNIFIED)], check=True)
    # Whatever a first run prepares for later ones is no leftover of a test.
    store.warm_up(program)
    yield program
    if hidden:
        subprocess.run(["umount", str(UNIFIED)], check=True)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return where both clients keep everything: one tmpfs, with an image in it."""
    top = tmp_path_factory.mktemp("clients")
    # Users of user namespaces must reach images below it; pytest lets root alone in.
    tmp_path_factory.getbasetemp().chmod(0o711)
    # Podman's locks and its cache of digests are at fixed places, whatever its configuration.
    fixed = [Path("/dev/shm"), Path("/var/lib/containers")]
    for path in (top, *fixed):
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "none", str(path)], check=True)
    made = Store(top)
    busybox.make_rootfs(made.rootfs)
    yield made
    made.close()
    for path in (*fixed, top):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def podman(store: Store, runtime: str) -> Iterator[Podman]:
    """Return Podman with no container, pod or volume, before the test and after it."""
    made = Podman(store, runtime)
    yield made
    made.tidy()


@pytest.fixture(scope="session")
def containerd(store: Store) -> Iterator[Containerd]:
    """Return a running daemon."""
    made = Containerd(store)
    yield made
    made.close()


@pytest.fixture
def ctr(containerd: Containerd, runtime: str) -> Iterator[Ctr]:
    """Return containerd's client, with no container before the test and after it."""
    made = Ctr(containerd, runtime)
    yield made
    made.tidy()
