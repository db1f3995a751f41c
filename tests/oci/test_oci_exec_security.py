"""Attacks on ``exec`` from hostile containers, done for real."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreterattack import ATTACK, PYTHON, add_python
from runtimes import NAME, OURS, RUNTIME, TIMEOUT_S, Config, Runtime, until
from spying import SPY

Bundle = Callable[..., Path]
Running = Callable[..., int]

MANY = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_FOWNER",
        "CAP_SETUID", "CAP_SETGID", "CAP_KILL"]  # fmt: skip


def powerful(*more: str) -> Callable[[Config], object]:
    """Return a change that gives the container's programs what an attack could use, and more.

    CAP_SYS_PTRACE on the host needs no attack, it may look at everything. CAP_SYS_ADMIN and
    CAP_PERFMON may read the memory map and the environment of everybody (mm_access() in the
    kernel).
    """

    def edit(config: Config) -> None:
        sets = ("bounding", "permitted", "effective")
        config["process"]["capabilities"] = {key: [*MANY, *more] for key in sets}

    return edit


def inside(pid: int, script: str) -> None:
    """Do in a container, as root of the host, what a process of it with privileges could do."""
    command = ["nsenter", "--target", str(pid), "--mount", "/bin/busybox", "sh", "-ec", script]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)


@pytest.mark.ours
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("entry", ["program", "script"])
def test_the_interpreter_cannot_be_written_by_an_exec(
    runtime: Runtime, running: Running, tmp_path: Path, entry: str, prepared: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A program that is /proc/self/exe is our interpreter, run inside; it is read-only there.

    The way of CVE-2019-5736 by exec: the container waits until somebody executes anything.
    """
    if not prepared:
        blocked = tmp_path / "prefix"
        (blocked / "var/run/uxc").mkdir(parents=True)
        (blocked / "var/run/uxc/interp").write_text("a file where the directory would be")
        monkeypatch.setenv("UXC_PREFIX", str(blocked))
    running(powerful("CAP_SYS_ADMIN"))
    rootfs = tmp_path / "b/rootfs"
    add_python(rootfs)
    attack = rootfs / "attack.py"
    attack.write_text(("#!/proc/self/exe\n" if entry == "script" else "") + ATTACK)
    attack.chmod(0o755)
    before = PYTHON.stat()

    words = ["/proc/self/exe", "-I", "/attack.py"] if entry == "program" else ["/attack.py"]
    done = runtime.call("exec", "c", *words)

    assert "done" in done.stdout, done.stderr
    assert "BROKEN" not in done.stdout
    assert done.stdout.count("refused") == 6
    after = PYTHON.stat()
    assert (after.st_mode, after.st_mtime, after.st_size) == (
        before.st_mode,
        before.st_mtime,
        before.st_size,
    )


