"""containerd's shim runs containers with the runtime that `ctr run --runc-binary` names."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import needs
from engines import Containerd, Ctr, Store, read_limit, running, until

pytestmark = pytest.mark.needs("containerd")


@pytest.mark.vm
def test_a_container_runs_and_leaves_nothing(ctr: Ctr) -> None:
    """Output and exit code are the program's; afterwards neither task nor cgroup is there."""
    assert ctr.run("--", "echo", "out") == "out"
    ctr.run("--", "sh", "-c", "exit 7", code=7)

    assert ctr.tasks() == {}
    trees = Path("/sys/fs/cgroup").glob(f"*/{ctr.daemon.namespace}/c/*")
    assert [one for one in trees if one.name in ("notify_on_release", "cgroup.events")] == []


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd"])
def test_what_cannot_be_run_is_an_error(ctr: Ctr, program: str) -> None:
    """The runtime's words reach the user, and the container is removed."""
    done = ctr.call(*ctr.words("--rm", "--", program))

    assert done.returncode == 1
    assert "denied" in done.stderr or "no such file" in done.stderr.lower()
    assert ctr.tasks() == {}


def test_a_run_at_a_terminal(ctr: Ctr) -> None:
    """`run --tty` gives the program a terminal of the caller's size that follows its changes."""
    with ctr.sit(*ctr.words("--rm", "--tty", "--", "sh")) as terminal:
        terminal.type("tty; sleep 0.2; stty size\n")
        terminal.read_until("/dev/pts/0")
        terminal.read_until("24 80")
        terminal.resize(50, 132)
        terminal.type("sleep 0.5; stty size\n")
        terminal.read_until("50 132")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6


@pytest.mark.vm
def test_exec_runs_beside_the_first_process(ctr: Ctr) -> None:
    """A command has the container's processes, its own exit code, input, user and directory."""
    ctr.start("--env=A=1", "--", "sleep", "2345")

    assert "sleep 2345" in ctr.exec("ps", "-o", "args")
    ctr.exec("sh", "-c", "exit 9", code=9)
    assert ctr.exec("cat", input="typed\n") == "typed"
    assert ctr.exec("--cwd=/tmp", "--", "sh", "-c", "pwd; echo $A").split() == ["/tmp", "1"]
    assert ctr.exec("--user=1000", "--", "id", "-u") == "1000"


def test_exec_of_what_is_not_there(ctr: Ctr) -> None:
    """It fails with the runtime's words, and the container goes on."""
    ctr.start()
    done = ctr.call("tasks", "exec", "--exec-id=e", "c", "/no/such/program")

    assert done.returncode == 1
    assert "/no/such/program" in done.stderr
    assert ctr.status() == "RUNNING"


def test_an_exec_at_a_terminal(ctr: Ctr) -> None:
    """`exec --tty` gives the command a terminal and job control."""
    ctr.start()
    with ctr.sit("tasks", "exec", "--tty", "--exec-id=e", "c", "sh") as terminal:
        terminal.type("tty; sleep 0.2; stty size\n")
        terminal.read_until("/dev/pts/0")
        terminal.read_until("24 80")
        terminal.type("sleep 7654\n")
        until(lambda: running("sleep", "7654"), "the program in the foreground")
        terminal.type("\x03")
        terminal.read_until("^C")
        terminal.type("exit 8\n")
        assert terminal.wait() == 8


def test_a_detached_exec(ctr: Ctr) -> None:
    """The command goes on when the client is gone, and ends with the container."""
    ctr.start()
    ctr.ok("tasks", "exec", "--detach", "--exec-id=e", "c", "sleep", "8765")
    until(lambda: running("sleep", "8765"), "the command")
    ctr.delete()

    assert not running("sleep", "8765")


def test_many_commands_at_once(ctr: Ctr) -> None:
    """Five commands at a time each have their own exit code."""
    ctr.start()
    command = ("sh", "-c", "sleep 0.2; exit $0")
    sitting = [ctr.sit("tasks", "exec", f"--exec-id=e{n}", "c", *command, str(n)) for n in range(5)]

    codes = [one.wait() for one in sitting]
    for one in sitting:
        one.close()
    assert codes == [0, 1, 2, 3, 4]


@pytest.mark.vm
def test_pause_and_resume(ctr: Ctr) -> None:
    """A paused task says so and does nothing; it goes on when resumed."""
    ctr.start("--", "sh", "-c", "while :; do date >/tmp/now; sleep 0.01; done")
    until(
        lambda: (
            ctr.call("tasks", "exec", "--exec-id=e", "c", "test", "-s", "/tmp/now").returncode == 0
        ),
        "it runs",
    )
    ctr.ok("tasks", "pause", "c")
    assert ctr.status() == "PAUSED"
    assert ctr.call("tasks", "exec", "--exec-id=f", "c", "true").returncode == 1
    ctr.ok("tasks", "resume", "c")

    assert ctr.status() == "RUNNING"
    ctr.exec("true")


