"""Images and neighbours that want the runtime's mounts, nodes and files to end up on the host.

The races are real: another process swaps a place of the image with a symbolic link to the host, as
fast as the kernel can, while containers are made for a second or two.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs import bind, entry, without_dev
from runtimes import Config, ConsoleSocket, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

RENAME_EXCHANGE = 2
AT_FDCWD = -100
RACE_S = 2.0

LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def swapped(one: Path, other: Path) -> Iterator[None]:
    """Let another process exchange two names without a pause."""
    names = str(one).encode(), str(other).encode()
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                LIBC.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Outside:
    """A directory of the host that nothing may happen to."""

    def __init__(self, top: Path) -> None:
        """Fill it with one of each kind of target."""
        self.top = top
        (top / "deep").mkdir(parents=True)
        (top / "file").write_text("the host's")
        self._before = self.look()

    def look(self) -> list[tuple[str, int, int, int]]:
        """Return what is there, and how it is."""
        found = []
        for place in sorted(self.top.rglob("*")):
            what = place.lstat()
            found.append((str(place), what.st_mode, what.st_size, what.st_dev))
        return found

    def check(self) -> None:
        """Fail when anything is there that was not, or is mounted."""
        assert self.look() == self._before
        assert str(self.top) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """Return a directory of the host."""
    return Outside(tmp_path / "outside")


def race(runtime: Runtime, where: Path, outside: Outside) -> set[int]:
    """Make containers again and again; return the exit codes that were seen."""
    codes = set()
    end = time.monotonic() + RACE_S
    while time.monotonic() < end or len(codes) == 0:
        codes.add(runtime.create(where).returncode)
        outside.check()
        runtime.tidy()
    return codes


def test_the_race_beats_a_runtime_that_looks_first(tmp_path: Path, outside: Outside) -> None:
    """The attack is one: who checks a path and then mounts on it is led out (CVE-2021-30465)."""
    place, link = tmp_path / "root/place", tmp_path / "root/link"
    place.mkdir(parents=True)
    os.symlink(outside.top, link)
    beaten = 0
    end = time.monotonic() + 20
    with swapped(place, link):
        while not beaten and time.monotonic() < end:
            if place.is_symlink():
                continue
            # What it was when it was looked at is not what it is now.
            if LIBC.mount(b"t", str(place).encode(), b"tmpfs", 0, None) == 0:
                beaten += str(outside.top) in Path("/proc/self/mountinfo").read_text()
                for target in (outside.top, place, link):
                    subprocess.run(["umount", "-q", str(target)], check=False)

    assert beaten
    while str(tmp_path) in Path("/proc/self/mountinfo").read_text():
        for target in (outside.top, place, link):
            subprocess.run(["umount", "-q", str(target)], check=False)


@pytest.mark.parametrize(
    "mount",
    [entry("/place/deep"), entry("/place/new/and/more"), entry("/place"), "file", "new-file"],
    ids=["directory", "new-directory", "itself", "file", "new-file"],
)
def test_mounts_stay_inside_while_their_place_is_swapped(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, outside: Outside, mount: Config | str
) -> None:
    """Targets, and directories and files made for them (CVE-2021-30465, 2024-45310, 2019-18837)."""
    (tmp_path / "data").write_text("data")
    if isinstance(mount, str):
        mount = bind(tmp_path / "data", f"/place/{mount}", "bind")

    where = bundle("true", edit=lambda config: config["mounts"].append(mount))
    place, link = where / "rootfs/place", where / "rootfs/link"
    (place / "deep").mkdir(parents=True)
    (place / "file").write_text("")
    os.symlink(outside.top, link)
    with swapped(place, link):
        race(runtime, where, outside)


@pytest.mark.ours
def test_tmpcopyup_copies_nothing_of_the_host(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, outside: Outside
) -> None:
    """A directory that becomes a link while it is copied shows the image's, or is an error."""
    secret = outside.top / "deep/secret"
    secret.write_text("secret")
    outside = Outside(tmp_path / "outside/other")

    def edit(config: Config) -> None:
        config["mounts"].append(entry("/data", "tmpcopyup"))

    where = bundle("sh", "-c", "cat /data/*/secret; true", edit=edit)
    place, link = where / "rootfs/data/place", where / "rootfs/data/link"
    place.mkdir(parents=True)
    (place / "secret").write_text("-")
    os.symlink(secret.parent, link)
    seen = set()
    end = time.monotonic() + RACE_S
    with swapped(place, link):
        while time.monotonic() < end:
            seen |= set(runtime.run(where).stdout)
            runtime.tidy()

    # The container itself may find the link, which leads nowhere inside.
    assert seen <= {"-"}
    assert seen, "never once was anything copied"


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_are_never_mounted_elsewhere(
    runtime: Runtime, bundle: Bundle, outside: Outside, name: str
) -> None:
    """A /proc or /sys that is a link for a moment (CVE-2019-19921, 2023-27561, 2023-28642)."""
    script = f"grep -c ' /{name} ' /proc/self/mountinfo; ls -d /elsewhere/* 2>/dev/null"
    where = bundle("sh", "-c", script)
    link = where / "rootfs/link"
    (where / "rootfs/elsewhere").mkdir()
    os.symlink("/elsewhere", link)
    codes = set()
    end = time.monotonic() + RACE_S
    with swapped(where / "rootfs" / name, link):
        while time.monotonic() < end:
            done = runtime.run(where)
            codes.add(done.returncode)
            # When the container came up, it was made with a directory, which the swapping may have
            # moved since: then there is no /proc to read, and nothing in the other place either.
            assert "/elsewhere/" not in done.stdout
            runtime.tidy()
    outside.check()

    assert codes


