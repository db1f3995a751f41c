"""``exec``: another process in a running container, as clients start it."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import namespaces
from runtimes import NAME, RUNTIME, TIMEOUT_S, Config, Runtime, status_of, until

Bundle = Callable[..., Path]
Running = Callable[..., int]

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
CHOWN, KILL, NET_RAW = 0, 5, 13


def test_the_process_is_in_all_namespaces_of_the_container(
    runtime: Runtime, running: Running
) -> None:
    """Each namespace of the process is that of the container's first one."""
    pid = running()
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in NAMESPACES)

    seen = runtime.ok("exec", "c", "sh", "-c", script).split()

    assert seen == [os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES]


@pytest.mark.ours
def test_the_process_is_in_the_time_namespace(runtime: Runtime, running: Running) -> None:
    """Its clock is the container's."""

    def edit(config: Config) -> None:
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000_000}}

    running(edit)

    assert float(runtime.ok("exec", "c", "cat", "/proc/uptime").split()[0]) > 1_000_000_000


def test_a_namespace_that_is_shared_with_the_host_is_not_joined(
    runtime: Runtime, running: Running
) -> None:
    """A container in the host's pid and network namespaces has its processes there as well."""

    def edit(config: Config) -> None:
        namespaces(pid=None, network=None)(config)
        config["mounts"] = [one for one in config["mounts"] if one["type"] != "sysfs"]

    running(edit)

    script = "readlink /proc/self/ns/pid; readlink /proc/self/ns/net"
    seen = runtime.ok("exec", "c", "sh", "-c", script)

    assert seen.split() == [os.readlink("/proc/self/ns/pid"), os.readlink("/proc/self/ns/net")]


@pytest.mark.parametrize("how", ["pivoted", "moved", "joined"])
def test_the_root_is_the_containers(
    runtime: Runtime, running: Running, how: str, tmp_path: Path
) -> None:
    """Also without pivot_root, and in a mount namespace that has another root."""
    holder = subprocess.Popen(["unshare", "-m", "sleep", "1000"])
    try:
        until(
            lambda: os.readlink(f"/proc/{holder.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"),
            "another mount namespace",
        )

        def join(config: Config) -> None:
            for one in config["linux"]["namespaces"]:
                if one["type"] == "mount":
                    one["path"] = f"/proc/{holder.pid}/ns/mnt"

        running(
            join if how == "joined" else None, options=("--no-pivot",) if how == "moved" else ()
        )
        (tmp_path / "b/rootfs/mine").write_text("yes\n")

        seen = runtime.ok("exec", "c", "sh", "-c", "cat /mine; ls -d /../bin/busybox; pwd")
        assert seen.split() == ["yes", "/../bin/busybox", "/"]
    finally:
        runtime.tidy()
        holder.kill()
        holder.wait()


def test_a_process_object_says_everything(
    runtime: Runtime, running: Running, process_file: Callable[..., str]
) -> None:
    """With --process nothing of the container's own process object is left."""
    running()
    some = ["CAP_CHOWN", "CAP_KILL"]
    path = process_file(
        "sh", "-c", "cat /proc/self/status /proc/self/limits; pwd; env",
        cwd="/tmp",
        env=["PATH=/bin", "ONE=1"],
        user={"uid": 1000, "gid": 2000, "additionalGids": [5, 6]},
        capabilities={"bounding": some, "permitted": some, "effective": [], "inheritable": []},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
        noNewPrivileges=True,
    )  # fmt: skip

    text = runtime.ok("exec", "--process", path, "c")

    lines = status_of(text)
    assert lines["Uid"].split() == ["1000"] * 4
    assert lines["Gid"].split() == ["2000"] * 4
    assert lines["Groups"].split() == ["5", "6"]
    assert lines["NoNewPrivs"] == "1"
    assert [int(lines[f"Cap{name}"], 16) for name in ("Inh", "Bnd")] == [0, 1 << CHOWN | 1 << KILL]
    assert "100                  200" in text
    assert {"/tmp", "ONE=1"} <= set(text.splitlines())


