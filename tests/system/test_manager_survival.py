"""The manager dies at any moment: containers and wiring go on, and the next one knows them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

Machine = Any
Patience = Callable[[str, Callable[[], object]], None]

SLEEP = ("/bin/sleep", "1000")

WIRED = """
config device
	option type 'veth'
	option name 'vhost0'
	option peer_name 'virt0'

config interface 'virt0'
	option device 'virt0'
	option proto 'static'
	option ipaddr '10.7.0.2/24'
	option jail 'web'
	option jail_device 'host0'

config interface 'cable'
	option device 'vhost0'
	option proto 'static'
	option ipaddr '10.7.0.1/24'
"""


def _reachable(machine: Machine) -> bool:
    return machine.run("ping", "-c", "1", "-W", "2", "10.7.0.2").returncode == 0


@pytest.mark.needs("veth", "ip")
def test_kill_9_disturbs_no_container(machine: Machine, patience: Patience) -> None:
    """Program and wiring live on without a manager; the next one lists, kills and deletes."""
    machine.configure(network=WIRED)
    files, before = machine.files(), machine.look()
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    machine.uxc("start", "web")
    listed = machine.listed()["web"]
    assert _reachable(machine)

    machine.kill_manager()
    assert _reachable(machine)
    assert machine.refused("list") == "uxc: the manager is not running"
    machine.start_manager()

    assert machine.listed()["web"] == listed
    assert listed["status"] == "running"
    (port,) = listed["interfaces"]
    assert (port["name"], port["peer"], port["addresses"]) == ("host0", "vhost0", ["10.7.0.2/24"])
    assert _reachable(machine)
    machine.uxc("kill", "web", "KILL")
    patience("the end", lambda: machine.status("web") == "stopped")
    assert machine.listed()["web"]["exitcode"] == 128 + signal.SIGKILL
    machine.uxc("delete", "web")
    assert machine.left_since(before) == []
    assert machine.files() == files


def test_the_exit_code_is_known_that_came_while_nobody_looked(
    machine: Machine, patience: Patience
) -> None:
    """A program that ends between two managers: the keeper has kept how."""
    bundle = machine.bundle("/bin/sh", "-c", "read line < /pipe; exit 7")
    os.mkfifo(bundle / "rootfs/pipe")
    machine.uxc("create", "web", str(bundle))
    machine.uxc("start", "web")
    pid = machine.state("web")["pid"]

    machine.kill_manager()
    (bundle / "rootfs/pipe").write_text("\n")
    patience("the end", lambda: not os.path.exists(f"/proc/{pid}"))
    machine.start_manager()

    assert machine.listed()["web"]["status"] == "stopped"
    assert machine.listed()["web"]["exitcode"] == 7
    assert machine.uxc("wait", "web") == "7\n"
    machine.uxc("delete", "web")


def test_a_created_container_can_be_started_by_the_next_manager(machine: Machine) -> None:
    """Parked is parked: the program runs when the new manager is told to start it."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    pid = machine.state("web")["pid"]
    machine.kill_manager()
    machine.start_manager()

    assert machine.state("web")["status"] == "created"
    machine.uxc("start", "web")

    assert machine.state("web")["pid"] == pid
    assert machine.status("web") == "running"


