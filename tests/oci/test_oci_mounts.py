"""``mounts``: what can be mounted, where, and in which order."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import SHOW_MOUNTS, bind, entry, mounts, namespaces, options_of
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


def test_mounts_are_made_in_their_order(sh: Sh) -> None:
    """A later mount covers an earlier one, also at the same place."""
    edit = mounts(entry("/mnt/a", "mode=700"), entry("/mnt", "mode=711"), entry("/mnt", "mode=755"))

    assert sh("stat -c %a /mnt; ls /mnt; grep -c /mnt /proc/self/mountinfo", edit=edit).split() == [
        "755",
        "3",
    ]


def test_relative_destinations_are_below_the_root(sh: Sh) -> None:
    """Deprecated and still right (config.md)."""
    assert options_of(sh(SHOW_MOUNTS, mounts(entry("one/two", "nosuid"))), "/one/two") >= {"nosuid"}


@pytest.mark.ours
def test_a_mount_on_the_root_becomes_the_root(sh: Sh, runtime: Runtime, bundle: Bundle) -> None:
    """What is mounted after it is below it, and the program finds itself there."""
    other = bundle("true", name="other") / "rootfs"
    (other / "mark").write_text("other")
    edit = mounts(bind(other, "/", "rbind"), entry("/late"))

    def first(config: Config) -> None:
        edit(config)
        config["mounts"] = config["mounts"][-2:] + config["mounts"][:-2]

    text = sh(f"cat /mark; echo; {SHOW_MOUNTS}", first)

    assert text.startswith("other\n")
    assert "/late" in text
    assert " /proc " in text
    assert not (runtime.directory / "b/rootfs/late").exists()


def test_a_tmpfs_has_the_mode_of_what_it_covers(sh: Sh) -> None:
    """/tmp of the image stays everybody's, a private directory private; ``mode=`` wins."""
    edit = mounts(entry("/tmp"), entry("/usr"), entry("/var", "mode=711"))

    assert sh("stat -c %a /tmp /usr /var", edit).split() == ["1777", "755", "711"]


def test_a_new_file_is_no_more_than_a_file(runtime: Runtime, bundle: Bundle) -> None:
    """Places made for mounts are plain and owned by root."""
    where = bundle("true", edit=mounts(entry("/made/here")))
    runtime.run(where)
    made = (where / "rootfs/made/here").stat()

    assert stat.S_ISDIR(made.st_mode)
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (0, 0o755)


def test_files_can_be_bound(sh: Sh, tmp_path: Path) -> None:
    """A file is mounted on a file, which is made with its directories where it is missing."""
    (tmp_path / "source").write_text("content")

    assert sh(
        "cat /new/dir/file", edit=mounts(bind(tmp_path / "source", "/new/dir/file", "bind"))
    ) == ("content")


def test_a_file_can_be_mounted_on_a_file(sh: Sh, tmp_path: Path) -> None:
    """Also twice: the later one is seen."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    edit = mounts(*(bind(tmp_path / name, "/etc/passwd", "bind", "ro") for name in ("one", "two")))

    assert sh("cat /etc/passwd", edit) == "two"


@pytest.mark.parametrize("kind", ["fifo", "socket", "link"])
def test_any_kind_of_file_can_be_bound(sh: Sh, runtime: Runtime, kind: str) -> None:
    """Sockets and fifos as they are, a link of the host as what it leads to."""
    source = runtime.directory / "s"
    wanted = {"fifo": "fifo", "socket": "socket", "link": "regular file"}[kind]
    listener = socket.socket(socket.AF_UNIX)
    if kind == "fifo":
        os.mkfifo(source)
    elif kind == "socket":
        listener.bind(str(source))
    else:
        (runtime.directory / "file").write_text("content")
        os.symlink("file", source)
    try:
        assert sh("stat -c %F /run/it", mounts(bind(source, "/run/it", "bind"))).strip() == wanted
    finally:
        listener.close()


def test_a_binds_mounts_below_come_along_with_rbind(sh: Sh, runtime: Runtime) -> None:
    """rbind takes the mounts below, bind does not."""
    top = runtime.directory / "top"
    (top / "sub").mkdir(parents=True)
    os.system(f"mount -t tmpfs t {top}/sub && > {top}/sub/mark")
    try:
        text = sh(
            "ls /one/sub; echo -; ls /two/sub",
            edit=mounts(bind(top, "/one", "rbind"), bind(top, "/two", "bind")),
        )
    finally:
        os.system(f"umount {top}/sub")

    assert text.split() == ["mark", "-"]


@pytest.mark.ours
def test_a_relative_source_is_below_the_bundle(runtime: Runtime, bundle: Bundle) -> None:
    """As the specification says of bind mounts."""
    where = bundle("cat", "/mnt/mark", edit=mounts(bind("data", "/mnt", "rbind")))
    (where / "data").mkdir()
    (where / "data/mark").write_text("here")

    assert runtime.run(where).stdout == "here"


def test_a_missing_source_is_refused(refusal: Refusal) -> None:
    """Source and destination are named."""
    said = refusal(mounts(bind("/no/such/source", "/mnt", "rbind")))

    assert "/no/such/source" in said
    assert "no such file or directory" in said


def test_mounts_in_dev_stay(sh: Sh, tmp_path: Path) -> None:
    """What the bundle mounts below /dev is not covered by the default devices."""
    (tmp_path / "file").write_text("bound")
    edit = mounts(
        bind(tmp_path / "file", "/dev/log", "bind"),
        bind("/dev/null", "/dev/null", "bind"),
        entry("/dev/volume", "mode=700"),
    )

    assert sh("cat /dev/log; stat -c %a /dev/volume", edit).strip() == "bound700"


@pytest.mark.parametrize("place", ["/proc/sys/kernel", "/proc/self/attr", "/proc/1"])
def test_proc_cannot_be_mounted_over(refusal: Refusal, tmp_path: Path, place: str) -> None:
    """What the runtime writes to procfs must arrive there (CVE-2019-16884)."""
    (tmp_path / "data").mkdir()

    assert "proc" in refusal(mounts(bind(tmp_path / "data", place, "rbind")))


def test_some_files_of_proc_can_be_mounted_over(sh: Sh, tmp_path: Path) -> None:
    """lxcfs and its kin show the container's own numbers there."""
    (tmp_path / "up").write_text("1.00 1.00")

    assert (
        sh("cat /proc/uptime", edit=mounts(bind(tmp_path / "up", "/proc/uptime", "bind")))
        == "1.00 1.00"
    )


