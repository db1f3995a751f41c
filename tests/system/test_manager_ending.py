"""A manager that is told to end, or dies, in the middle of an operation: done or undone."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Machine = Any
Patience = Callable[[str, Callable[[], object]], None]

SLEEP = ("/bin/sleep", "1000")
# What docs/control.md promises, with some for a loaded machine.
ENDS_WITHIN_S = 7.0

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


class Stuck:
    """A keeper that does not answer, beside a container "other" that keeps it from ending."""

    def __init__(self, machine: Machine) -> None:
        """Stop the keeper; from now on nothing that needs it comes to its end."""
        self.machine = machine
        machine.uxc("create", "other", str(machine.bundle(*SLEEP, name="other")))
        self.bundle = machine.bundle(*SLEEP)
        self.files, self.before = machine.files(), machine.look()
        self.keeper = machine.listed()["other"]["runtime_pid"]
        self._commands: list[subprocess.Popen[str]] = []
        os.kill(self.keeper, signal.SIGSTOP)

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """Begin a command of uxc."""
        command = subprocess.Popen(
            ["uxc", *words],
            env=self.machine.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._commands.append(command)
        return command

    def create(self, name: str = "web") -> "subprocess.Popen[str]":
        """Begin to create a container; return when the keeper has been asked.

        "web" is wired, so that the keeper is asked for a namespace first; of another one it hears
        everything at once.
        """
        command = self.begin("create", name, str(self.bundle))
        wait_for("the creation", lambda: _shown(self.machine, name) == "creating")
        return command

    def tell_manager(self, number: int = signal.SIGTERM) -> None:
        """Tell the manager to end, and wait until it has begun to."""
        self.machine.manager.send_signal(number)
        socket = self.machine.paths.control_socket
        wait_for("the end of service", lambda: not os.path.exists(socket))

    def go_on(self) -> None:
        """Let the keeper work again."""
        os.kill(self.keeper, signal.SIGCONT)

    def manager_ends(self) -> None:
        """Say that the manager ends well and in time."""
        assert self.machine.manager.wait(timeout=ENDS_WITHIN_S) == 0, self.machine.log

    def nothing_new(self) -> None:
        """Say that there is what was there before the keeper was stopped, and no more."""
        assert self.machine.left_since(self.before) == []
        control = "var/run/uxc/control.sock"
        now, then = self.machine.files(), self.files
        assert now.keys() - {control} == then.keys() - {control}
        assert now["etc/config/uxc"] == then["etc/config/uxc"]

    def close(self) -> None:
        """End what a failed test has left."""
        try:
            self.go_on()
        except ProcessLookupError:
            pass
        for command in self._commands:
            command.kill()
            command.communicate()


@pytest.fixture
def stuck(machine: Machine) -> Iterator[Stuck]:
    """A machine whose keeper is stopped."""
    machine.configure(network=WIRED)
    stuck = Stuck(machine)
    try:
        yield stuck
    finally:
        stuck.close()


def wait_for(what: str, is_there: Callable[[], object]) -> None:
    """Wait for something that must come soon."""
    deadline = time.monotonic() + 10
    while not is_there():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def _shown(machine: Machine, name: str) -> str:
    return str(machine.listed().get(name, {}).get("status"))


@pytest.mark.needs("veth")
def test_one_that_is_being_created_is_listed(stuck: Stuck) -> None:
    """list and state say "creating" until create has answered, and the section is there then."""
    machine, config = stuck.machine, stuck.machine.config
    command = stuck.create()

    assert machine.status("web") == "creating"
    assert machine.listed()["web"]["autostart"] is False
    assert machine.config == config
    stuck.go_on()

    assert command.communicate(timeout=10)[1] == ""
    assert machine.status("web") == "created"
    machine.uxc("delete", "--force", "web")
    stuck.nothing_new()


@pytest.mark.needs("veth")
def test_one_that_could_not_be_created_is_listed_no_more(stuck: Stuck) -> None:
    """The keeper finds no program to run: the entry is gone, as if nobody had asked."""
    os.unlink(stuck.bundle / "rootfs/etc/passwd")
    (stuck.bundle / "rootfs/proc").rmdir()
    (stuck.bundle / "rootfs/proc").write_text("no directory to mount on")
    command = stuck.create()
    stuck.go_on()

    assert command.wait(timeout=10) == 1
    assert list(stuck.machine.listed()) == ["other"]
    assert stuck.machine.refused("state", "web") == "uxc: web: no such container"
    stuck.nothing_new()


@pytest.mark.needs("veth")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_lets_a_create_come_to_its_end(stuck: Stuck, number: int) -> None:
    """What takes a moment more is done, its client answered, its section written."""
    command = stuck.create()
    stuck.tell_manager(number)
    stuck.go_on()

    stuck.manager_ends()
    assert command.communicate(timeout=5)[1] == ""
    assert command.returncode == 0
    machine = stuck.machine
    assert "config container 'web'" in machine.config
    machine.start_manager()
    assert machine.status("web") == "created"
    machine.uxc("delete", "--force", "web")
    stuck.nothing_new()


@pytest.mark.needs("veth")
@pytest.mark.parametrize("name", ["web", "plain"])
def test_the_end_takes_back_a_create_that_takes_too_long(stuck: Stuck, name: str) -> None:
    """The client is told; namespace, cable, container and section are gone with the manager."""
    command = stuck.create(name)
    stuck.tell_manager()
    wait_for("the patience's end", lambda: "it takes too long" in stuck.machine.log)
    stuck.go_on()

    stuck.manager_ends()
    assert command.communicate(timeout=5)[1].splitlines()[0] == "uxc: the manager is ending"
    assert command.returncode == 1
    stuck.nothing_new()
    stuck.machine.start_manager()
    assert list(stuck.machine.listed()) == ["other"]


@pytest.mark.needs("veth")
def test_the_end_comes_in_time_whatever_the_keeper_does(stuck: Stuck) -> None:
    """It never answers: the manager ends all the same, and the next one clears away."""
    command = stuck.create()
    began = time.monotonic()
    stuck.tell_manager()

    stuck.manager_ends()
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert command.wait(timeout=5) == 1
    stuck.go_on()
    stuck.machine.start_manager()
    assert list(stuck.machine.listed()) == ["other"]
    stuck.nothing_new()


@pytest.mark.needs("veth")
def test_the_end_lets_a_delete_come_to_its_end(stuck: Stuck) -> None:
    """Container and section go together."""
    client = stuck.machine.connect()
    number = client.send("delete", name="other", force=True)
    # Requests of one client are begun in their order.
    assert client.ask("ping") == "pong"
    stuck.tell_manager()
    stuck.go_on()

    stuck.manager_ends()
    message = client.receive()
    assert (message["id"], message["ok"]) == (number, True)
    assert "config container" not in stuck.machine.config
    stuck.machine.start_manager()
    assert stuck.machine.listed() == {}


@pytest.mark.needs("veth")
def test_no_request_is_begun_once_the_end_has_come(stuck: Stuck) -> None:
    """Who asks then is told so, and what was asked before goes on."""
    client = stuck.machine.connect()
    assert client.ask("ping") == "pong"
    command = stuck.create()
    stuck.tell_manager()

    number = client.send("create", name="late", bundle=str(stuck.bundle))
    message = client.receive()
    stuck.go_on()

    assert (message["id"], message["ok"]) == (number, False)
    assert message["error"]["kind"] == "unavailable"
    assert command.wait(timeout=5) == 0
    stuck.manager_ends()


def test_the_end_answers_those_who_wait_and_comes_at_once(machine: Machine) -> None:
    """Nothing is half-way when somebody only waits for the end of a program."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    machine.uxc("start", "web")
    pid = machine.state("web")["pid"]
    client = machine.connect()
    number = client.send("wait", name="web")
    assert client.ask("ping") == "pong"

    began = time.monotonic()
    machine.manager.send_signal(signal.SIGTERM)
    assert machine.manager.wait(timeout=ENDS_WITHIN_S) == 0

    assert time.monotonic() - began < 2
    message = client.receive()
    assert (message["id"], message["ok"]) == (number, False)
    assert message["error"]["kind"] == "unavailable"
    assert os.path.exists(f"/proc/{pid}")


