"""config.json's ``process``: who the program is, what it gets, what it may do."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import Change, process
from runtimes import Config, ConsoleSocket, Runtime, status_of

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

CHOWN, KILL, SYS_ADMIN = 0, 5, 21


def capabilities(**sets: list[str]) -> Change:
    """Return a change of the bundle's capabilities; what is not named is empty."""
    return process(capabilities=sets)


def test_the_program_is_who_the_bundle_says(sh: Sh) -> None:
    """User, group and additional groups are set, and groups of the caller are gone."""
    user = {"uid": 1000, "gid": 2000, "additionalGids": [5, 6]}

    lines = status_of(sh("cat /proc/self/status", edit=process(user=user)))

    assert lines["Uid"].split() == ["1000"] * 4
    assert lines["Gid"].split() == ["2000"] * 4
    assert lines["Groups"].split() == ["5", "6"]


def test_no_group_of_the_caller_stays(sh: Sh) -> None:
    """Without additionalGids there are none, whatever the caller is a member of."""
    lines = status_of(sh("cat /proc/self/status", edit=process(user={"uid": 1, "gid": 1})))

    assert lines["Groups"].strip() in ("", "1")


@pytest.mark.parametrize(("umask", "wanted"), [(None, "0022"), (0o077, "0077"), (0, "0000")])
def test_the_umask_is_set(sh: Sh, umask: int | None, wanted: str) -> None:
    """user.umask is applied; absent it is 022."""
    user = {"uid": 0, "gid": 0}
    if umask is not None:
        user["umask"] = umask

    assert sh("umask", edit=process(user=user)).strip() == wanted


def test_capabilities_are_exactly_those_given(sh: Sh) -> None:
    """Each of the five sets is what the bundle says, for root too."""
    edit = capabilities(
        bounding=["CAP_CHOWN", "CAP_KILL"],
        permitted=["CAP_CHOWN", "CAP_KILL"],
        effective=["CAP_CHOWN", "CAP_KILL"],
        inheritable=["CAP_CHOWN"],
        ambient=["CAP_CHOWN"],
    )

    lines = status_of(sh("cat /proc/self/status", edit=edit))

    both, one = 1 << CHOWN | 1 << KILL, 1 << CHOWN
    found = [int(lines[f"Cap{name}"], 16) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb")]
    assert found == [both, both, both, one, one]


def test_without_capabilities_there_are_none(sh: Sh) -> None:
    """A bundle without the object gets empty sets, not the runtime's own."""
    lines = status_of(
        sh("cat /proc/self/status", edit=lambda config: config["process"].pop("capabilities"))
    )

    for name in ("Bnd", "Prm", "Eff", "Inh", "Amb"):
        assert int(lines[f"Cap{name}"], 16) == 0


def test_ambient_capabilities_reach_other_users(sh: Sh) -> None:
    """A user other than root keeps what is ambient over the execve."""
    names = ["CAP_KILL"]
    edit = capabilities(
        bounding=names, permitted=names, effective=names, inheritable=names, ambient=names
    )

    def both(config: Config) -> None:
        edit(config)
        config["process"]["user"] = {"uid": 1000, "gid": 1000}

    lines = status_of(sh("cat /proc/self/status", edit=both))

    assert int(lines["CapEff"], 16) == 1 << KILL


@pytest.mark.ours
def test_a_capability_that_nobody_knows_is_a_warning(runtime: Runtime, bundle: Bundle) -> None:
    """The specification wants a warning and no failure."""
    where = bundle("true", edit=capabilities(bounding=["CAP_TIME_TRAVEL", "CAP_KILL"]))

    runtime.created(where)

    assert "CAP_TIME_TRAVEL" in runtime.output()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges_is_as_given(sh: Sh, wanted: bool) -> None:
    """The flag is set when asked for and only then."""
    lines = status_of(sh("cat /proc/self/status", edit=process(noNewPrivileges=wanted)))

    assert lines["NoNewPrivs"] == str(int(wanted))


def test_limits_are_set(sh: Sh) -> None:
    """Soft and hard limits are the program's."""
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 21},
    ]

    text = sh("cat /proc/self/limits", edit=process(rlimits=limits))

    assert re.search(r"Max open files +100 +200 ", text)
    assert re.search(r"Max core file size +0 +0 ", text)
    assert re.search(r"Max stack size +1048576 +2097152 ", text)