@pytest.mark.ours
@pytest.mark.parametrize("what", ["tmpfs", "bind", "link"])
def test_a_false_proc_is_refused(refusal: Refusal, tmp_path: Path, what: str) -> None:
    """A volume on /proc would have the container's labels written to its files (CVE-2019-16884).

    Images can ask for volumes, and can have links at their places.
    """
    (tmp_path / "volume/self/attr").mkdir(parents=True)
    (tmp_path / "volume/self/attr/exec").write_text("")

    def edit(config: Config) -> None:
        if what == "link":
            os.symlink("proc", tmp_path / "b/rootfs/data")
            config["mounts"].append(bind(tmp_path / "volume", "/data", "rbind"))
        elif what == "bind":
            config["mounts"].append(bind(tmp_path / "volume", "/./proc/", "rbind"))
        else:
            config["mounts"][0] = entry("/proc")

    assert "proc" in refusal(edit)


@pytest.mark.parametrize("kind", ["masked", "readonly"])
def test_masks_stay_inside_while_their_place_is_swapped(
    runtime: Runtime, bundle: Bundle, outside: Outside, kind: str
) -> None:
    """Masking must hide the container's file, not the host's."""

    def edit(config: Config) -> None:
        config["linux"][f"{kind}Paths"] = ["/place/file", "/place/deep"]

    where = bundle("true", edit=edit)
    place, link = where / "rootfs/place", where / "rootfs/link"
    (place / "deep").mkdir(parents=True)
    (place / "file").write_text("")
    os.symlink(outside.top, link)
    with swapped(place, link):
        codes = race(runtime, where, outside)

    assert 0 in codes


