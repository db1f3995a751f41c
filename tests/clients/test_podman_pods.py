"""Podman's networks and pods: containers that share namespaces."""

import os

import pytest

from engines import IMAGE, Podman, until

pytestmark = pytest.mark.needs("podman")


def test_a_pod_shares_namespaces(podman: Podman) -> None:
    """Containers of a pod meet on the loopback device and by host name, but not their processes."""
    podman.make_pod("--network=none", "--hostname=pod")
    podman.start("--pod=p", "--", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
    assert (
        until(
            lambda: podman.call("run", "--rm", "--pod=p", IMAGE, "nc", "127.0.0.1", "80").stdout,
            "an answer",
        )
        == "served\n"
    )
    assert podman.run("--pod=p", "--", "hostname") == "pod"
    assert podman.run("--pod=p", "--", "sh", "-c", "echo $$") == "1"
    podman("pod", "stop", "--time=0", "p")
    podman("pod", "start", "p")
    until(lambda: podman.status() == "running", "the pod is up again")
    podman("pod", "rm", "--force", "--time=0", "p")

    assert podman("ps", "--all", "--quiet") == ""


def test_a_pod_can_share_processes(podman: Podman) -> None:
    """With a shared pid namespace one container sees the other's processes, and may leave first."""
    podman.make_pod("--share=pid,ipc,uts", "--network=none")
    podman.start("--pod=p", "--", "sleep", "4444")
    shown = podman.run("--pod=p", "--", "ps", "-o", "pid,args")
    assert "sleep 4444" in shown
    assert "catatonit" in shown
    podman("kill", "c")
    podman("wait", "c")

    assert "sleep 4444" not in podman.run("--pod=p", "--", "ps", "-o", "args")


def test_a_pod_is_paused_whole(podman: Podman) -> None:
    """`pod pause` and `pod unpause` reach every container, `pod top` and `pod stats` too."""
    podman.make_pod("--network=none")
    for name in ("c", "d"):
        podman.start("--pod=p", name=name)
    podman("pod", "pause", "p")
    assert {podman.status("c"), podman.status("d")} == {"paused"}
    podman("pod", "unpause", "p")
    assert {podman.status("c"), podman.status("d")} == {"running"}

    assert podman("pod", "top", "p", "args").count("sleep 1000") == 2


def test_namespaces_of_another_container(podman: Podman) -> None:
    """Each can be joined by the container's name."""
    podman.start("--ipc=shareable")
    names = ("net", "pid", "ipc", "uts")
    shown = podman.run(
        "--network=container:c",
        "--pid=container:c",
        "--ipc=container:c",
        "--uts=container:c",
        "--",
        "sh",
        "-c",
        f"for n in {' '.join(names)}; do readlink /proc/self/ns/$n; done",
    )

    assert shown.split() == [os.readlink(f"/proc/{podman.pid()}/ns/{name}") for name in names]


def test_a_bridge(podman: Podman) -> None:
    """Podman's bridge: an address, a route, other containers, and the way out by name."""
    podman.start(
        "--network=bridge", "--", "sh", "-c", "while :; do echo served | nc -l -p 80; done"
    )
    address = podman("inspect", "--format={{.NetworkSettings.IPAddress}}", "c")
    assert (
        until(
            lambda: (
                podman.call("run", "--rm", "--network=bridge", IMAGE, "nc", address, "80").stdout
            ),
            "an answer",
        )
        == "served\n"
    )
    shown = podman.run(
        "--network=bridge",
        "--add-host=other:10.1.2.3",
        "--dns=10.9.9.9",
        "--",
        "sh",
        "-c",
        "ip -4 -o addr show eth0; ip route; cat /etc/hosts /etc/resolv.conf",
    )

    for text in (
        "inet 10.88.0.",
        "default via 10.88.0.1",
        "10.1.2.3\tother",
        "nameserver 10.9.9.9",
    ):
        assert text in shown


def test_a_published_port(podman: Podman) -> None:
    """A port of the host leads into the container."""
    podman.start("--network=bridge", "--publish=127.0.0.1:8888:80", "--", "sleep", "1000")

    assert podman("port", "c") == "80/tcp -> 127.0.0.1:8888"


def test_a_network_with_a_user_namespace(podman: Podman) -> None:
    """Podman wires a user namespace's network after the create: between it and the start."""
    shown = podman.run(
        "--network=bridge",
        "--uidmap=0:100000:5000",
        "--gidmap=0:100000:5000",
        "--",
        "sh",
        "-c",
        "ip -4 -o addr show eth0; ls /sys/class/net",
    )

    assert "inet 10.88.0." in shown
    assert "eth0" in shown.split("\n")[-2:]