def test_the_umask_is_that_of_the_object(
    runtime: Runtime, running: Running, process_file: Callable[..., str]
) -> None:
    """user.umask counts for an executed process, too."""
    running()
    path = process_file("sh", "-c", "umask", user={"uid": 0, "gid": 0, "umask": 0o077})

    assert runtime.ok("exec", "--process", path, "c").strip() == "0077"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("affinity", "wanted"),
    [({"initial": "0", "final": "1"}, "1"), ({"final": "0"}, "0"), ({"initial": "1"}, "1")],
)
def test_the_cpus_are_those_of_the_object(
    runtime: Runtime, running: Running, process_file: Callable[..., str],
    affinity: dict[str, str], wanted: str,
) -> None:  # fmt: skip
    """execCPUAffinity is about executed processes: before they enter the cgroup, and after."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("there is one CPU only")
    running()
    path = process_file("cat", "/proc/self/status", execCPUAffinity=affinity)

    lines = status_of(runtime.ok("exec", "--process", path, "c"))

    assert lines["Cpus_allowed_list"] == wanted


@pytest.mark.ours
def test_the_kernel_treats_the_program_as_the_object_says(
    runtime: Runtime, running: Running, process_file: Callable[..., str]
) -> None:
    """scheduler, ioPriority and oomScoreAdj of the object, personality of the container."""
    running(lambda config: config["linux"].update(personality={"domain": "LINUX32"}))
    path = process_file(
        "sh", "-c", "cd /proc/self; cut -d' ' -f19 stat; cat oom_score_adj personality",
        scheduler={"policy": "SCHED_OTHER", "nice": 7},
        oomScoreAdj=321,
    )  # fmt: skip

    assert runtime.ok("exec", "--process", path, "c").split() == ["7", "321", "00000008"]


def test_options_vary_the_containers_process(runtime: Runtime, running: Running) -> None:
    """User, group and directory of the command line; the rest is the container's own."""
    running()
    words = ("--user", "1000:2000", "--cwd", "/tmp", "c", "sh", "-c", "id; pwd; ulimit -n")

    first, *rest = runtime.ok("exec", *words).splitlines()

    assert "uid=1000" in first
    assert "gid=2000" in first
    assert rest == ["/tmp", "1024"]


def test_groups_can_be_added(runtime: Runtime, running: Running) -> None:
    """Each --additional-gids is one more, beside those of config.json."""
    running(lambda config: config["process"]["user"].update(additionalGids=[5]))
    words = ("--additional-gids", "7", "--additional-gids", "8", "c", "cat", "/proc/self/status")

    lines = status_of(runtime.ok("exec", *words))

    assert lines["Groups"].split() == ["5", "7", "8"]


def test_variables_can_be_added(runtime: Runtime, running: Running) -> None:
    """A variable has whatever is behind the first =, and the container's are there as well."""
    running()

    text = runtime.ok("exec", "--env", "ONE=1", "--env", "TWO=a=b", "c", "env")

    assert {"ONE=1", "TWO=a=b"} <= set(text.splitlines())
    assert "PATH=" in text


def test_a_variable_is_replaced(runtime: Runtime, running: Running) -> None:
    """What --env says counts, and there are no two of one name."""
    running(lambda config: config["process"]["env"].append("WORD=old"))

    text = runtime.ok("exec", "-e", "WORD=middle", "-e", "WORD=new", "c", "env")

    assert [line for line in text.splitlines() if line.startswith("WORD")] == ["WORD=new"]


@pytest.mark.parametrize("user", ["guest", "1000x", "1000:", ":5", "1000:5x", "-1", " 1", "1:2:3"])
def test_a_user_is_numbers(runtime: Runtime, running: Running, user: str) -> None:
    """What is not wholly UID or UID:GID is refused, not read in part (CVE-2026-30892)."""
    running()

    done = runtime.call("exec", f"--user={user}", "c", "true")

    assert done.returncode == 255


@pytest.mark.ours
@pytest.mark.parametrize("user", ["4294967295", "0:4294967295", "4294967296"])
def test_a_user_that_means_nobody_is_refused(runtime: Runtime, running: Running, user: str) -> None:
    """-1 as a number of 32 bits would leave the program what the runtime is: root."""
    running()

    done = runtime.call("exec", "--user", user, "c", "id")

    assert (done.returncode, done.stdout) == (255, "")