@pytest.mark.ours
def test_limits_do_not_limit_the_runtime(sh: Sh) -> None:
    """A limit of few descriptors and little memory is the program's, not that of its maker."""
    limits = [{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}]

    assert sh("echo fine", edit=process(rlimits=limits)) == "fine\n"


@pytest.mark.ours
def test_the_environment_is_exactly_as_given(runtime: Runtime, bundle: Bundle) -> None:
    """Order, doubles and entries without a value are kept, and nothing is added."""
    given = [
        "B=2",
        "A=1",
        "A=other",
        "ODD",
        "EMPTY=",
        "HOME=",
        "UTF=ä€",
        *(f"N{n}=x" for n in range(300)),
    ]
    where = bundle("/bin/cat", "/proc/self/environ", edit=process(env=given))

    done = runtime.run(where)

    assert done.stdout.split("\0")[:-1] == given


def test_arguments_are_exactly_as_given(runtime: Runtime, bundle: Bundle) -> None:
    """Blanks, quotes, line ends and empty ones arrive as they are."""
    args = ["/bin/cat", "/proc/self/cmdline", "-", "", "a b", "'\"$x\n", "ä"]

    done = runtime.run(bundle(*args))

    assert done.stdout.split("\0")[:-1] == args


def test_the_program_is_looked_up_in_its_own_path(sh: Sh, runtime: Runtime, bundle: Bundle) -> None:
    """PATH is the container's, and leads into the container."""
    where = bundle("tool", edit=process(env=["PATH=/nowhere:/opt"]))
    (where / "rootfs/opt").mkdir()
    tool = where / "rootfs/opt/tool"
    tool.write_text("#!/bin/sh\necho found $0\n")
    tool.chmod(0o755)

    assert runtime.run(where).stdout == "found /opt/tool\n"


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        ("nothing", r"executable file not found in \$PATH|no such file or directory"),
        ("/nothing", r"no such file or directory"),
        ("./nothing", r"no such file or directory"),
        ("/etc/passwd", r"permission denied"),
        ("/etc", r"permission denied|is a directory"),
    ],
)
def test_a_program_that_cannot_be_run_fails_the_create(
    refusal: Refusal, program: str, wanted: str
) -> None:
    """Podman turns these words into exit codes 127 and 126."""
    assert re.search(
        wanted, refusal(lambda config: None, program).lower().replace("$path", "$PATH")
    )


def test_the_program_starts_in_its_directory(sh: Sh) -> None:
    """cwd is the working directory, and is made when the image lacks it."""
    assert sh("pwd", edit=process(cwd="/tmp")) == "/tmp\n"


def test_a_missing_directory_is_made(sh: Sh) -> None:
    """The other runtimes make it, and bundles rely on that."""
    assert sh("pwd; ls -d /new/dir", edit=process(cwd="/new/dir")) == "/new/dir\n/new/dir\n"


@pytest.mark.ours
def test_a_missing_directory_is_made_on_a_read_only_root(sh: Sh) -> None:
    """It is made before the root becomes read-only."""

    def edit(config: Config) -> None:
        config["process"]["cwd"] = "/made"
        config["root"]["readonly"] = True

    assert sh("pwd", edit=edit) == "/made\n"


def test_the_oom_score_is_set(sh: Sh) -> None:
    """oomScoreAdj is the program's."""
    assert sh("cat /proc/self/oom_score_adj", edit=process(oomScoreAdj=321)) == "321\n"


def test_signals_begin_with_their_defaults(runtime: Runtime, bundle: Bundle) -> None:
    """Nothing is ignored or blocked: Python ignores SIGPIPE, and an exec would keep that."""
    lines = status_of(runtime.run(bundle("cat", "/proc/self/status")).stdout)

    assert int(lines["SigIgn"], 16) == 0
    assert int(lines["SigBlk"], 16) == 0


def test_only_the_standard_streams_are_open(runtime: Runtime, bundle: Bundle) -> None:
    """No descriptor of the runtime or of its caller reaches the program (CVE-2024-21626)."""
    where = bundle("sh", "-c", "ls /proc/$$/fd; ls -l /proc/$$/fd >&2")
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = runtime.run(where, pass_fds=(directory,))
    finally:
        os.close(directory)

    assert done.stdout.split() == ["0", "1", "2"], done.stderr


