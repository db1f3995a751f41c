"""Wrong input: one clear line, a non-zero exit code, and nothing left behind."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

# What the fixtures of this directory are (conftest.py); typed loosely, as pytest finds them.
Machine = Any

SLEEP = ("/bin/sleep", "1000")

WIRED = """
config device
	option type 'veth'
	option name 'vhost0'
	option peer_name 'virt0'

config interface 'virt0'
	option device 'virt0'
	option proto 'none'
	option jail 'web'
	option jail_device '{device}'
"""


@pytest.fixture
def nothing_left(machine: Machine) -> Any:
    """Compare the host and the prefix before and after."""
    files = machine.files()
    before = machine.look()

    def compare() -> None:
        assert machine.left_since(before) == []
        assert before - machine.look() == set()
        assert machine.files() == files

    return compare


def _section(bundle: Path, *lines: str) -> str:
    options = "".join(f"\t{line}\n" for line in lines)
    return f"config container 'web'\n\toption bundle '{bundle}'\n{options}"


def test_a_missing_bundle_is_named(machine: Machine, nothing_left: Any) -> None:
    """create with a path that does not exist names the path."""
    line = machine.refused("create", "web", "/nowhere/at/all")

    assert line == "uxc: web: /nowhere/at/all: no such file or directory"
    nothing_left()


def test_a_config_that_is_not_json_is_told_with_its_place(
    machine: Machine, nothing_left: Any
) -> None:
    """The line and the column of the fault are in the message."""
    bundle = machine.bundle(*SLEEP)
    (bundle / "config.json").write_text('{"ociVersion": "1.0.2",\n oops}')

    line = machine.refused("create", "web", str(bundle))

    assert line.startswith(f"uxc: web: {bundle}/config.json: not JSON at line 2, column 2")
    nothing_left()


def test_a_wrong_type_deep_inside_is_told_with_its_path(
    machine: Machine, nothing_left: Any
) -> None:
    """The JSON path leads to the value."""
    bundle = machine.bundle(*SLEEP)
    machine.edit(bundle, lambda config: config["process"]["args"].append(7))

    line = machine.refused("create", "web", str(bundle))

    assert f"{bundle}/config.json: process.args[2]: " in line
    nothing_left()


def test_a_bundle_without_its_rootfs_is_refused(machine: Machine, nothing_left: Any) -> None:
    """A root.path that is no directory is found before anything is made."""
    bundle = machine.bundle(*SLEEP, root={"path": "elsewhere"})

    line = machine.refused("create", "web", str(bundle))

    assert f"{bundle}/elsewhere: no such directory" in line
    nothing_left()


@pytest.mark.parametrize(
    "command", ["start", "state", "kill", "delete", "attach", "wait", "stop", "create", "enable"]
)
def test_an_unknown_container_is_said_to_be_unknown(
    machine: Machine, nothing_left: Any, command: str
) -> None:
    """Every command on a container that nobody has declared says so."""
    assert machine.refused(command, "nobody") == "uxc: nobody: no such container"
    nothing_left()


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a b", "x" * 200])
def test_a_name_that_is_a_path_is_refused(machine: Machine, nothing_left: Any, name: str) -> None:
    """Nothing is read or written outside of the places for containers."""
    bundle = str(machine.bundle(*SLEEP))

    for words in (
        ("create", name, bundle),
        *((command, name) for command in ("create", "start", "state", "kill", "delete", "enable")),
    ):
        line = machine.refused(*words)
        assert "is not a container name" in line or "longer than" in line
    nothing_left()


def test_a_syntax_error_is_told_with_its_line(machine: Machine, nothing_left: Any) -> None:
    """A damaged /etc/config/uxc is refused with its line; it is not written to."""
    bundle = machine.bundle(*SLEEP)
    machine.configure(uxc=f"{_section(bundle)}\toption autostart 'yes\n")
    files = machine.files()

    for words in (("create", "web"), ("create", "other", str(bundle)), ("start", "web")):
        line = machine.refused(*words)
        assert f"{machine.prefix}/etc/config/uxc:" in line

    assert machine.files() == files
    machine.configure()
    nothing_left()


def test_two_containers_that_claim_one_interface_are_refused(
    machine: Machine, nothing_left: Any
) -> None:
    """Neither gets it, and the message says which sections they are."""
    bundle = machine.bundle(*SLEEP)
    network = WIRED.format(device="host0")
    network += network.partition("config interface")[1] + " 'again'\n"
    network += "\toption device 'virt0'\n\toption proto 'none'\n\toption jail 'db'\n"
    machine.configure(
        uxc=_section(bundle) + _section(bundle).replace("'web'", "'db'"), network=network
    )
    files = machine.files()

    for name in ("web", "db"):
        line = machine.refused("create", name)
        assert f"{machine.prefix}/etc/config/network:" in line
        assert "virt0" in line

    assert machine.files() == files
    machine.configure()
    nothing_left()


def test_an_interface_name_of_sixteen_bytes_is_refused(machine: Machine, nothing_left: Any) -> None:
    """The kernel takes 15 (IFNAMSIZ); the option is named."""
    bundle = machine.bundle(*SLEEP)
    machine.configure(network=WIRED.format(device="sixteen-bytes-xx"))
    files = machine.files()

    line = machine.refused("create", "web", str(bundle))

    assert "option 'jail_device'" in line
    assert "15" in line
    assert machine.files() == files
    machine.configure()
    nothing_left()


def test_what_exists_is_not_created_again(machine: Machine) -> None:
    """A second create, with the same or another bundle, leaves the first one alone."""
    bundle = machine.bundle(*SLEEP)
    machine.uxc("create", "web", str(bundle))
    pid = machine.state("web")["pid"]
    before, files = machine.look(), machine.files()

    assert machine.refused("create", "web") == "uxc: web: exists already and is created"
    assert machine.refused("create", "web", str(bundle)).endswith("exists already and is created")
    assert "with another bundle" in machine.refused("create", "web", "/elsewhere")

    assert machine.state("web")["pid"] == pid
    assert machine.look() == before
    assert machine.files() == files


def test_what_runs_is_neither_started_nor_deleted(machine: Machine) -> None:
    """start twice and delete while running are refused, and the program goes on."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    assert machine.refused("delete", "web") == "uxc: web: is created"
    machine.uxc("start", "web")
    pid = machine.state("web")["pid"]

    assert machine.refused("start", "web") == "uxc: web: is running already"
    assert machine.refused("delete", "web") == "uxc: web: is running"

    assert machine.state("web") == {**machine.state("web"), "pid": pid, "status": "running"}