def test_nothing_is_started_any_more_once_the_end_has_begun(
    machine: Machine, patience: Patience
) -> None:
    """A container that ends meanwhile is left to the next manager, which respawns it."""
    one = machine.bundle(*SLEEP, name="one")
    machine.configure(
        uxc=f"config container 'one'\n\toption bundle '{one}'\n\toption respawn '1 0 0'\n"
        "config container 'lent'\n\toption bundle '/nowhere'\n",
        network="config interface 'lan'\n\toption device 'nosuch0'\n\toption jail 'lent'\n",
    )
    machine.uxc("start", "one")
    pid = machine.state("one")["pid"]
    client = machine.connect()
    # Waits for a device that never comes, so that the end takes its time.
    client.send("create", name="lent")
    assert client.receive()["text"] == "waiting: nosuch0"

    machine.manager.send_signal(signal.SIGTERM)
    patience("the end of service", lambda: not os.path.exists(machine.paths.control_socket))
    os.kill(pid, signal.SIGKILL)
    assert machine.manager.wait(timeout=ENDS_WITHIN_S) == 0
    assert client.receive()["error"]["message"] == "the manager is ending"
    assert "one: started" not in machine.log

    machine.start_manager()
    patience("the respawn", lambda: machine.status("one") == "running")
    machine.uxc("stop", "one", "--timeout", "0")


