"""The effective config.json: what UCI lays over the bundle's."""

import copy
from typing import Any

import pytest

from uxc.config.models import Container, Mount, Place
from uxc.manager.bundle import Surroundings, effective, network_namespace

PLACE = Place(file="/etc/config/uxc", line=1, section="web")
AROUND = Surroundings(bundle="/b", cgroup="/uxc/c/web")
CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "guest",
    "process": {"args": ["x"], "cwd": "/", "terminal": True, "env": ["A=1", "PATH=/bin"]},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rw"]},
        {"destination": "/more", "source": "./more", "options": ["rbind"]},
        {"destination": "/abs", "type": "none", "source": "/abs", "options": ["bind"]},
    ],
    "linux": {
        "namespaces": [{"type": "network"}, {"type": "pid"}],
        "cgroupsPath": "/elsewhere",
        "resources": {"memory": {"swap": 100, "reservation": 1 << 40}, "cpu": {"shares": 5}},
    },
}


def _container(**options: Any) -> Container:
    return Container(name="web", place=PLACE, bundle="/b", **options)


def _effective(around: Surroundings = AROUND, **options: Any) -> dict[str, Any]:
    before = copy.deepcopy(CONFIG)
    result = effective(CONFIG, _container(**options), around)
    assert before == CONFIG, "the bundle's own config was changed"
    return result


def test_without_options_only_the_surroundings_change() -> None:
    """root and relative bind sources are absolute, the cgroup is ours, the rest stays."""
    result = _effective()

    assert result["root"] == {"path": "/b/rootfs", "readonly": True}
    assert [mount["source"] for mount in result["mounts"]] == [
        "proc",
        "/b/data",
        "/b/./more",
        "/abs",
    ]
    assert result["process"] == CONFIG["process"]
    assert result["hostname"] == "guest"
    assert result["linux"] == {**CONFIG["linux"], "cgroupsPath": "/uxc/c/web"}


def test_env_replaces_what_has_its_name() -> None:
    """Variables of the section win, others stay in their order."""
    env = _effective(env=("A=2", "B=x=y"))["process"]["env"]

    assert env == ["PATH=/bin", "A=2", "B=x=y"]


def test_mounts_come_last() -> None:
    """They may lie over what the bundle mounts."""
    mount = Mount(source="/src", destination="/dst", options=("rbind", "ro"))

    assert _effective(mounts=(mount,))["mounts"][-1] == {
        "destination": "/dst",
        "type": "bind",
        "source": "/src",
        "options": ["rbind", "ro"],
    }


@pytest.mark.parametrize(("console", "terminal"), [(None, True), (True, True), (False, False)])
def test_console_decides_about_the_terminal(console: bool | None, terminal: bool) -> None:
    """Without the option the bundle decides."""
    assert _effective(console=console)["process"]["terminal"] is terminal


def test_limits_keep_the_others_within_them() -> None:
    """The bundle's own swap and reservation may not be outside of the new limit."""
    resources = _effective(memory_bytes=1000, cpus=0.5, pids=7)["linux"]["resources"]

    assert resources["memory"] == {"swap": 1000, "reservation": 1000, "limit": 1000}
    assert resources["cpu"] == {"shares": 5, "period": 100_000, "quota": 50_000}
    assert resources["pids"] == {"limit": 7}


def test_unlimited_swap_stays_unlimited() -> None:
    """-1 is no number of bytes (runtime-spec, "Memory")."""
    config = copy.deepcopy(CONFIG)
    config["linux"]["resources"]["memory"] = {"swap": -1}

    result = effective(config, _container(memory_bytes=1000), AROUND)

    assert result["linux"]["resources"]["memory"] == {"swap": -1, "limit": 1000}


def test_the_pinned_namespace_takes_the_place_of_a_new_one() -> None:
    """Only the entry for the network gets the path."""
    around = Surroundings(bundle="/b", cgroup="/c", network="/run/netns/web")

    assert _effective(around)["linux"]["namespaces"] == [
        {"type": "network", "path": "/run/netns/web"},
        {"type": "pid"},
    ]


def test_the_overlay_takes_the_place_of_the_rootfs() -> None:
    """The bundle's directory is below it."""
    around = Surroundings(bundle="/b", cgroup="/c", root="/run/bundles/web/root")

    assert _effective(around)["root"]["path"] == "/run/bundles/web/root"


def test_the_resolver_lies_over_everything() -> None:
    """Name servers of the section win over a mount of the bundle."""
    around = Surroundings(bundle="/b", cgroup="/c", resolver="/run/net/web.resolv.conf")

    last = _effective(around, mounts=(Mount(source="/x", destination="/etc"),))["mounts"][-1]

    assert (last["destination"], last["source"]) == ("/etc/resolv.conf", "/run/net/web.resolv.conf")
    assert "ro" in last["options"]


@pytest.mark.parametrize(
    ("namespaces", "answer"),
    [
        ([], (False, "")),
        ([{"type": "pid"}], (False, "")),
        ([{"type": "network"}], (True, "")),
        ([{"type": "network", "path": "/p"}], (True, "/p")),
    ],
)
def test_whose_network_it_is(namespaces: list[dict[str, str]], answer: tuple[bool, str]) -> None:
    """The host's, its own, or somebody else's by path."""
    assert network_namespace({"linux": {"namespaces": namespaces}}) == answer


def test_a_minimal_document_works() -> None:
    """process, mounts and linux are optional (runtime-spec, config.md)."""
    result = effective({"ociVersion": "1.0.0", "root": {"path": "/r"}}, _container(), AROUND)

    assert result == {
        "ociVersion": "1.0.0",
        "root": {"path": "/r"},
        "mounts": [],
        "linux": {"cgroupsPath": "/uxc/c/web"},
    }
