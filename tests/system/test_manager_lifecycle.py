"""What the manager does with containers: overrides, supervision, waiting, boot and reload."""

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Machine = Any
Patience = Callable[[str, Callable[[], object]], None]

SLEEP = ("/bin/sleep", "1000")


def _section(name: str, bundle: Path, *lines: str) -> str:
    options = "".join(f"\t{line}\n" for line in lines)
    return f"config container '{name}'\n\toption bundle '{bundle}'\n{options}"


def _output(machine: Machine, name: str) -> str:
    """Return all that a container printed until its end."""
    return str(machine.run("uxc", "attach", name).stdout)


def _run(machine: Machine, name: str) -> str:
    """Start ``name`` and return what it printed."""
    machine.uxc("start", name)
    machine.uxc("wait", name)
    return _output(machine, name)


def test_from_the_announcement_to_nothing(machine: Machine, patience: Patience) -> None:
    """create NAME PATH true, start, list, state, kill, delete; the section comes and goes."""
    bundle = machine.bundle(*SLEEP, annotations={"a.b": "c"})
    files, before = machine.files(), machine.look()

    machine.uxc("create", "web", str(bundle), "true")
    assert "config container 'web'" in machine.config
    assert f"option bundle '{bundle}'" in machine.config
    assert "option autostart '1'" in machine.config
    state = machine.state("web")
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle)
    assert state["annotations"] == {"a.b": "c"}

    machine.uxc("start", "web")
    entry = machine.listed()["web"]
    assert entry["status"] == "running"
    assert entry["autostart"] is True
    assert entry["pid"] == entry["container_pid"] == state["pid"]
    assert Path(f"/proc/{entry['runtime_pid']}/comm").read_text() == "uxc-keeper\n"
    assert machine.uxc("list").split()[:2] == ["web", "running"]

    machine.uxc("kill", "web", "KILL")
    machine.uxc("delete", "web")
    assert machine.uxc("list") == ""
    assert machine.files() == files
    assert machine.left_since(before) == []


def test_the_other_form_of_create(machine: Machine) -> None:
    """Options as today's C tool has them; what the section cannot have as its name is mangled."""
    bundle = machine.bundle(*SLEEP)
    pid_file = machine.directory / "pid"

    machine.uxc(
        "create",
        "my-app",
        "--bundle",
        str(bundle),
        "--autostart",
        "--temp-overlay-size",
        "1M",
        "--mounts",
        "/proc,/sys",
        "--pid-file",
        str(pid_file),
    )

    assert "config container 'my_app'\n\toption name 'my-app'\n" in machine.config
    assert "option temp_overlay_size '1M'" in machine.config
    assert "list volumes '/proc'\n\tlist volumes '/sys'" in machine.config
    assert int(pid_file.read_text()) == machine.state("my-app")["pid"]
    machine.uxc("disable", "my-app")
    assert machine.listed()["my-app"]["autostart"] is False
    machine.uxc("enable", "my-app")
    assert machine.listed()["my-app"]["autostart"] is True
    machine.uxc("delete", "--force", "my-app")
    assert machine.config == "\n"
    assert not pid_file.exists()


def test_a_configured_container_is_uninitialized_until_it_is_made(machine: Machine) -> None:
    """state knows it, exit code 0; create NAME makes it from its section, again and again."""
    bundle = machine.bundle(*SLEEP)
    machine.configure(uxc=_section("web", bundle))

    assert machine.state("web") == {
        **machine.state("web"),
        "id": "web",
        "status": "uninitialized",
        "bundle": str(bundle),
    }
    machine.uxc("create", "web")
    assert machine.status("web") == "created"
    machine.uxc("delete", "--force", "--keep-section", "web")
    assert machine.status("web") == "uninitialized"
    machine.uxc("create", "web")
    machine.uxc("delete", "--force", "web")
    assert machine.listed() == {}


def test_an_ended_container_is_started_anew(machine: Machine) -> None:
    """start of a stopped one makes it again; its exit code is told before."""
    machine.uxc("create", "web", str(machine.bundle("/bin/sh", "-c", "echo hello; exit 3")))

    assert _run(machine, "web") == "hello\n"
    assert machine.listed()["web"]["exitcode"] == 3
    assert machine.uxc("wait", "web") == "3\n"
    assert _run(machine, "web") == "hello\n"
    machine.uxc("delete", "web")