def test_descriptors_are_preserved_on_request(runtime: Runtime, bundle: Bundle) -> None:
    """--preserve-fds hands over the ones from 3 on, at their numbers."""
    reader, writer = os.pipe()
    try:
        where = bundle("sh", "-c", "echo hello >&3")
        runtime.created(where, "c", "--preserve-fds", "1", fd3=writer)
        runtime.ok("start", "c")
        runtime.wait()

        assert os.read(reader, 100) == b"hello\n"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.ours
def test_a_descriptor_that_is_not_open_cannot_be_preserved(
    runtime: Runtime, bundle: Bundle
) -> None:
    """Create fails; the program would get somebody else's descriptor."""
    done = runtime.create(bundle("true"), "c", "--preserve-fds", "50")

    assert done.returncode == 1
    assert "not open" in runtime.output()


@pytest.mark.ours
def test_sockets_are_passed_on(runtime: Runtime, bundle: Bundle) -> None:
    """LISTEN_FDS is socket activation: the sockets from 3 on, and LISTEN_PID is the program's."""
    script = "echo $LISTEN_FDS $LISTEN_PID; readlink /proc/self/fd/3 >/dev/null && echo open"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environment = {**os.environ, "LISTEN_FDS": "1"}
        runtime.created(bundle("sh", "-c", script), fd3=theirs.fileno(), env=environment)
    runtime.ok("start", "c")
    runtime.wait()

    assert runtime.output() == "1 1\nopen\n"


def test_the_user_owns_its_streams(runtime: Runtime, bundle: Bundle) -> None:
    """A program of another user may open /dev/stdout again."""
    edit = process(user={"uid": 1000, "gid": 1000})
    runtime.created(bundle("sh", "-c", "stat -Lc %u /proc/self/fd/1 >> /dev/stdout", edit=edit))
    runtime.ok("start", "c")
    runtime.wait()

    assert runtime.output() == "1000\n"


def test_the_program_leads_a_session(sh: Sh) -> None:
    """It has no terminal of its caller's to read from or to be stopped by."""
    fields = sh("cat /proc/$$/stat").rpartition(")")[2].split()

    assert fields[3] == "1", "session"
    assert fields[4] == "0", "controlling terminal"