def test_a_checkpoint_is_refused(ctr: Ctr) -> None:
    """Where criu is missing or fails, so does a checkpoint; the container goes on."""
    if not needs.missing("criu"):
        pytest.skip("criu works here")
    ctr.start()
    done = ctr.call("tasks", "checkpoint", "c")

    assert done.returncode == 1
    assert "checkpoint" in done.stderr or "criu" in done.stderr
    assert ctr.status() == "RUNNING"


def test_signals_by_name_and_number(ctr: Ctr) -> None:
    """`kill` reaches the first process; SIGKILL ends it, and the task is stopped, then deleted."""
    ctr.start("--", "sh", "-c", "trap 'touch /tmp/hup' HUP; while :; do sleep 0.02; done")
    until(lambda: "sleep" in ctr.exec("ps"), "the trap is set")
    ctr.ok("tasks", "kill", "--signal=SIGHUP", "c")
    until(lambda: "hup" in ctr.exec("ls", "/tmp"), "the trap")
    ctr.ok("tasks", "kill", "--signal=9", "c")
    until(lambda: ctr.status() == "STOPPED", "its end")
    assert ctr.call("tasks", "exec", "--exec-id=e", "c", "true").returncode == 1
    assert "137" in ctr.call("tasks", "delete", "c").stderr
    ctr.ok("containers", "delete", "c")

    assert ctr.tasks() == {}


def test_a_running_task_is_not_deleted(ctr: Ctr) -> None:
    """Unless by force, which kills it."""
    pid = ctr.start()
    assert ctr.call("tasks", "delete", "c").returncode == 1
    ctr.ok("tasks", "delete", "--force", "c")

    assert not Path(f"/proc/{pid}").exists()


def test_a_task_starts_again(ctr: Ctr) -> None:
    """A container keeps its runtime: a second task of it runs as the first did."""
    ctr.start()
    for _ in range(2):
        ctr.ok("tasks", "delete", "--force", "c")
        ctr.ok("tasks", "start", "--detach", "--null-io", "c")
        assert ctr.status() == "RUNNING"


def test_processes_are_listed(ctr: Ctr) -> None:
    """`task ps` shows the host's process ids of all."""
    pid = ctr.start("--", "sh", "-c", "sleep 1000 & wait")
    until(lambda: len(ctr.ok("tasks", "ps", "c").split("\n")) == 3, "two processes")

    assert str(pid) in ctr.ok("tasks", "ps", "c").split()


@pytest.mark.vm
@pytest.mark.needs("limits")
def test_metrics_and_limits(ctr: Ctr) -> None:
    """Limits are those asked for, and the shim finds the container's figures, limited or not."""
    # First, so that no limit of another brings it controllers.
    ctr.start(name="d")
    other = _metrics(ctr, "d")
    pid = ctr.start("--memory-limit=67108864", "--cpus=0.5", "--", "sh", "-c", "sleep 3456 & wait")
    until(lambda: running("sleep", "3456"), "the second process")
    shown = _metrics(ctr, "c")

    assert shown["limit"] == 67108864
    assert shown["pids"] == 2
    assert other["pids"] == 1
    assert min(shown["used"], shown["cpu"], other["used"], other["cpu"]) > 0
    assert other["used"] < 67108864 < other["limit"]
    assert read_limit(pid, "memory") == 67108864
    assert read_limit(pid, "quota") == 50000


def _metrics(ctr: Ctr, name: str) -> dict[str, int]:
    lines = ctr.ok("tasks", "metrics", name).split("\n")
    shown = dict(line.split(None, 1) for line in lines if line)
    names = {
        "used": ("memory.usage_in_bytes", "memory.usage"),
        "limit": ("memory.limit_in_bytes", "memory.usage_limit"),
        "cpu": ("cpuacct.usage", "cpu.usage_usec"),
        "pids": ("pids.current", "pids.current"),
    }
    version = "memory.usage_in_bytes" not in shown
    return {name: int(shown[both[version]]) for name, both in names.items()}


@pytest.mark.vm
def test_want_of_memory_is_told(ctr: Ctr) -> None:
    """What uses more than its memory is killed, and an event says so."""
    with ctr.sit("events") as events:
        time.sleep(0.2)
        # The kernel may choose more than the greedy one: the exit code is its own affair.
        ctr.call(
            *ctr.words(
                *("--rm", "--memory-limit=16777216", "--"),
                *("sh", "-c", "head -c 100000000 /dev/zero | tail; true"),
            )
        )
        events.read_until("/tasks/oom")


def test_events_tell_a_life(ctr: Ctr) -> None:
    """Create, start, exec, pause, resume, exit and delete appear in their order."""
    with ctr.sit("events") as events:
        time.sleep(0.2)
        ctr.start()
        ctr.exec("true")
        ctr.ok("tasks", "pause", "c")
        ctr.ok("tasks", "resume", "c")
        ctr.delete()
        for topic in (
            "create",
            "start",
            "exec-added",
            "exec-started",
            "paused",
            "resumed",
            "exit",
            "delete",
        ):
            events.read_until(f"/tasks/{topic} ")


