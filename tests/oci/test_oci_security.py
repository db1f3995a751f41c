"""Attacks from hostile images and containers, done for real."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreterattack import ATTACK, PYTHON, add_python
from runtimes import OURS, Config, ConsoleSocket, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]

ALL = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_FOWNER"]


def everything(config: Config) -> None:
    """Give the program the capabilities that an attack could use."""
    sets = ("bounding", "permitted", "effective")
    config["process"]["capabilities"] = dict.fromkeys(sets, ALL)


@pytest.mark.ours
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("entry", ["program", "script"])
def test_the_interpreter_of_the_host_cannot_be_written(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, entry: str, prepared: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An image makes the kernel run our interpreter inside, and writes to it (CVE-2019-5736).

    By an entry point /proc/self/exe, and by a script whose interpreter that is; from the prepared
    mount and from the copy of a second start.
    """
    if not prepared:
        blocked = tmp_path / "prefix"
        (blocked / "var/run/uxc").mkdir(parents=True)
        (blocked / "var/run/uxc/interp").write_text("a file where the directory would be")
        monkeypatch.setenv("UXC_PREFIX", str(blocked))
    words = ["/proc/self/exe", "-I", "/attack.py"] if entry == "program" else ["/attack.py"]
    where = bundle(*words, edit=everything)
    attack = where / "rootfs/attack.py"
    attack.write_text(("#!/proc/self/exe\n" if entry == "script" else "") + ATTACK)
    attack.chmod(0o755)
    add_python(where / "rootfs")
    before = PYTHON.stat()
    content = PYTHON.read_bytes()

    done = runtime.run(where)

    assert "done" in done.stdout, done.stderr
    assert "BROKEN" not in done.stdout
    assert done.stdout.count("refused") == 6
    after = PYTHON.stat()
    assert (after.st_mode, after.st_mtime, after.st_size) == (
        before.st_mode,
        before.st_mtime,
        before.st_size,
    )
    assert PYTHON.read_bytes() == content


@pytest.mark.ours
def test_the_attack_works_on_an_unprotected_interpreter(tmp_path: Path) -> None:
    """What the test above does is an attack: on a copy that nobody protects it succeeds."""
    copy = tmp_path / "python3"
    shutil.copy(PYTHON, copy)
    script = tmp_path / "attack.py"
    script.write_text(ATTACK)

    done = subprocess.run([str(copy), "-I", str(script)], capture_output=True, text=True)

    assert "BROKEN chmod" in done.stdout, done.stderr