def test_a_program_that_is_not_there_leaves_nothing(machine: Machine, nothing_left: Any) -> None:
    """create fails when the program cannot be found, and unmakes what it has made."""
    bundle = machine.bundle("/bin/nonesuch")

    line = machine.refused("create", "web", str(bundle))

    assert line.startswith("uxc: web: ")
    assert "/bin/nonesuch" in line
    nothing_left()


@pytest.mark.needs("veth")
def test_a_failed_create_takes_the_wiring_back(machine: Machine, nothing_left: Any) -> None:
    """What was plugged in before the failure is unplugged."""
    bundle = machine.bundle("/bin/nonesuch")
    machine.configure(network=WIRED.format(device="host0"))
    files = machine.files()

    machine.refused("create", "web", str(bundle))

    assert machine.files() == files
    machine.configure()
    nothing_left()


def test_a_bundle_on_the_hosts_network_cannot_be_wired(machine: Machine, nothing_left: Any) -> None:
    """A cable for a container without a network namespace is an error, not a silent nothing."""
    bundle = machine.bundle(*SLEEP)
    machine.edit(
        bundle,
        lambda config: config["linux"]["namespaces"].remove({"type": "network"}),
    )
    machine.configure(network=WIRED.format(device="host0"))

    assert "uses the host's network" in machine.refused("create", "web", str(bundle))

    machine.configure()
    nothing_left()