def test_overrides_reach_the_program(machine: Machine) -> None:
    """env and mounts of the section come on top of the bundle's; hostname stays the bundle's."""
    bundle = machine.bundle("/bin/sh", "-c", "echo $A $B $(cat /mnt/file) $(hostname)")
    (bundle / "rootfs/mnt").mkdir()
    (machine.directory / "data").mkdir()
    (machine.directory / "data/file").write_text("data")
    machine.edit(bundle, lambda config: config["process"]["env"].append("A=bundle"))
    machine.configure(
        uxc=_section(
            "web",
            bundle,
            "list env 'A=section'",
            "list env 'B=two words'",
            f"list mounts '{machine.directory}/data:/mnt:ro'",
        )
    )

    assert _run(machine, "web") == "section two words data guest\n"


@pytest.mark.needs("overlayfs")
def test_a_tmpfs_overlay_keeps_the_bundle_clean(machine: Machine) -> None:
    """What the program writes is gone with it, and nothing of it is seen on the host."""
    bundle = machine.bundle("/bin/sh", "-c", "cat /new; echo here > /new; cat /new; rm /etc/passwd")
    before = machine.look()
    machine.uxc("create", "web", str(bundle), "--temp-overlay-size", "1M")

    assert "here\n" in _run(machine, "web")
    assert not (bundle / "rootfs/new").exists()
    assert (bundle / "rootfs/etc/passwd").exists()
    second = _run(machine, "web")
    assert second.count("here") == 1
    assert "No such file" in machine.run("uxc", "attach", "web").stderr
    machine.uxc("delete", "web")
    assert machine.left_since(before) == []


@pytest.mark.needs("overlayfs")
def test_a_disk_overlay_is_kept(machine: Machine, tmp_path_factory: Any) -> None:
    """What the program writes is there again the next time, in the user's folder."""
    bundle = machine.bundle("/bin/sh", "-c", "cat /new; echo here >> /new")
    disk = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
    try:
        machine.uxc("create", "web", str(bundle), "--write-overlay-path", str(disk))
        _run(machine, "web")

        assert _run(machine, "web") == "here\n"
        assert (disk / "upper/new").read_text() == "here\nhere\n"
        assert not (bundle / "rootfs/new").exists()
        machine.uxc("delete", "web")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.needs("veth")
def test_name_servers_are_shown_without_a_write_into_the_rootfs(machine: Machine) -> None:
    """resolv.conf is a mount where the file exists, and one warning where it does not."""
    network = """
config device
	option type 'veth'
	option name 'vhost0'
	option peer_name 'virt0'

config interface 'virt0'
	option device 'virt0'
	option proto 'static'
	option ipaddr '10.7.0.2/24'
	list dns '10.7.0.1'
	option jail 'web'
"""
    bundle = machine.bundle("/bin/cat", "/etc/resolv.conf")
    machine.configure(uxc=_section("web", bundle), network=network)

    assert "nameserver 10.7.0.1\n" in _run(machine, "web")
    assert (bundle / "rootfs/etc/resolv.conf").read_text() == ""

    (bundle / "rootfs/etc/resolv.conf").unlink()
    assert _run(machine, "web") == ""
    assert not (bundle / "rootfs/etc/resolv.conf").exists()
    assert machine.log.count("has no /etc/resolv.conf") == 1

    # As OpenWrt has it: a link into a file system that the bundle mounts.
    os.symlink("/tmp/resolv.conf", bundle / "rootfs/etc/resolv.conf")
    machine.edit(
        bundle,
        lambda config: config["mounts"].append(
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
        ),
    )
    assert "nameserver 10.7.0.1\n" in _run(machine, "web")
    assert not (bundle / "rootfs/tmp/resolv.conf").exists()


def test_a_user_namespace_owns_its_wired_network(machine: Machine) -> None:
    """Made before the container, it shows its interfaces in sysfs and takes settings."""
    before = machine.look()
    network = """
config device
	option type 'veth'
	option name 'vhost0'
	option peer_name 'virt0'

config interface 'virt0'
	option device 'virt0'
	option proto 'static'
	option ipaddr '10.7.0.2/24'
	option jail 'web'
"""
    script = (
        "cat /proc/self/uid_map; ls /sys/class/net; ip -o -4 addr show virt0;"
        " test -w /proc/sys/net/ipv4/conf/virt0/forwarding && echo writable; sleep 1000"
    )

    def change(config: dict[str, Any]) -> None:
        linux = config["linux"]
        linux["namespaces"].append({"type": "user"})
        for key in ("uidMappings", "gidMappings"):
            linux[key] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        linux["readonlyPaths"] = []

    bundle = machine.bundle("/bin/sh", "-c", script)
    machine.edit(bundle, change)
    machine.configure(uxc=_section("web", bundle), network=network)

    machine.uxc("start", "web")
    keeper = Path(f"/proc/{machine.listed()['web']['runtime_pid']}")
    machine.kill_manager()
    machine.start_manager()
    machine.uxc("stop", "web")
    shown = _output(machine, "web")

    assert shown.split()[:3] == ["0", "100000", "65536"]
    assert {"lo", "virt0"} <= set(shown.split())
    assert "10.7.0.2/24" in shown
    assert "writable" in shown
    assert keeper.exists()
    machine.uxc("delete", "web")
    assert machine.left_since(before) == []


