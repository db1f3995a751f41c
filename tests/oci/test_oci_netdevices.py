"""linux.netDevices: devices of the runtime's network namespace that a container gets."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtimes import Config, Runtime
from uxc.linux import ns

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

pytestmark = [pytest.mark.ours, pytest.mark.needs("ip", "veth")]


def ip(words: str) -> Any:
    done = subprocess.run(["ip", "-json", *words.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else []


def names() -> set[str]:
    return {link["ifname"] for link in ip("link")}


def given(devices: dict[str, Any], own: bool = True, **more: Any) -> Callable[[Config], object]:
    """Return a change that gives the container ``devices``, in a network of its ``own``."""

    def edit(config: Config) -> None:
        config["linux"]["netDevices"] = devices
        spaces = config["linux"]["namespaces"]
        spaces[:] = [space for space in spaces if space["type"] != "network"]
        if own:
            spaces.append({"type": "network"})
        config.update(more)

    return edit


@pytest.fixture(autouse=True)
def _cable() -> Iterator[None]:
    """Make the cable probe0 - probe1, the first with addresses; it goes with either end."""
    ip("link add probe0 type veth peer name probe1")
    for words in ("addr add 192.0.2.7/24 dev", "addr add 2001:db8::7/64 dev", "link set up dev"):
        ip(f"{words} probe0")
    ip("link set up dev probe1")
    yield
    with contextlib.suppress(AssertionError):
        ip("link del probe1")


def test_a_device_is_in_the_container(runtime: Runtime, bundle: Bundle) -> None:
    """Under its name, up, with its addresses, before the first program."""
    script = "ip -o addr show dev eth0; ip link show dev eth0; ip route"
    where = bundle("sh", "-c", script, edit=given({"probe0": {"name": "eth0"}}))

    done = runtime.run(where)

    assert "192.0.2.7/24" in done.stdout
    assert "2001:db8::7/64" in done.stdout
    assert ",UP" in done.stdout
    assert "192.0.2.0/24 dev eth0" in done.stdout
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("user-namespaces")
def test_a_user_namespace_owns_the_network(sh: Sh) -> None:
    """The device is the container's also where its root is nobody outside."""

    def edit(config: Config) -> None:
        given({"probe0": {"name": "eth0"}})(config)
        config["linux"]["namespaces"].append({"type": "user"})
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        config["linux"].update(uidMappings=ids, gidMappings=ids)

    assert "192.0.2.7/24" in sh("ip -o addr show dev eth0", edit=edit)


def test_a_device_may_keep_its_name(sh: Sh) -> None:
    """Without a name for the container it is the host's."""
    assert "probe0" in sh("ip link", edit=given({"probe0": {}}))


def test_a_name_may_be_a_pattern(sh: Sh) -> None:
    """The kernel completes it."""
    assert "net0" in sh("ip link", edit=given({"probe0": {"name": "net%d"}}))


def test_a_device_works(runtime: Runtime, bundle: Bundle) -> None:
    """The container answers on the cable's other end."""
    ip("addr add 192.0.2.8/24 dev probe1")
    runtime.created(bundle("sleep", "1000", edit=given({"probe0": {"name": "eth0"}})))
    runtime.ok("start", "c")

    subprocess.run(["ping", "-c", "1", "-W", "5", "192.0.2.7"], check=True, capture_output=True)


def test_delete_does_not_bring_it_back(runtime: Runtime, bundle: Bundle) -> None:
    """A virtual device ends with the namespace: nobody moves it out before (config-linux.md)."""
    runtime.created(bundle("sleep", "1000", edit=given({"probe0": {}})))
    assert "probe0" not in names()

    runtime.ok("delete", "--force", "c")
    runtime.wait("c")

    assert not names() & {"probe0"}


def test_a_namespace_that_is_joined_keeps_it(runtime: Runtime, bundle: Bundle) -> None:
    """In a namespace of others the device stays after the container."""
    fd = ns.new_netns()
    try:

        def edit(config: Config) -> None:
            given({"probe0": {"name": "eth0"}}, own=False)(config)
            path = f"/proc/{os.getpid()}/fd/{fd}"
            config["linux"]["namespaces"].append({"type": "network", "path": path})

        runtime.created(bundle("true", edit=edit))
        runtime.ok("delete", "--force", "c")

        with ns.entered(fd, "net"):
            assert names() == {"lo", "eth0"}
    finally:
        os.close(fd)


def test_hooks_see_the_device(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """It has been moved when the first hook runs, so that a hook can configure it."""
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", f"ip link > {tmp_path}/here"],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    }

    runtime.created(bundle("true", edit=given({"probe0": {}}, hooks={"createRuntime": [hook]})))

    assert "probe1" in (tmp_path / "here").read_text()
    assert "probe0" not in (tmp_path / "here").read_text().replace("probe0-", "")


def unchanged() -> bool:
    (link,) = ip("addr show dev probe0")
    found = {entry["local"] for entry in link["addr_info"] if entry["scope"] == "global"}
    return found == {"192.0.2.7", "2001:db8::7"} and "UP" in link["flags"]


def test_a_device_that_is_missing_fails_the_create(refusal: Refusal) -> None:
    """It is named, and the others are where they were."""
    said = refusal(given({"probe0": {}, "nothing": {}}))

    assert "config.json: linux.netDevices.nothing: there is no such network device" in said
    assert unchanged()


def test_a_name_that_is_taken_fails_the_create(refusal: Refusal) -> None:
    """Two devices cannot have one name there."""
    said = refusal(given({"probe0": {"name": "eth0"}, "probe1": {"name": "eth0"}}))

    assert "linux.netDevices.probe1: the container has a device called eth0 already" in said
    assert unchanged()


def test_the_hosts_network_is_no_place_to_move_to(refusal: Refusal) -> None:
    """Without a network namespace of the container's the property makes no sense."""
    said = refusal(given({"probe0": {}}, own=False))

    assert "config.json: linux.netDevices: needs a namespace of the type network" in said
    assert unchanged()


def test_the_runtimes_own_namespace_is_no_other_one(refusal: Refusal) -> None:
    """Joining it by its path is the same as having none."""

    def edit(config: Config) -> None:
        given({"probe0": {}}, own=False)(config)
        path = f"/proc/{os.getpid()}/ns/net"
        config["linux"]["namespaces"].append({"type": "network", "path": path})

    assert "the container shares the runtime's network" in refusal(edit)
    assert unchanged()


@pytest.mark.parametrize("list_of", ["createRuntime", "createContainer"])
def test_a_create_that_fails_later_brings_it_back(refusal: Refusal, list_of: str) -> None:
    """With its name, its addresses and its state."""
    hooks = {list_of: [{"path": "/bin/false"}]}

    refusal(given({"probe0": {"name": "eth0"}}, hooks=hooks))

    assert unchanged()


def test_a_program_that_cannot_be_run_brings_it_back(refusal: Refusal) -> None:
    """The last thing that can go wrong in a create."""
    refusal(given({"probe0": {"name": "eth0"}}), "/nothing")

    assert unchanged()
