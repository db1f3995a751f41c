"""The tiers of tests: their order, what each may touch, and that none leaves anything behind."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import needs
from uxc.demo import host
from uxc.paths import Paths

TESTS = Path(__file__).parent
# Cheapest first: what is wrong there makes the rest fail in stranger ways.
TIERS = ("static", "unit", "kernel", "oci", "system", "clients")

settings.register_profile("uxc", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("uxc")


def _tier(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tiers in their order, whatever order the files were named in."""
    items.sort(key=lambda item: TIERS.index(_tier(item)))


def _apart() -> bool:
    """Tell whether mounts and links here are private: by tests/run, or by hand with unshare(1)."""
    return "UXC_TESTS_APART" in os.environ or all(
        os.readlink(f"/proc/self/ns/{kind}") != os.readlink(f"/proc/1/ns/{kind}")
        for kind in ("net", "mnt")
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look whether the machine has what the test says it needs."""
    if _tier(item) in ("kernel", "oci", "system", "clients"):
        needs.require("root", "namespaces")
        if not _apart():
            pytest.fail("this test changes mounts and links: start it with tests/run")
    for marker in item.iter_markers("needs"):
        needs.require(*marker.args)


class EffectError(BaseException):
    """A unit test had an effect; not an Exception, so that no handler in the code hides it."""


# Audit events (docs.python.org, "audit events table") that a pure function never raises.
EFFECTS = ("os.fork", "os.exec", "os.posix_spawn", "os.system", "subprocess.Popen", "os.kill")
AF_UNIX = 1
# SIGPIPE above all: set back to its default, it ends a later test without a word.
HANDLED = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)
_guard = {"on": False}


def _forbid_effects(event: str, arguments: tuple[object, ...]) -> None:
    if not _guard["on"]:
        return
    if event in EFFECTS:
        raise EffectError(f"{event}{arguments!r} in a unit test")
    if event == "socket.__new__" and arguments[1] not in (AF_UNIX, -1):
        raise EffectError(f"a socket of family {arguments[1]!r} in a unit test")


# An audit hook cannot be taken away again, hence the switch.
sys.addaudithook(_forbid_effects)


def _is_ours(line: str, tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Tell whether a thing was left by this run: cgroups are shared with others beside it.

    The cgroup of a prefix has a digest of it in its name; our prefixes are among our directories.
    """
    kind, _, name = line.partition(" ")
    mark = name.rpartition("/uxc-")[2]
    if kind != "cgroup" or mark == name:
        return True
    for directory, below, _ in os.walk(tmp_path_factory.getbasetemp()):
        if Paths(directory).mark == mark:
            return True
        if "rootfs" in below:
            below.remove("rootfs")
    return False


@pytest.fixture(autouse=True)
def _effects(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Forbid effects in unit tests; in the tiers above, compare the host before and after."""
    tier = _tier(request.node)
    if tier == "unit":
        _guard["on"] = True
        try:
            yield
        finally:
            _guard["on"] = False
    elif tier in ("kernel", "oci", "system", "clients"):
        before = host.look()
        yield
        left = [line for line in host.left_since(before) if _is_ours(line, tmp_path_factory)]
        if left:
            pytest.fail("left behind: " + "; ".join(left))
    else:
        yield


@pytest.fixture(autouse=True)
def _same_handlers() -> Iterator[None]:
    """The process that runs the tests handles signals as before."""
    before = [signal.getsignal(number) for number in HANDLED]
    yield
    assert [signal.getsignal(number) for number in HANDLED] == before, "handlers were changed"