def test_a_terminal_goes_to_the_console_socket(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """With terminal the streams are a new one, which the listener gets the other end of."""
    script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all; read line; echo got $line"
    where = bundle("sh", "-c", script, edit=process(terminal=True))
    runtime.created(where, "c", "--console-socket", str(console.path))
    console.receive()
    runtime.ok("start", "c")

    seen = console.read_until("all")
    os.write(console.master, b"word\n")
    seen += console.read_until("got word")
    runtime.wait()

    assert re.search(r"/dev/(pts/0|console)", seen)


def test_the_terminal_controls_the_session(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """Ctrl-C on it interrupts the program."""
    script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    where = bundle("sh", "-c", script, edit=process(terminal=True))
    runtime.created(where, "c", "--console-socket", str(console.path))
    console.receive()
    runtime.ok("start", "c")
    console.read_until("ready")

    os.write(console.master, b"\x03")
    console.read_until("interrupted")

    assert runtime.wait() == 9


def test_the_terminal_has_its_size(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """consoleSize is the window's before the program starts."""
    edit = process(terminal=True, consoleSize={"height": 33, "width": 111})
    where = bundle("sh", "-c", "stty size", edit=edit)
    runtime.created(where, "c", "--console-socket", str(console.path))
    console.receive()
    runtime.ok("start", "c")
    console.read_until("33 111")
    runtime.wait()


def test_dev_console_is_the_terminal(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """What is written to /dev/console comes out at the terminal."""
    where = bundle("sh", "-c", "echo through > /dev/console", edit=process(terminal=True))
    runtime.created(where, "c", "--console-socket", str(console.path))
    console.receive()
    runtime.ok("start", "c")
    console.read_until("through")
    runtime.wait()


@pytest.mark.ours
def test_a_terminal_without_devpts_works(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """A bundle that mounts no devpts gets its terminal from an instance that nobody sees."""

    def edit(config: Config) -> None:
        config["process"]["terminal"] = True
        config["mounts"] = [one for one in config["mounts"] if one["destination"] != "/dev/pts"]

    where = bundle("sh", "-c", "test -t 0 && echo it is; ls /dev/pts", edit=edit)
    runtime.created(where, "c", "--console-socket", str(console.path))
    console.receive()
    runtime.ok("start", "c")
    console.read_until("it is")
    runtime.wait()


def test_a_terminal_needs_a_console_socket(refusal: Refusal) -> None:
    """Create cannot give the terminal to anybody else."""
    assert "socket" in refusal(process(terminal=True))


def test_a_console_socket_needs_a_terminal(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """A listener would wait for ever."""
    done = runtime.create(bundle("true"), "c", "--console-socket", str(console.path))

    assert done.returncode == 1


@pytest.mark.ours
def test_the_pidfd_socket_gets_the_first_process(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    """A listener receives a pidfd of the first process."""
    pid = runtime.created(bundle("true"), "c", "--pidfd-socket", str(console.path))
    fd = console.receive()

    assert f"Pid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{fd}").read_text()


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        ("process.args[1]", process(args=["true", 1])),
        ("process.cwd", process(cwd="relative")),
        ("process.user.uid", process(user={"uid": "root", "gid": 0})),
        ("process.rlimits", process(rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2)),
        ("process.args[0]", process(args=["a\0b"])),
        (
            "process.rlimits[0].soft: must not be above",
            process(rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 0}]),
        ),
        ("process.scheduler.policy", process(scheduler={"policy": "SCHED_LAZY"})),
        ("process.apparmorProfile", process(apparmorProfile="x")),
        ("process.selinuxLabel", process(selinuxLabel="x")),
        (
            "process.ioPriority.priority",
            process(ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 8}),
        ),
    ],
)
@pytest.mark.ours
def test_what_is_wrong_or_not_done_is_refused_by_its_path(
    refusal: Refusal, path: str, edit: Callable[[Config], object]
) -> None:
    """Nothing of a bundle is silently left out; one line names the place."""
    said = refusal(edit)

    assert f"config.json: {path}" in said
    assert len([line for line in said.splitlines() if "hint:" not in line]) == 1


@pytest.mark.needs("seccomp")
def test_seccomp_filters_the_program(sh: Sh) -> None:
    """What the profile forbids fails with the errno that it names, also for root."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}],
    }

    def edit(config: Config) -> None:
        config["linux"]["seccomp"] = profile

    text = sh("mkdir /x 2>&1; grep Seccomp: /proc/self/status", edit=edit)

    assert "Read-only file system" in text
    assert "Seccomp:\t2" in text


@pytest.mark.needs("seccomp")
@pytest.mark.parametrize("admin", [True, False])
def test_seccomp_works_without_no_new_privileges(sh: Sh, admin: bool) -> None:
    """Loading needs CAP_SYS_ADMIN then, whether or not the program is to have it."""

    def edit(config: Config) -> None:
        names = ["CAP_SYS_ADMIN"] if admin else ["CAP_KILL"]
        config["process"]["noNewPrivileges"] = False
        config["process"]["capabilities"] = dict.fromkeys(
            ("bounding", "permitted", "effective"), names
        )
        config["process"]["user"] = {"uid": 0, "gid": 0}
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
        }

    lines = status_of(sh("mkdir /x 2>/dev/null; cat /proc/self/status", edit=edit))

    assert lines["Seccomp"] == "2"
    assert lines["NoNewPrivs"] == "0"
    assert int(lines["CapEff"], 16) == 1 << (SYS_ADMIN if admin else KILL)


@pytest.mark.parametrize(
    ("uid", "home"), [(0, "/root"), (1000, "/home/me"), (7, "/")], ids=["root", "user", "unknown"]
)
def test_the_home_directory_is_what_the_image_says(
    runtime: Runtime, bundle: Bundle, uid: int, home: str
) -> None:
    """Where the bundle sets no HOME: engines leave it to the runtime."""

    def edit(config: Config) -> None:
        config["process"]["user"] = {"uid": uid, "gid": 0}

    where = bundle("sh", "-c", "echo $HOME", edit=edit)
    passwd = where / "rootfs/etc/passwd"
    passwd.unlink(missing_ok=True)
    passwd.write_text("root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n")

    assert runtime.run(where).stdout == f"{home}\n"


@pytest.mark.parametrize("kind", ["pipe", "loop", "junk"])
@pytest.mark.ours
def test_a_false_list_of_users_is_no_obstacle(runtime: Runtime, bundle: Bundle, kind: str) -> None:
    """The image may hold anything under that name."""
    where = bundle("sh", "-c", "echo $HOME")
    passwd = where / "rootfs/etc/passwd"
    passwd.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(passwd)
    elif kind == "loop":
        passwd.symlink_to("passwd")
    else:
        passwd.write_bytes(b"\0:::\n::0::::::\n\xff" * 1000)

    assert runtime.run(where).stdout == "/\n"