def test_respawn_gives_up_after_its_retries(machine: Machine, patience: Patience) -> None:
    """A program that fails at once is started again retry times; then it stays down."""
    bundle = machine.bundle("/bin/sh", "-c", "echo again >> /runs; exit 1")
    runs = bundle / "rootfs/runs"
    machine.configure(uxc=_section("web", bundle, "option respawn '3600 0 2'"))

    machine.uxc("start", "web")
    patience("three runs", lambda: runs.exists() and runs.read_text().count("again") == 3)
    patience("the end", lambda: "left down" in machine.log)

    assert machine.status("web") == "stopped"
    time.sleep(0.2)
    assert runs.read_text().count("again") == 3


def test_kill_lets_respawn_apply_and_stop_does_not(machine: Machine, patience: Patience) -> None:
    """kill is a signal, stop is the wish."""
    bundle = machine.bundle(*SLEEP)
    machine.configure(uxc=_section("web", bundle, "option respawn '0 0 0'"))
    machine.uxc("start", "web")
    pid = machine.state("web")["pid"]

    machine.uxc("kill", "web", "--signal", "KILL")
    patience("the respawn", lambda: machine.state("web").get("pid") not in (None, pid))
    machine.uxc("stop", "web", "--timeout", "1")
    assert machine.status("web") == "stopped"
    time.sleep(0.2)

    assert machine.status("web") == "stopped"
    machine.uxc("stop", "web")


def test_stop_asks_first_and_kills_then(machine: Machine) -> None:
    """stop_signal, stop_timeout, then everything in the cgroup is killed."""
    bundle = machine.bundle("/bin/sh", "-c", "trap 'exit 5' USR1; while :; do sleep 0.1; done")
    machine.configure(
        uxc=_section("polite", bundle, "option stop_signal 'USR1'")
        + _section("deaf", bundle, "option stop_signal 'TERM'", "option stop_timeout '1'")
    )
    for name in ("polite", "deaf"):
        machine.uxc("start", name)
    # The shell must have set its trap.
    time.sleep(0.5)

    begun = time.monotonic()
    machine.uxc("stop", "--all")

    assert time.monotonic() - begun < 5
    listed = machine.listed()
    assert listed["polite"]["exitcode"] == 5
    assert listed["deaf"]["exitcode"] == 128 + signal.SIGKILL


def test_boot_starts_what_is_ready_and_the_rest_later(
    machine: Machine, patience: Patience, tmp_path_factory: Any
) -> None:
    """A container whose volume is not mounted waits, says so, and runs when it is."""
    disk = tmp_path_factory.mktemp("disk")
    bundle = machine.bundle(*SLEEP)
    machine.configure(
        uxc=_section("now", bundle, "option autostart '1'")
        + _section("later", bundle, "option autostart '1'", f"list volumes '{disk}'")
        + _section("never", bundle)
        + _section("off", bundle, "option autostart '1'", "option enabled '0'")
    )

    done = machine.run("uxc", "boot")
    assert (done.returncode, done.stderr) == (0, f"uxc: later: waiting: mount {disk}\n")
    assert machine.status("now") == "running"
    assert machine.status("later") == f"waiting: mount {disk}"
    assert machine.status("never") == "uninitialized"
    assert set(machine.listed()) == {"now", "later", "never"}
    assert machine.refused("start", "later") == f"uxc: later: mount {disk} is not there"
    assert machine.status("later") == f"waiting: mount {disk}"

    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
    try:
        patience("the container", lambda: machine.status("later") == "running")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.needs("veth", "ip")