@pytest.mark.ours
def test_a_bundle_with_nobodys_number_runs_nothing(runtime: Runtime, bundle: Bundle) -> None:
    """The same number in config.json does not make the program root either."""
    user = {"uid": 4294967295, "gid": 0}

    done = runtime.run(bundle("id", edit=lambda config: config["process"].update(user=user)))

    assert done.returncode != 0
    assert "uid=0" not in done.stdout


def test_capabilities_are_exactly_the_containers(runtime: Runtime, running: Running) -> None:
    """No set holds more than config.json says; the inheritable one above all (CVE-2022-29162)."""
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_KILL"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"],
    }
    running(lambda config: config["process"].update(capabilities=sets))

    lines = status_of(runtime.ok("exec", "c", "cat", "/proc/self/status"))

    found = [int(lines[f"Cap{name}"], 16) for name in ("Bnd", "Prm", "Inh", "Amb")]
    # Root executes with all that the bounding set has (capabilities(7)).
    assert found == [1 << CHOWN | 1 << KILL, 1 << CHOWN | 1 << KILL, 0, 0]


def test_a_capability_can_be_added(runtime: Runtime, running: Running) -> None:
    """--cap adds to what the container's process has, and never to the inheritable set."""
    sets = {key: ["CAP_CHOWN"] for key in ("bounding", "permitted", "effective")}
    running(lambda config: config["process"].update(capabilities=sets))

    text = runtime.ok("exec", "--cap", "CAP_NET_RAW", "c", "cat", "/proc/self/status")

    lines = status_of(text)
    both = 1 << CHOWN | 1 << NET_RAW
    assert [int(lines[f"Cap{name}"], 16) for name in ("Bnd", "Eff", "Inh")] == [both, both, 0]


def test_privileges_can_be_given_up(runtime: Runtime, running: Running) -> None:
    """--no-new-privs sets the flag where the container's process does not."""
    running(lambda config: config["process"].update(noNewPrivileges=False))
    words = ("c", "grep", "NoNewPrivs", "/proc/self/status")

    assert runtime.ok("exec", *words).split()[1] == "0"
    assert runtime.ok("exec", "--no-new-privs", *words).split()[1] == "1"


def test_the_system_call_filter_is_the_containers(runtime: Runtime, running: Running) -> None:
    """An executed process is filtered as the first one is."""
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}

    def edit(config: Config) -> None:
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}

    running(edit)

    done = runtime.call("exec", "c", "sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/x")

    assert done.stdout.split() == ["Seccomp:", "2"]
    assert "Permission denied" in done.stderr


def test_a_program_with_privileges_is_filtered_too(runtime: Runtime, running: Running) -> None:
    """Loading a filter without no_new_privs needs a capability that the program then lacks."""

    def edit(config: Config) -> None:
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        config["process"].update(noNewPrivileges=False)
        config["process"]["capabilities"] = {}

    running(edit)

    lines = status_of(runtime.ok("exec", "c", "cat", "/proc/self/status"))
    assert (lines["Seccomp"], int(lines["CapPrm"], 16)) == ("2", 0)