@pytest.mark.ours
def test_masks_are_real_while_the_null_device_is_swapped(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """A /dev of the image whose null is a link for a moment (CVE-2025-31133).

    Masked files would show, and could be written to, what the link leads to.
    """

    def edit(config: Config) -> None:
        without_dev(config)
        config["mounts"].append(bind(tmp_path / "dev", "/dev", "rbind"))
        config["linux"]["maskedPaths"] = ["/etc/passwd"]

    dev = tmp_path / "dev"
    dev.mkdir()
    (dev / "fake").write_text("shown")
    os.symlink("fake", dev / "link")
    os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
    where = bundle("sh", "-c", "cat /etc/passwd; echo x > /etc/passwd; echo -", edit=edit)
    seen = set()
    end = time.monotonic() + RACE_S
    with swapped(dev / "null", dev / "link"):
        while time.monotonic() < end:
            seen.add(runtime.run(where).stdout)
            runtime.tidy()

    assert seen == {"-\n"}
    assert (dev / "fake").read_text() == "shown"


@pytest.mark.ours
def test_devices_stay_inside_while_dev_is_swapped(
    runtime: Runtime, bundle: Bundle, outside: Outside
) -> None:
    """Nodes and links for /dev are not made on the host (CVE-2026-41579)."""
    where = bundle("true", edit=without_dev)
    link = where / "rootfs/link"
    os.symlink(outside.top, link)
    with swapped(where / "rootfs/dev", link):
        race(runtime, where, outside)


@pytest.mark.ours
@pytest.mark.parametrize("target", ["/proc/1/environ", "fake", "outside"])
def test_the_console_is_not_mounted_through_a_link(
    runtime: Runtime, bundle: Bundle, outside: Outside, tmp_path: Path,
    console: ConsoleSocket, target: str,
) -> None:  # fmt: skip
    """/dev/console of the image may be a link, before any path is masked (CVE-2025-52565)."""

    def edit(config: Config) -> None:
        config["process"]["terminal"] = True
        config["mounts"] = [
            one for one in config["mounts"] if one["destination"] not in ("/dev", "/dev/shm")
        ]

    where = bundle("cat", "/proc/self/mountinfo", edit=edit)
    rootfs = where / "rootfs"
    (rootfs / "dev/pts").mkdir()
    (rootfs / "dev/fake").write_text("")
    os.symlink(outside.top / "file" if target == "outside" else target, rootfs / "dev/console")

    done = runtime.create(where, "c", "--console-socket", str(console.path))

    outside.check()
    if done.returncode:
        assert "/dev/console" in runtime.output()
        return
    console.receive()
    runtime.ok("start", "c")
    seen = console.read_until("/dev/pts ")
    assert runtime.wait("c") == 0
    assert "/proc/1/environ" not in seen


@pytest.mark.ours
def test_sysctls_go_to_the_kernel(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """What a neighbour mounted over files of its /proc takes nothing from us (CVE-2025-52881).

    The new container joins the neighbour's mount namespace, in which /proc lies.
    """

    def hostile(config: Config) -> None:
        for name in ("bounding", "permitted", "effective"):
            config["process"]["capabilities"][name] = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
        config["linux"]["readonlyPaths"] = []
        config["process"]["noNewPrivileges"] = False
        config["mounts"].append(bind(tmp_path, str(tmp_path), "rbind"))

    script = f"cp /proc/sys/net/ipv4/ip_forward {tmp_path}/trap && "
    script += f"mount --bind {tmp_path}/trap /proc/sys/net/ipv4/ip_forward && echo set; sleep 60"
    neighbour = runtime.created(bundle("sh", "-c", script, edit=hostile, name="n"), "n")
    runtime.ok("start", "n")
    end = time.monotonic() + 10
    while "set" not in runtime.output("n"):
        assert time.monotonic() < end, runtime.output("n")
        time.sleep(0.01)

    def edit(config: Config) -> None:
        config["linux"]["namespaces"] = [
            {**one, "path": f"/proc/{neighbour}/ns/mnt"} if one["type"] == "mount" else one
            for one in config["linux"]["namespaces"]
        ]
        config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}

    before = (tmp_path / "trap").read_text()
    done = runtime.run(bundle("cat", "/proc/sys/net/ipv4/ip_forward", edit=edit))

    assert done.stdout == "1\n", done.stderr
    assert (tmp_path / "trap").read_text() == before == "0\n"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_places_for_mounts_are_made_inside(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, outside: Outside, kind: str
) -> None:
    """A link of the image that leads to a missing place of the host (CVE-2019-18837)."""
    source = tmp_path / "source"
    if kind == "file":
        source.write_text("")
    else:
        source.mkdir()
    where = bundle(
        "true", edit=lambda config: config["mounts"].append(bind(source, "/link/new", "rbind"))
    )
    os.symlink(outside.top, where / "rootfs/link")

    runtime.run(where)

    outside.check()


def test_a_working_directory_is_made_inside(
    runtime: Runtime, bundle: Bundle, outside: Outside
) -> None:
    """A cwd that is missing is made where the container would find it."""
    where = bundle("pwd", edit=lambda config: config["process"].update(cwd="/link/new"))
    os.symlink(outside.top, where / "rootfs/link")

    runtime.run(where)

    outside.check()