def test_a_lent_device_is_waited_for_and_given_back(machine: Machine, patience: Patience) -> None:
    """create waits for it, the container has it, and the host has it again afterwards."""
    bundle = machine.bundle("/bin/sh", "-c", "ip -o link show eth7; sleep 1000")
    machine.configure(
        uxc=_section("web", bundle),
        network="config interface 'lent'\n\toption device 'eth7'\n\toption proto 'none'\n"
        "\toption jail 'web'\n",
    )
    command = subprocess.Popen(
        ["uxc", "create", "web"], env=machine.environment, stderr=subprocess.PIPE
    )
    try:
        patience("the wait", lambda: machine.status("web") == "waiting: eth7")
        machine.run("ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
        assert command.communicate(timeout=20) == (None, b"")
        assert command.returncode == 0
        machine.uxc("start", "web")
        assert not Path("/sys/class/net/eth7").exists()
        machine.uxc("stop", "web", "--timeout", "1")
        assert Path("/sys/class/net/eth7").exists()
        machine.uxc("delete", "web")
    finally:
        command.wait(timeout=20)
        machine.run("ip", "link", "del", "eth7")


def test_reload_starts_what_is_new_and_tells_what_changed(
    machine: Machine, patience: Patience
) -> None:
    """New autostart sections start; running ones are not touched; an error changes nothing."""
    bundle = machine.bundle(*SLEEP)
    machine.uxc("create", "web", str(bundle), "true")
    machine.uxc("start", "web")
    pid = machine.state("web")["pid"]
    right = machine.config
    assert machine.uxc("reload") == ""

    machine.configure(uxc=right + _section("new", bundle, "option autostart '1'"))
    assert machine.uxc("reload") == "new: started\n"
    assert machine.status("new") == "running"

    machine.configure(
        uxc=right.replace("'web'", "'web'\n\toption memory '64M'") + _section("new", bundle)
    )
    assert machine.uxc("reload") == "web: changed; stop and start it to apply\n"
    machine.configure(
        uxc=right
        + _section("new", bundle, "option memory 'x'")
        + _section("third", bundle, "option autostart '1'")
    )
    done = machine.run("uxc", "reload")
    assert done.returncode == 1
    assert "/etc/config/uxc:" in done.stderr
    assert machine.status("third") == "uninitialized"
    assert machine.state("web")["pid"] == pid


def test_create_and_reload_do_not_start_twice(machine: Machine) -> None:
    """What create has just made is not new to the reload that its commit causes."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)), "true")

    assert machine.uxc("reload") == ""
    assert machine.status("web") == "created"


def test_sighup_is_reload(machine: Machine, patience: Patience) -> None:
    """The signal that daemons take for it."""
    machine.configure(uxc=_section("web", machine.bundle(*SLEEP), "option autostart '1'"))

    machine.manager.send_signal(signal.SIGHUP)

    patience("the container", lambda: machine.status("web") == "running")


def test_a_terminal_shows_what_came_before(machine: Machine) -> None:
    """start --console and attach: scroll-back, input, exit code, the detach key."""
    bundle = machine.bundle("/bin/sh", "-c", "echo early; read line; echo got $line; exit 4")
    machine.configure(uxc=_section("web", bundle, "option console '1'"))
    machine.uxc("start", "web")
    master, slave = pty.openpty()

    def attach(*words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(words, env=machine.environment, stdin=slave, stdout=slave)

    first = attach("uxc", "attach", "web")
    assert _read_until(master, b"early")
    os.write(master, b"\x02")
    assert first.wait(timeout=20) == 0
    second = attach("ujail-console", "-c", "web")
    assert _read_until(master, b"early")
    os.write(master, b"hello\n")
    assert _read_until(master, b"got hello")

    assert second.wait(timeout=20) == 4
    third = attach("uxc", "start", "--console", "web")
    assert _read_until(master, b"early")
    os.write(master, b"again\n")
    assert third.wait(timeout=20) == 4
    os.close(master)
    os.close(slave)


def _read_until(master: int, wanted: bytes) -> bool:
    seen = b""
    while wanted not in seen:
        seen += os.read(master, 4096)
    return True


def test_list_is_json_also_when_there_is_nothing(machine: Machine) -> None:
    """A valid array, whatever is in it."""
    assert json.loads(machine.uxc("list", "--json")) == []


def test_called_as_a_runtime_it_is_one(machine: Machine) -> None:
    """What only runc has goes to uxc-runtime, and so does a container that it made."""
    bundle = machine.bundle(*SLEEP)
    root = machine.directory / "state"

    done = machine.run("uxc", "--root", str(root), "state", "podman1")
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert "podman1" in machine.run("uxc", "--log-format", "json", "state", "podman1").stderr
    # The container has the pipes of whoever creates it.
    created = subprocess.run(
        ["uxc-runtime", "create", "--bundle", str(bundle), "podman2"],
        env=machine.environment,
        stdout=subprocess.DEVNULL,
    )
    assert created.returncode == 0
    assert json.loads(machine.uxc("state", "podman2"))["id"] == "podman2"
    assert machine.listed() == {}
    machine.uxc("delete", "--force", "podman2")
    assert machine.refused("state", "podman2") == "uxc: podman2: no such container"
    # The runtime's read-only mount of the interpreter is not a leftover (docs/security.md).
    machine.run("umount", machine.paths.interpreter)