@pytest.mark.ours
def test_the_agent_hears_of_an_executed_process(
    runtime: Runtime, running: Running, tmp_path: Path
) -> None:
    """The listener of its filter goes to listenerPath, with its own pid."""
    path = str(tmp_path / "agent")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    listener.settimeout(TIMEOUT_S)
    rule = {"names": ["chroot"], "action": "SCMP_ACT_NOTIFY"}

    def edit(config: Config) -> None:
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "listenerMetadata": "words",
            "syscalls": [rule],
        }

    def receive() -> Config:
        connection, _ = listener.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
        for fd in fds:
            assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:seccomp notify"
            os.close(fd)
        document: Config = json.loads(data)
        return document

    with listener:
        first = running(edit)
        assert receive()["pid"] == first
        code, pid = runtime.execute("c", "sleep", "1000")
        document = receive()

    assert (code, document["pid"]) == (0, pid)
    assert document["metadata"] == "words"
    assert document["state"]["status"] == "running"


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("nothere", r"executable file not found in $PATH"),
        ("/nothere", "no such file or directory"),
        ("/etc", "permission denied"),
        ("/etc/passwd", "permission denied"),
        ("/bad", "exec format error"),
        ("/script", "no such file or directory"),
    ],
)
@pytest.mark.parametrize("detached", [False, True])
def test_a_program_that_cannot_be_run_is_an_error(
    runtime: Runtime, running: Running, tmp_path: Path, program: str, text: str, detached: bool
) -> None:
    """255 and the words that clients look for, also for what only execve(2) can find."""
    running()
    rootfs = tmp_path / "b/rootfs"
    for name, content in (("bad", "\x7fELF no program"), ("script", "#!/missing\n")):
        (rootfs / name).write_text(content)
        (rootfs / name).chmod(0o755)
    if detached:
        code, pid = runtime.execute("c", program)
        said = runtime.output("exec")
    else:
        done = runtime.call("exec", "c", program)
        code, pid, said = done.returncode, 0, done.stderr

    assert (code, text in said.replace("Exec", "exec")) == (255, True)
    if NAME == "uxc-runtime":
        assert not pid, "the pid file of a program that never ran was left"


def test_a_command_is_needed(runtime: Runtime, running: Running) -> None:
    """Without a command, and without a process object that has one, there is nothing to run."""
    running()

    done = runtime.call("exec", "c")

    assert (done.returncode, "process args cannot be empty" in done.stderr) == (255, True)


@pytest.mark.parametrize("cwd", ["relative", "/etc/passwd", "/nothere"])
def test_the_working_directory_must_be_one(runtime: Runtime, running: Running, cwd: str) -> None:
    """A directory that is relative, missing or none is an error."""
    running()

    assert runtime.call("exec", "--cwd", cwd, "c", "pwd").returncode == 255


def test_an_unknown_container_is_said_to_be(runtime: Runtime) -> None:
    """Clients look for the words."""
    done = runtime.call("exec", "nothing", "true")

    assert done.returncode == 255
    assert "does not exist" in done.stderr


def test_a_stopped_container_is_refused(runtime: Runtime, running: Running) -> None:
    """Nothing can be executed after the first process has ended."""
    running(None, "true")
    runtime.wait()

    done = runtime.call("exec", "c", "true")

    assert done.returncode == 255
    assert "cannot exec in a stopped container" in done.stderr


def test_a_paused_container_is_refused(runtime: Runtime, running: Running) -> None:
    """The process would not begin."""
    running()
    runtime.ok("pause", "c")
    try:
        done = runtime.call("exec", "c", "true")
    finally:
        runtime.ok("resume", "c")

    assert done.returncode == 255
    assert "cannot exec in a paused container" in done.stderr
    assert runtime.call("exec", "c", "true").returncode == 0


@pytest.mark.vm
@pytest.mark.ours
def test_a_process_can_wait_for_the_resume(runtime: Runtime, running: Running) -> None:
    """With --ignore-paused it begins when the container goes on."""
    running()
    runtime.ok("pause", "c")
    command = [RUNTIME, "--root", str(runtime.root), "exec", "--ignore-paused", "c", "echo", "on"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.5)
        assert waiting.poll() is None
        runtime.ok("resume", "c")
        output, _ = waiting.communicate(timeout=TIMEOUT_S)

    assert (waiting.returncode, output) == (0, "on\n")


@pytest.mark.vm
@pytest.mark.ours
@pytest.mark.parametrize("frozen", [True, False])
def test_a_created_container_can_be_entered_unless_it_is_frozen(
    runtime: Runtime, bundle: Bundle, frozen: bool
) -> None:
    """Where the program waits frozen, what enters its cgroup would wait, too: it is refused."""

    def edit(config: Config) -> None:
        if not frozen:
            config["annotations"] = {"org.openwrt.uxc.frozen-at-exec": "false"}

    runtime.created(bundle("sleep", "1000", edit=edit))
    waits_frozen = (runtime.root / "c/frozen").exists()

    done = runtime.call("exec", "c", "echo", "in")

    if waits_frozen:
        assert frozen
        assert (done.returncode, "its program waits frozen" in done.stderr) == (255, True)
    else:
        assert (done.returncode, done.stdout) == (0, "in\n")