def test_the_default_seccomp_profile(ctr: Ctr) -> None:
    """`--seccomp` puts containerd's profile in force, for exec as well."""
    status = ("grep", "Seccomp:", "/proc/self/status")
    assert ctr.run("--", *status).split()[1] == "0"
    ctr.start("--seccomp", "--", "sleep", "1000")

    assert ctr.exec(*status).split()[1] == "2"


def test_a_seccomp_profile(ctr: Ctr, tmp_path: Path) -> None:
    """A profile from a file is taken."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    (tmp_path / "profile").write_text(json.dumps(profile))
    shown = ctr.run(
        "--seccomp",
        f"--seccomp-profile={tmp_path}/profile",
        "--",
        "sh",
        "-c",
        "mkdir /x 2>&1; true",
    )

    assert "No space left" in shown


def test_options_of_run(ctr: Ctr, tmp_path: Path) -> None:
    """Read-only root, mounts, devices, capabilities, environment and directory."""
    (tmp_path / "file").write_text("host's\n")
    mount = f"--mount=type=bind,src={tmp_path},dst=/mnt,options=rbind:ro"
    shown = ctr.run(
        "--read-only",
        mount,
        "--device=/dev/fuse",
        "--cap-drop=CAP_CHOWN",
        "--env=A=b c",
        "--cwd=/tmp",
        "--",
        "sh",
        "-c",
        'touch /x 2>/dev/null || echo read-only; cat /mnt/file; echo "$A"; pwd; '
        "test -c /dev/fuse && echo fuse; chown 1 /dev/fuse 2>/dev/null || "
        "echo keeps",
    )

    assert shown.split("\n") == ["read-only", "host's", "b c", "/tmp", "fuse", "keeps"]


def test_privileged_and_the_hosts_network(ctr: Ctr) -> None:
    """`--privileged` and `--net-host` leave out what they say."""
    shown = ctr.run(
        "--privileged",
        "--net-host",
        "--",
        "sh",
        "-c",
        "mkdir /m && mount -t tmpfs t /m && echo mounted; readlink /proc/self/ns/net",
    )

    assert shown.split() == ["mounted", Path("/proc/self/ns/net").readlink().name]


def test_namespaces_of_another_container(ctr: Ctr) -> None:
    """`--with-ns` joins by path."""
    pid = ctr.start()
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    options = [f"--with-ns={kind}:/proc/{pid}/ns/{name}" for kind, name in kinds.items()]
    shown = ctr.run(
        *options,
        "--",
        "sh",
        "-c",
        "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done",
        name="d",
    )

    assert shown.split() == [str(Path(f"/proc/{pid}/ns/{n}").readlink()) for n in kinds.values()]


def test_a_config_of_ones_own(ctr: Ctr, tmp_path: Path) -> None:
    """`--config` hands a whole config.json over."""
    done = subprocess.run([ctr.runtime, "spec", "--bundle", str(tmp_path)], check=False)
    assert done.returncode == 0
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"].update(args=["echo", "mine"], terminal=False)
    config["root"] = {"path": str(ctr.daemon.store.rootfs)}
    (tmp_path / "config.json").write_text(json.dumps(config))

    words = ctr.words("--rm", f"--config={tmp_path}/config.json", image=False)
    assert ctr.ok(*words[:-1]) == "mine"


def test_many_containers_at_once(ctr: Ctr) -> None:
    """Five run together and are ended one after the other."""
    names = [f"c{number}" for number in range(5)]
    sitting = [
        ctr.sit(*ctr.words("--detach", "--null-io", "--", "sleep", "1000", name=name))
        for name in names
    ]
    assert [one.wait() for one in sitting] == [0] * 5
    for one in sitting:
        one.close()
    assert {status for _, status in ctr.tasks().values()} == {"RUNNING"}
    for name in names:
        ctr.delete(name)

    assert ctr.tasks() == {}


def test_containers_outlive_the_daemon(store: Store, runtime: str) -> None:
    """A daemon that starts again finds the running container and can still reach into it."""
    daemon = Containerd(store, "second")
    try:
        ctr = Ctr(daemon, runtime)
        pid = ctr.start()
        daemon.restart()
        assert ctr.tasks() == {"c": (pid, "RUNNING")}
        assert ctr.exec("echo", "there") == "there"
        ctr.tidy()
    finally:
        daemon.close()


@pytest.mark.needs("user-namespaces")
def test_the_runtime_named_runc(store: Store, runtime: str, tmp_path: Path) -> None:
    """Found as `runc` it is taken for it, also where `ctr` forgets `--runc-binary`: `--uidmap`."""
    (tmp_path / "runc").symlink_to(runtime)
    daemon = Containerd(store, "third", str(tmp_path))
    try:
        ctr = Ctr(daemon, "runc")
        maps = ("--uidmap=0:100000:5000", "--gidmap=0:100000:5000")
        pid = ctr.start(*maps)
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
        shown = ctr.exec("sh", "-c", "cat /proc/self/uid_map; stat -c %u /bin/busybox; id -u")
        assert shown.split() == ["0", "100000", "5000", "0", "0"]
        ctr.tidy()
    finally:
        daemon.close()