@pytest.mark.needs("veth")
def test_a_create_goes_on_without_its_client(stuck: Stuck, patience: Patience) -> None:
    """Who asked hangs up: the container is made all the same, section and all."""
    command = stuck.create()
    command.kill()
    command.communicate()
    stuck.go_on()

    patience("the container", lambda: _shown(stuck.machine, "web") == "created")
    assert "config container 'web'" in stuck.machine.config
    stuck.machine.uxc("delete", "--force", "web")
    stuck.nothing_new()


@pytest.mark.needs("veth")
def test_a_creation_whose_section_is_missing_is_taken_back(stuck: Stuck) -> None:
    """Killed with the container made by the keeper, but not told: the next manager undoes it."""
    command = stuck.create("plain")
    machine = stuck.machine
    machine.manager.send_signal(signal.SIGSTOP)
    stuck.go_on()
    root = f"{machine.paths.container_root}/plain"
    gates = (f"{root}/exec.fifo", f"{root}/frozen")
    wait_for("the container", lambda: any(map(os.path.exists, gates)))
    machine.kill_manager()
    assert command.wait(timeout=5) == 1
    machine.start_manager()

    assert list(machine.listed()) == ["other"]
    stuck.nothing_new()


@pytest.mark.needs("veth")
def test_both_die_in_the_middle_of_a_create(stuck: Stuck) -> None:
    """Keeper and manager are killed: the next ones leave nothing of the new container."""
    command = stuck.create()
    machine = stuck.machine
    machine.manager.send_signal(signal.SIGSTOP)
    os.kill(stuck.keeper, signal.SIGKILL)
    machine.kill_manager()
    assert command.wait(timeout=5) == 1
    machine.start_manager()

    assert list(machine.listed()) == ["other"]
    assert machine.status("other") == "created"
    stuck.nothing_new()


def _nothing_left(machine: Machine, before: set[str]) -> None:
    """Say that nothing is left of a creation; not even a keeper."""
    assert machine.left_since(before) == []
    wait_for("the keeper's end", lambda: not os.path.lexists(machine.paths.keeper_socket))
    for directory in ("bundle_dir", "container_root", "output_dir", "netns_dir"):
        path = getattr(machine.paths, directory)
        assert not os.path.isdir(path) or os.listdir(path) == [], path


@pytest.mark.needs("veth")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_may_come_at_any_moment_of_a_create(machine: Machine, number: int) -> None:
    """Client and manager go at any point: afterwards there is all of the container or nothing."""
    machine.configure(network=WIRED)
    before = machine.look()
    bundle = machine.bundle(*SLEEP)
    # The first round's keeper has to be started; a fixed seed makes a failure come again.
    moments = random.Random(7)
    for _ in range(8):
        command = subprocess.Popen(
            ["uxc", "create", "web", str(bundle)],
            env=machine.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moments.uniform(0.02, 0.13))
        command.kill()
        command.wait()
        machine.manager.send_signal(number)
        assert machine.manager.wait(timeout=ENDS_WITHIN_S) == (
            0 if number == signal.SIGTERM else -9
        )
        made = "config container 'web'" in machine.config
        if not made and number == signal.SIGTERM:
            _nothing_left(machine, before)
        machine.start_manager()
        listed = {name: entry["status"] for name, entry in machine.listed().items()}
        assert listed == ({"web": "created"} if made else {})
        if made:
            machine.uxc("delete", "--force", "web")
        assert machine.left_since(before) == []


def test_a_damaged_configuration_takes_no_container_back(machine: Machine) -> None:
    """A manager that cannot read the sections does not take what is parked for half made."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    config = machine.config
    pid = machine.state("web")["pid"]
    machine.kill_manager()
    machine.configure(uxc="config container 'web\n")
    machine.start_manager()

    assert machine.state("web")["pid"] == pid
    machine.configure(uxc=config)
    machine.uxc("start", "web")
    assert json.loads(machine.uxc("list", "--json"))[0]["status"] == "running"
