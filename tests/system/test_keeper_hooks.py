"""The keeper and containers with hooks: nobody else waits for them, and their failures are told."""

import json
import time
from pathlib import Path

import pytest

from keepers import KeeperClient, Prefix
from uxc.errors import UxcError

SLOW_S = 1.5


def bundle(prefix: Prefix, name: str, *args: str, **hooks: str) -> str:
    """Return a bundle that runs ``args``, with a shell script for each of the hooks named."""
    path = Path(prefix.bundle(name, *args)) / "config.json"
    config = json.loads(path.read_text())
    config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}] for kind, script in hooks.items()
    }
    path.write_text(json.dumps(config))
    return str(path.parent)


def status(keeper: KeeperClient, name: str) -> str:
    """Return what the keeper says of a container."""
    return str(next(one["status"] for one in keeper.call("list") if one["name"] == name))


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_a_slow_hook_of_a_create_delays_nobody_else(
    prefix: Prefix, keeper: KeeperClient, kind: str
) -> None:
    """Another container is created and started meanwhile."""
    slow = bundle(prefix, "slow", "true", **{kind: f"sleep {SLOW_S}"})
    asked = keeper.ask("create", {"name": "slow", "bundle": slow})
    began = time.monotonic()

    keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))
    keeper.call("start", name="web")

    assert time.monotonic() - began < SLOW_S
    assert status(keeper, "slow") == "creating"
    keeper.answer(asked)
    assert status(keeper, "slow") == "created"


def test_a_slow_hook_of_a_start_delays_nobody_else(prefix: Prefix, keeper: KeeperClient) -> None:
    """The program runs, start answers later, and another container is started meanwhile."""
    slow = bundle(prefix, "slow", "sleep", "60", poststart=f"sleep {SLOW_S}")
    keeper.call("create", name="slow", bundle=slow)
    keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))
    asked = keeper.ask("start", {"name": "slow"})
    began = time.monotonic()

    keeper.call("start", name="web")

    assert time.monotonic() - began < SLOW_S
    keeper.answer(asked)
    assert status(keeper, "slow") == "running"


def test_a_failing_hook_of_a_create_leaves_nothing(prefix: Prefix, keeper: KeeperClient) -> None:
    """The answer names the hook and has its words."""
    before = prefix.files()
    failing = bundle(prefix, "web", "true", createRuntime="echo no luck >&2; exit 3")

    with pytest.raises(UxcError, match=r"createRuntime hook #0 \(/bin/sh\).*3.*no luck"):
        keeper.call("create", name="web", bundle=failing)

    assert keeper.call("list") == []
    assert prefix.files() == before


def test_a_failing_hook_of_a_start_stops_the_container(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """The answer names the hook; the end of the container is told like any other."""
    failing = bundle(prefix, "web", "sleep", "60", poststart="exit 3")
    keeper.call("create", name="web", bundle=failing)

    with pytest.raises(UxcError, match="poststart hook #0"):
        keeper.call("start", name="web")

    assert keeper.event("web")["signal"] == 9
    assert status(keeper, "web") == "stopped"


def test_poststop_hooks_run_when_a_container_is_deleted(
    prefix: Prefix, keeper: KeeperClient, tmp_path: Path
) -> None:
    """Also after a program that ended long before."""
    told = tmp_path / "told"
    keeper.call(
        "create", name="web", bundle=bundle(prefix, "web", "true", poststop=f"cat > {told}")
    )
    keeper.call("start", name="web")
    keeper.event("web")
    assert not told.exists()

    keeper.call("delete", name="web")

    assert json.loads(told.read_text())["status"] == "stopped"