def test_an_overlay_can_be_mounted(sh: Sh, runtime: Runtime) -> None:
    """Data with paths goes to the file system as it is."""
    top = runtime.directory
    for name in ("lower", "upper", "work"):
        (top / name).mkdir()
    (top / "lower/file").write_text("below")
    data = [f"{name}dir={top}/{name}" for name in ("lower", "upper", "work")]
    edit = mounts(entry("/mnt", *data, kind="overlay", source="overlay"))

    assert sh("cat /mnt/file; echo -n above > /mnt/file; cat /mnt/file", edit) == "belowabove"
    assert (top / "upper/file").read_text() == "above"
    assert (top / "lower/file").read_text() == "below"


@pytest.mark.parametrize("kind", ["ramfs", "tmpfs", "mqueue", "devpts", "proc", "sysfs"])
def test_file_systems_of_the_kernel_can_be_mounted_anywhere(sh: Sh, kind: str) -> None:
    """Each where a bundle wants it."""
    text = sh(SHOW_MOUNTS, mounts(entry("/mnt", "nosuid", kind=kind, source=kind)))

    line = next(line for line in text.splitlines() if line.split()[4] == "/mnt")
    assert line.split(" - ")[1].split()[0] == kind


@pytest.mark.vm
@pytest.mark.parametrize("own", [True, False])
def test_the_cgroups_can_be_mounted(sh: Sh, own: bool) -> None:
    """A mount of type cgroup shows the machine's hierarchies, read-only when asked."""

    def edit(config: dict[str, Any]) -> None:
        config["mounts"].append(
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "ro"]}
        )  # fmt: skip
        if not own:
            namespaces(cgroup=None)(config)

    text = sh("cat /proc/self/mountinfo; mkdir /sys/fs/cgroup/x 2>&1; true", edit=edit)

    trees = [line for line in text.splitlines() if " - cgroup" in line]
    assert trees
    assert all(line.split()[5].startswith("ro") for line in trees)
    assert "can't create directory" in text


@pytest.mark.vm
@pytest.mark.ours
def test_the_v2_tree_alone_can_be_mounted(sh: Sh) -> None:
    """Type cgroup2 on a machine that has v1 hierarchies as well."""
    text = sh(SHOW_MOUNTS, mounts(entry("/mnt", "ro", kind="cgroup2", source="cgroup")))

    line = next(line for line in text.splitlines() if line.split()[4] == "/mnt")
    assert " - cgroup2 " in line
    assert line.split()[5].startswith("ro")


def test_mounts_do_not_reach_the_host(runtime: Runtime, bundle: Bundle) -> None:
    """The host's mount table is the same while the container exists."""
    before = Path("/proc/self/mountinfo").read_text()
    runtime.created(bundle("true", edit=mounts(entry("/mnt"))))

    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.ours
def test_a_mount_that_fails_leaves_nothing(refusal: Refusal, tmp_path: Path) -> None:
    """The mounts made before it go with the namespace, and the message says which failed."""
    before = Path("/proc/self/mountinfo").read_text()

    said = refusal(mounts(entry("/mnt"), {"destination": "/x", "type": "nofs", "source": "n"}))

    assert "mounts[7]" in said
    assert "no such device" in said
    assert Path("/proc/self/mountinfo").read_text() == before