@pytest.mark.needs("veth")
def test_a_create_that_was_cut_off_is_taken_back(machine: Machine, patience: Patience) -> None:
    """Killed while the keeper was about to create: the next manager leaves nothing."""
    machine.configure(network=WIRED)
    files, before = machine.files(), machine.look()
    bundle = machine.bundle(*SLEEP)
    machine.uxc("create", "first", str(bundle))
    keeper = machine.listed()["first"]["runtime_pid"]
    machine.uxc("delete", "--force", "first")
    os.kill(keeper, signal.SIGSTOP)
    command = subprocess.Popen(
        ["uxc", "create", "web", str(bundle)],
        env=machine.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    effective = machine.prefix / "var/run/uxc/bundles/web/config.json"
    patience("the effective bundle", effective.exists)

    machine.kill_manager()
    _, said = command.communicate()
    os.kill(keeper, signal.SIGCONT)
    assert command.returncode == 1
    assert said.splitlines()[0] == "uxc: the manager ended before it answered"
    machine.start_manager()

    assert machine.listed() == {}
    assert machine.left_since(before) == []
    assert machine.files() == files


@pytest.mark.needs("veth")
def test_leftovers_of_every_kind_are_cleared_away(machine: Machine) -> None:
    """A pinned namespace, a wiring and a bundle without a container are gone at the next start."""
    before = machine.look()
    machine.uxc("create", "keeps", str(machine.bundle(*SLEEP, name="keeps")))
    machine.kill_manager()
    files = machine.files()
    stale = machine.prefix / "var/run/uxc/bundles/web"
    (stale / "root").mkdir(parents=True)
    (stale / "config.json").write_text("{")
    output = machine.prefix / "var/run/uxc/output/web"
    output.mkdir()
    os.mkfifo(output / "stdout")
    machine.start_manager()

    assert set(machine.files()) == set(files)
    assert machine.status("keeps") == "created"
    machine.uxc("delete", "--force", "keeps")
    assert machine.left_since(before) == []


def test_sigterm_leaves_the_containers_alone(machine: Machine) -> None:
    """procd's stop of the service's process ends the manager and nothing else."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    machine.uxc("start", "web")
    pid = machine.state("web")["pid"]

    machine.manager.send_signal(signal.SIGTERM)
    assert machine.manager.wait(timeout=10) == 0

    assert os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(machine.paths.control_socket)
    machine.start_manager()
    assert machine.state("web")["pid"] == pid


def test_a_second_manager_refuses(machine: Machine) -> None:
    """One line, exit code 1, and the first one goes on."""
    done = machine.run("uxc-manager")

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "uxc-manager: another manager is running"
    assert len(done.stderr.splitlines()) == 2
    assert machine.uxc("list") == ""


def test_the_keeper_may_die_too(machine: Machine, patience: Patience) -> None:
    """A new keeper finds the containers again; the manager goes on with it."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    machine.uxc("start", "web")
    entry = machine.listed()["web"]

    os.kill(entry["runtime_pid"], signal.SIGKILL)
    patience(
        "the next keeper",
        lambda: machine.listed()["web"].get("runtime_pid") not in (None, entry["runtime_pid"]),
    )

    assert machine.listed()["web"]["status"] == "running"
    assert machine.state("web")["pid"] == entry["pid"]
    machine.uxc("kill", "web", "KILL")
    patience("the end", lambda: machine.status("web") == "stopped")
    machine.uxc("delete", "web")
    assert machine.listed() == {}


def test_wishes_survive_the_manager(machine: Machine, patience: Patience) -> None:
    """What is wanted and ended meanwhile is started again, what was stopped stays down."""
    one = machine.bundle(*SLEEP, name="one")
    machine.configure(
        uxc="".join(
            f"config container '{name}'\n\toption bundle '{one}'\n\toption autostart '1'\n"
            f"\toption respawn '1 0 0'\n"
            for name in ("wanted", "stopped")
        )
    )
    machine.uxc("boot")
    machine.uxc("stop", "stopped", "--timeout", "0")
    pid = machine.state("wanted")["pid"]
    machine.kill_manager()
    os.kill(pid, signal.SIGKILL)
    patience("the end", lambda: not os.path.exists(f"/proc/{pid}"))
    machine.start_manager()

    patience("the respawn", lambda: machine.status("wanted") == "running")
    assert machine.state("wanted")["pid"] != pid
    assert machine.status("stopped") == "stopped"
    machine.uxc("reload")
    time.sleep(0.2)
    assert machine.status("stopped") == "stopped"
    assert json.loads(machine.uxc("list", "--json"))


@pytest.mark.needs("veth")
def test_a_create_during_which_the_keeper_dies_is_taken_back(
    machine: Machine, patience: Patience
) -> None:
    """The client is told, the wiring is gone, and the next create works."""
    machine.configure(network=WIRED)
    bundle = machine.bundle(*SLEEP)
    machine.uxc("create", "other", str(bundle))
    files, before = machine.files(), machine.look()
    keeper = machine.listed()["other"]["runtime_pid"]
    os.kill(keeper, signal.SIGSTOP)
    command = subprocess.Popen(
        ["uxc", "create", "web", str(bundle)],
        env=machine.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    effective = machine.prefix / "var/run/uxc/bundles/web/config.json"
    patience("the effective bundle", effective.exists)

    os.kill(keeper, signal.SIGKILL)
    _, said = command.communicate(timeout=30)

    assert command.returncode == 1
    assert said.splitlines()[0] == "uxc: web: the keeper ended before it answered"
    assert machine.left_since(before) == []
    assert machine.files() == files
    assert machine.status("other") == "created"
    machine.uxc("create", "web", str(bundle))
    machine.uxc("delete", "--force", "web")


def test_both_may_die_at_once(machine: Machine, patience: Patience) -> None:
    """A container without a terminal lives on; its next keeper and manager know it."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    machine.uxc("start", "web")
    entry = machine.listed()["web"]

    machine.manager.send_signal(signal.SIGSTOP)
    os.kill(entry["runtime_pid"], signal.SIGKILL)
    machine.kill_manager()
    assert os.path.exists(f"/proc/{entry['pid']}")
    machine.start_manager()

    assert machine.listed()["web"]["pid"] == entry["pid"]
    assert machine.status("web") == "running"
    machine.uxc("kill", "web", "KILL")
    patience("the end", lambda: machine.status("web") == "stopped")
    machine.uxc("delete", "web")