@pytest.mark.ours
def test_the_prepared_interpreter_has_the_systems_library(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python looks for its library from where it lies upwards: /var/lib, and /var is /tmp.

    On OpenWrt everybody may make /tmp/lib/python3.11, which root would import.
    """
    prefix = tmp_path / "prefix"
    (prefix / "var/run").mkdir(parents=True)
    monkeypatch.setenv("UXC_PREFIX", str(prefix))
    # No bundle is here: that is found out after the mount was prepared.
    runtime.create(tmp_path)
    prepared = prefix / "var/run/uxc/interp/python3"
    assert prepared.samefile(PYTHON), "nothing was prepared, so there is nothing to attack"
    library = prefix / "var/lib/python{}.{}".format(*sys.version_info)
    (library / "encodings").mkdir(parents=True)
    (library / "lib-dynload").mkdir()
    (library / "os.py").write_text("")
    (library / "encodings/__init__.py").write_text(
        f"import posix\nposix.mkdir({str(tmp_path / 'poisoned')!r})\n"
    )

    done = subprocess.run([OURS, "--root", str(runtime.root), "list"], capture_output=True)

    subprocess.run(["umount", str(prepared)], check=True)
    assert not (tmp_path / "poisoned").exists()
    assert done.returncode == 0, done.stderr


@pytest.mark.ours
def test_a_parked_process_shows_nothing(runtime: Runtime, bundle: Bundle) -> None:
    """Another process of the same user in its pid namespace cannot look into it (CVE-2016-9962)."""
    holder = runtime.created(bundle("sleep", "60"), "holder")
    runtime.ok("start", "holder")

    def edit(config: Config) -> None:
        config["linux"]["namespaces"] = [
            {**one, "path": f"/proc/{holder}/ns/pid"} if one["type"] == "pid" else one
            for one in config["linux"]["namespaces"]
        ]
        # Frozen at its execve it would be the program, with nothing of ours in it.
        config["annotations"] = {"org.openwrt.uxc.frozen-at-exec": "false"}

    runtime.created(bundle("true", edit=edit, name="parked"), "parked")
    script = "for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || "
    script += "{ cat $p/comm; ls -l $p/exe $p/root $p/fd; }; done 2>&1; true"
    runtime.created(bundle("sh", "-c", script, edit=edit, name="spy"), "spy")
    runtime.ok("start", "spy")
    runtime.wait("spy")

    seen = runtime.output("spy")
    assert runtime.status("parked") == "created", "it did not outlive its create"
    assert "python" in seen, f"the spy did not see the parked process at all: {seen}"
    for name in ("exe", "root", "fd/0"):
        assert re.search(f"/{name}: cannot read link: Permission denied", seen)
    assert "->" not in seen


@pytest.mark.ours
def test_nothing_of_the_image_is_imported(runtime: Runtime, bundle: Bundle) -> None:
    """Poisoned modules, libraries and look-up files in the image are never read by us."""
    where = bundle("sh", "-c", "ls /poisoned 2>/dev/null; true")
    rootfs = where / "rootfs"
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
    checkout.mkdir(parents=True)
    (checkout / "errors.py").write_text(poison)

    done = runtime.run(where)

    assert done.returncode == 0, done.stderr
    assert not (rootfs / "poisoned").exists()


@pytest.mark.parametrize("fd", range(3, 12))
def test_a_working_directory_cannot_lead_out(runtime: Runtime, bundle: Bundle, fd: int) -> None:
    """A cwd of /proc/self/fd/N would be a directory of the host (CVE-2024-21626)."""
    place = f"/proc/self/fd/{fd}"
    where = bundle("pwd", edit=lambda config: config["process"].update(cwd=place))
    done = runtime.create(where)

    assert done.returncode == 1


RENAME_EXCHANGE = 2
AT_FDCWD = -100


@pytest.mark.ours
def test_a_place_that_is_swapped_for_a_link_stays_inside(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """While a container is made, another one swaps the mount's place with a link to the host.

    The classic race (CVE-2021-30465): checked is one thing, mounted on is another.
    """
    outside = tmp_path / "outside"
    outside.mkdir()

    def edit(config: Config) -> None:
        config["mounts"].append(
            {"destination": "/place/deep", "type": "tmpfs", "source": "t", "options": []}
        )

    where = bundle("true", edit=edit)
    place, link = where / "rootfs/place", where / "rootfs/link"
    (place / "deep").mkdir(parents=True)
    (outside / "deep").mkdir()
    os.symlink(outside, link)
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    names = str(place).encode(), str(link).encode()

    def swap() -> None:
        while not stop.is_set():
            libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(25):
            runtime.create(where)
            for line in Path("/proc/self/mountinfo").read_text().splitlines():
                assert str(outside) not in line
            assert os.listdir(outside) == ["deep"]
            assert os.listdir(outside / "deep") == []
            runtime.tidy()
    finally:
        stop.set()
        swapper.join()


@pytest.mark.ours
def test_a_false_null_device_does_not_mask(runtime: Runtime, bundle: Bundle) -> None:
    """Files are masked by the host's null device, not by what is at /dev/null (CVE-2025-31133)."""

    def edit(config: Config) -> None:
        config["mounts"] = [one for one in config["mounts"] if "/dev" not in one["destination"]]
        config["mounts"].append({"destination": "/dev", "type": "bind", "source": "fake",
                                 "options": ["rbind"]})  # fmt: skip
        config["linux"]["maskedPaths"] = ["/etc/passwd"]

    where = bundle("sh", "-c", "cat /etc/passwd; echo -", edit=edit)
    (where / "fake").mkdir()
    (where / "fake/null").write_text("shown")

    done = runtime.run(where)

    assert done.stdout == "-\n"


@pytest.mark.ours
@pytest.mark.parametrize("kind", ["fifo", "device", "link"])
def test_a_false_multiplexer_is_not_opened(
    runtime: Runtime, bundle: Bundle, console: ConsoleSocket, kind: str
) -> None:
    """With a /dev/pts that is no devpts of ours the terminal comes from one that is.

    What lies at /dev/pts/ptmx is the image's (CVE-2025-52565); a fifo there would hang the create.
    """
    fake = runtime.directory / "pts"
    fake.mkdir()
    if kind == "fifo":
        os.mkfifo(fake / "ptmx")
    elif kind == "device":
        os.mknod(fake / "ptmx", 0o20666, os.makedev(1, 3))
    else:
        (fake / "ptmx").symlink_to("/proc/self/fd/0")

    def edit(config: Config) -> None:
        config["process"]["terminal"] = True
        config["mounts"] = [one for one in config["mounts"] if one["destination"] != "/dev/pts"]
        config["mounts"].append(
            {"destination": "/dev/pts", "type": "bind", "source": str(fake), "options": ["bind"]}
        )

    where = bundle("sh", "-c", "test -t 0 && test -t 1 && echo real", edit=edit)
    done = runtime.create(where, "c", "--console-socket", str(console.path))
    assert done.returncode == 0, runtime.output()
    console.receive()
    runtime.ok("start", "c")

    assert console.read_until("real")
    assert runtime.wait("c") == 0


def test_the_state_is_for_root_alone(runtime: Runtime, bundle: Bundle) -> None:
    """Annotations and paths of containers are nobody else's business."""
    runtime.created(bundle("true"))

    assert (runtime.root / "c").stat().st_mode & 0o077 in (0, 0o011)


def test_the_session_keyring_is_new(sh: Sh) -> None:
    """The program has a session keyring of its own, and not that of the caller."""
    theirs = set(re.findall(r"(\w+) .*keyring +_ses", Path("/proc/keys").read_text()))

    def edit(config: Config) -> None:
        config["linux"]["maskedPaths"] = []

    own = set(re.findall(r"(\w+) .*keyring +_ses", sh("cat /proc/keys", edit=edit)))

    assert own - theirs