@pytest.mark.ours
@pytest.mark.parametrize("more", [(), ("CAP_SYS_ADMIN",)])
@pytest.mark.parametrize("options", [(), ("--user", "1000"), ("--tty",)])
def test_a_process_that_joins_shows_nothing(
    runtime: Runtime, running: Running, tmp_path: Path, options: tuple[str, ...],
    more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Who waits in the container for a joining process cannot look into it (CVE-2016-9962).

    Neither its files and directories nor its memory, environment or command line.
    """
    place = str(tmp_path)
    monkeypatch.setenv("HOST_SECRET", "of-the-host")
    running(powerful(*more), "/bin/sh", "-c", "until [ -e /go ]; do sleep 0.01; done; "
            f"exec /python -I -S /spy.py {place} {' '.join(more)}")  # fmt: skip
    rootfs = tmp_path / "b/rootfs"
    add_python(rootfs)
    shutil.copy(PYTHON, rootfs / "python")
    (rootfs / "spy.py").write_text(SPY)
    (rootfs / "go").touch()
    until(lambda: "ready" in runtime.output(), "the spy")

    # The last one may be looked at when it runs: so the spy can look, and knows the difference.
    for last in [*[()] * 25, ("sleep", "0.3")]:
        extra = () if last else options
        words = ("exec", *extra, "--env", "SECRET=of-the-caller", "c", *(last or ("true",)))
        done = runtime.call(*words)
        assert done.returncode == 0, done.stderr
    (rootfs / "stop").touch()
    until(lambda: "done" in runtime.output(), "the end of the spy")

    seen = runtime.output()
    assert "BROKEN" not in seen
    words = {line.split()[0]: line.split()[1:] for line in seen.splitlines()}
    assert any("python" in name for name in words["denied"]), f"it saw nobody join: {seen}"
    assert "/bin/busybox" in words["allowed"], f"it cannot look at all: {seen}"
    assert "of-the-caller" not in seen
    assert place not in seen


TRAPS = [f"/proc/self/fd/{fd}" for fd in range(3, 12)]


@pytest.mark.parametrize("place", [*TRAPS, "/proc/self/fd/7/../..", "/trap"])
def test_an_executed_process_cannot_begin_outside(
    runtime: Runtime, running: Running, tmp_path: Path, place: str
) -> None:
    """A cwd of /proc/self/fd/N, also behind a link, would be the host's (CVE-2024-21626)."""
    running()
    (tmp_path / "b/rootfs/trap").symlink_to("/proc/self/fd/8")

    done = runtime.call("exec", "--cwd", place, "c", "pwd")

    assert (done.returncode, done.stdout) == (255, "")


@pytest.mark.ours
@pytest.mark.parametrize("place", ["/proc/self/root", "/proc/self/cwd", "/proc/1/root"])
def test_no_magic_link_is_a_working_directory(
    runtime: Runtime, running: Running, place: str
) -> None:
    """What such a link leads to depends on who looks at it, and when."""
    running()

    assert runtime.call("exec", "--cwd", place, "c", "pwd").returncode == 255


@pytest.mark.ours
@pytest.mark.parametrize("words", [("c", "true"), ("c", "nothere"), ("--tty", "c", "true")])
def test_nothing_of_a_container_is_imported(
    runtime: Runtime, running: Running, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Poisoned modules, libraries and look-up files in the container are never read by exec."""
    running()
    rootfs = tmp_path / "b/rootfs"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    poison = "import posix\nposix.mkdir('/poisoned')\n"
    for place in (f"usr/lib/{version}", f"usr/local/lib/{version}/dist-packages", ""):
        directory = rootfs / place
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("os", "warnings", "encodings", "sitecustomize", "re", "traceback", "uxc"):
            (directory / f"{name}.py").write_text(poison)
    (rootfs / "etc/nsswitch.conf").write_text("passwd: poison\nhosts: poison\n")
    (rootfs / "etc/ld.so.preload").write_text("/poison.so\n")
    checkout = rootfs / str(Path(OURS).parents[1] / "lib/uxc").lstrip("/")
    (checkout / "oci").mkdir(parents=True)
    for name in ("errors.py", "oci/program.py", "oci/attributes.py"):
        (checkout / name).write_text(poison)

    done = runtime.call("exec", *words)

    assert done.returncode == (255 if "nothere" in words else 0), done.stderr
    assert not (rootfs / "poisoned").exists()


MULTIPLEXERS = {
    "a fifo": "umount /dev/pts; mkfifo /dev/pts/ptmx",
    "another device": "umount /dev/pts; mknod /dev/pts/ptmx c 1 3",
    "a directory elsewhere":
        "umount /dev/pts; rmdir /dev/pts; mkfifo /tmp/ptmx; ln -s /tmp /dev/pts",
    "a file mounted over it": "mkfifo /tmp/f; mount --bind /tmp/f /dev/pts/ptmx",
    "none": "umount /dev/pts; rmdir /dev/pts",
}  # fmt: skip


@pytest.mark.ours
@pytest.mark.parametrize("what", MULTIPLEXERS)
def test_a_false_multiplexer_is_not_opened_by_exec(
    runtime: Runtime, running: Running, what: str
) -> None:
    """A container may put anything where its terminals come from (CVE-2025-52565).

    The program gets a real terminal or does not run; nothing else is opened, and nobody waits for
    the other end of a FIFO.
    """
    pid = running()
    inside(pid, MULTIPLEXERS[what])
    script = "test -t 0 && exec 3<>/dev/tty && test -t 3 && echo real"

    done = runtime.call("exec", "--tty", "c", "sh", "-c", script)

    assert (done.returncode, done.stdout.strip()) in [(0, "real"), (255, "")]
    if what in ("a directory elsewhere", "a file mounted over it"):
        assert done.returncode == 255, "a link was followed, or a mount crossed"


def test_what_is_mounted_over_proc_is_not_believed(runtime: Runtime, running: Running) -> None:
    """A container that hides or forges its /proc gets the same process as any other."""
    pid = running()
    inside(pid, "mount -t tmpfs none /proc; mkdir -p /proc/self /proc/thread-self")
    inside(pid, "for each in self thread-self; do echo 7 7 7 >/proc/$each/uid_map; done")

    done = runtime.call("exec", "c", "id", "-u")

    if NAME != "uxc-runtime" and done.returncode:
        return
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.ours
def test_a_pid_that_is_somebody_elses_is_not_joined(runtime: Runtime, running: Running) -> None:
    """The record holds the start time as well: a number alone comes again."""
    pid = running()
    path = runtime.root / "c/state.json"
    text = path.read_text()
    record = json.loads(text)
    record["startTime"] -= 1
    path.write_text(json.dumps(record))

    done = runtime.call("exec", "c", "true")
    path.write_text(text)

    assert done.returncode == 255
    assert "cannot exec in a stopped container" in done.stderr
    assert os.path.exists(f"/proc/{pid}")


def test_nothing_of_the_caller_goes_inside(runtime: Runtime, running: Running) -> None:
    """Neither descriptors that it has open, nor its environment."""
    running()
    secret = os.open("/etc", os.O_RDONLY)
    script = "env; for fd in /proc/$$/fd/*; do readlink $fd; done; true"
    environment = {**os.environ, "HOST_SECRET": "of-the-caller"}
    done = subprocess.run(
        [RUNTIME, "--root", str(runtime.root), "exec", "c", "sh", "-c", script],
        pass_fds=(secret,), env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    os.close(secret)

    assert done.returncode == 0, done.stderr
    assert "of-the-caller" not in done.stdout
    assert "/etc" not in done.stdout


@pytest.mark.ours
def test_no_key_of_the_caller_can_be_read(runtime: Runtime, running: Running) -> None:
    """The session keyring is a new one; keys in that of the caller stay there."""
    running()
    words = ["--root", str(runtime.root), "exec", "c", "cat", "/proc/keys"]
    serial = subprocess.run(
        [sys.executable, "-c",
         "import ctypes, subprocess, sys\n"
         "libc = ctypes.CDLL(None)\n"
         "libc.syscall(250, 1, b'uxc-test')\n"
         "key = libc.syscall(248, b'user', b'uxc-test-key', b'secret', 6, -3)\n"
         "assert key > 0\n"
         "print(subprocess.run(sys.argv[1:], capture_output=True, text=True).stdout)"
         , RUNTIME, *words],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip

    assert serial.returncode == 0, serial.stderr
    assert "uxc-test" not in serial.stdout


@pytest.mark.ours
def test_a_container_that_kills_whoever_joins(runtime: Runtime, running: Running) -> None:
    """As root of the host it may; the caller is told what happened, and is not harmed."""
    script = "while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; "
    script += "[ $p = 1 ] || kill -9 $p 2>/dev/null; done; done"
    running(powerful(), "sh", "-c", script)
    said = set()
    for _ in range(12):
        done = runtime.call("exec", "c", "sleep", "1")
        assert done.returncode in (255, 128 + 9)
        said.update(line for line in done.stderr.splitlines() if "hint: " not in line)

    assert said <= {"uxc-runtime: the process that joins the container was killed"}
    assert said, "nobody was killed early enough"