def test_a_lent_device_is_waited_for_and_then_named(machine: Machine, nothing_left: Any) -> None:
    """After network_timeout create fails, and names the device that did not come."""
    machine.configure(
        uxc="config uxc 'globals'\n\toption network_timeout '1'\n",
        network=WIRED.partition("config interface")[1]
        + " 'eth7'\n\toption device 'eth7'\n\toption proto 'none'\n\toption jail 'web'\n",
    )
    begun = time.monotonic()

    line = machine.refused("create", "web", str(machine.bundle(*SLEEP)))

    assert line == "uxc: web: eth7 is not there"
    assert time.monotonic() - begun > 0.9
    machine.configure()
    nothing_left()


def test_an_overlay_without_its_folder_is_refused(machine: Machine, nothing_left: Any) -> None:
    """write_overlay_path is the user's: a missing one is not made."""
    bundle = machine.bundle(*SLEEP)

    line = machine.refused("create", "web", str(bundle), "--write-overlay-path", "/nowhere")

    assert "/nowhere: no such directory" in line
    nothing_left()


def test_a_wrong_setting_is_not_written(machine: Machine, nothing_left: Any) -> None:
    """The option is judged before the section is written."""
    bundle = machine.bundle(*SLEEP)

    line = machine.refused("create", "web", str(bundle), "--temp-overlay-size", "much")

    assert "option 'temp_overlay_size': 'much' is not a size" in line
    nothing_left()


def test_nothing_is_written_while_luci_may_roll_back(machine: Machine) -> None:
    """create and delete are refused, the container stays what it was."""
    bundle = machine.bundle(*SLEEP)
    machine.uxc("create", "web", str(bundle))
    snapshot = machine.prefix / "var/run/rpcd/snapshot-files"
    snapshot.mkdir(parents=True)
    (snapshot / "network").write_text("")
    before, config = machine.look(), machine.config

    assert "LuCI" in machine.refused("create", "other", str(bundle))
    assert "LuCI" in machine.refused("delete", "--force", "web")
    assert "LuCI" in machine.refused("disable", "web")

    assert machine.left_since(before) == []
    assert machine.config == config
    assert machine.status("web") == "created"
    (snapshot / "network").unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("strt", "web"), "unknown command 'strt' (did you mean 'start'?)"),
        (("start",), "start: NAME is missing"),
        (("start", "a", "b"), "start: too many words: 'b'"),
        (("kill", "--sgnal", "9", "web"), "unknown option '--sgnal' (did you mean '--signal'?)"),
        (("kill", "web", "--signal"), "option '--signal' needs a value"),
        (("kill", "web", "9", "--signal", "9"), "is given twice"),
        (("kill", "web", "NONE"), "'NONE' is not a signal"),
        (("create", "web", "/x", "perhaps"), "'perhaps' is neither true nor false"),
        (("list", "--json=1"), "option '--json' takes no value"),
        (("stop",), "give either NAME or --all"),
    ],
)
def test_wrong_words_are_explained(machine: Machine, words: tuple[str, ...], said: str) -> None:
    """A mistyped command line says what is wrong with it."""
    assert said in machine.refused(*words)


def test_a_command_that_needs_the_manager_says_how_to_start_it(unmanaged: Machine) -> None:
    """Without a manager there is one line and a hint; list --json prints no JSON then."""
    for command in ("list", "boot", "reload"):
        done = unmanaged.run("uxc", command)
        assert done.returncode == 1
        assert done.stderr.splitlines()[0] == "uxc: the manager is not running"
        assert "uxc-manager" in done.stderr.splitlines()[1]
        assert done.stdout == ""


def test_a_section_with_an_error_harms_no_other(machine: Machine) -> None:
    """A wrong section is refused with file and line; the right one beside it starts."""
    bundle = machine.bundle(*SLEEP)
    machine.configure(
        uxc=_section(bundle) + _section(bundle, "option memory 'lots'").replace("'web'", "'db'")
    )

    line = machine.refused("start", "db")
    machine.uxc("start", "web")

    assert line.startswith(f"uxc: {machine.prefix}/etc/config/uxc:5: container 'db': ")
    assert "option 'memory'" in line
    assert machine.status("web") == "running"
    assert json.loads(machine.uxc("list", "--json"))[0]["status"] == "uninitialized"
