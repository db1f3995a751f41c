"""config.json's ``root``, ``mounts``, devices, masked and read-only paths."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rootfs import busybox
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


def mounts(*more: Config) -> Callable[[Config], object]:
    """Return a change that adds mounts behind the usual ones."""
    return lambda config: config["mounts"].extend(more)


def tmpfs(destination: str, *options: str) -> Config:
    """Return a tmpfs mount."""
    return {"destination": destination, "type": "tmpfs", "source": "t", "options": list(options)}


def bind(source: object, destination: str, *options: str) -> Config:
    """Return a bind mount."""
    given = {"destination": destination, "source": str(source), "options": list(options)}
    return {"type": "bind", **given}


def options_of(mountinfo: str, target: str) -> set[str]:
    """Return the options of the last mount at ``target``."""
    found: set[str] = set()
    for line in mountinfo.splitlines():
        words = line.split()
        if words[4] == target:
            found = set(words[5].split(","))
    assert found, f"nothing is mounted at {target}"
    return found


def test_the_root_is_the_bundles(sh: Sh) -> None:
    """Nothing of the host is visible, and nothing of the host's mounts."""
    text = sh("cat /proc/self/mountinfo; ls /")
    targets = {line.split()[4] for line in text.splitlines() if " - " in line}

    assert targets >= {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"}
    assert all(target.startswith(("/proc", "/dev", "/sys")) or target == "/" for target in targets)


@pytest.mark.parametrize("readonly", [True, False])
def test_the_root_is_read_only_on_request(sh: Sh, readonly: bool) -> None:
    """root.readonly; what is mounted in it stays writable."""
    text = sh(
        "(> /file) 2>/dev/null && echo writable; > /dev/shm/x && echo other",
        edit=lambda config: config["root"].update(readonly=readonly),
    )

    assert ("writable" in text) is not readonly
    assert "other" in text


def test_an_absolute_root_may_be_elsewhere(runtime: Runtime, bundle: Bundle) -> None:
    """root.path need not be in the bundle."""
    elsewhere = bundle("true", name="elsewhere") / "rootfs"
    where = bundle(
        "sh", "-c", "cat /mark", edit=lambda config: config["root"].update(path=str(elsewhere))
    )
    (elsewhere / "mark").write_text("here")

    assert runtime.run(where).stdout == "here"


@pytest.mark.parametrize("path", ["none", "config.json"])
@pytest.mark.ours
def test_a_root_that_is_no_directory_is_refused(refusal: Refusal, path: str) -> None:
    """The JSON path and the file are named."""
    said = refusal(lambda config: config["root"].update(path=path))

    assert "config.json: root.path" in said
    assert path in said


OPTIONS = [
    (["ro"], {"ro"}, {"rw"}),
    (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
    (["noatime"], {"noatime"}, {"relatime"}),
    (["strictatime"], set(), {"relatime", "noatime"}),
    (["nodiratime"], {"nodiratime"}, set()),
    # The other runtimes have each their own idea of opposites.
    pytest.param(["ro", "rw"], {"rw"}, {"ro"}, marks=pytest.mark.ours),
    pytest.param(["nosuid", "suid"], set(), {"nosuid"}, marks=pytest.mark.ours),
    pytest.param(
        ["noexec", "exec", "nodev", "dev"], set(), {"noexec", "nodev"}, marks=pytest.mark.ours
    ),
    pytest.param(["noatime", "relatime"], {"relatime"}, {"noatime"}, marks=pytest.mark.ours),
    pytest.param(["ro", "defaults"], {"ro"}, {"rw"}, marks=pytest.mark.ours),
]


@pytest.mark.parametrize(("options", "there", "missing"), OPTIONS)
def test_mount_options_end_up_on_the_mount(
    sh: Sh, options: list[str], there: set[str], missing: set[str]
) -> None:
    """Options of a new file system, the later one winning."""
    found = options_of(sh("cat /proc/self/mountinfo", edit=mounts(tmpfs("/mnt", *options))), "/mnt")

    assert there <= found
    assert not missing & found


@pytest.mark.parametrize(("options", "there", "missing"), OPTIONS)
@pytest.mark.parametrize("order", ["first", "last"])
def test_bind_options_end_up_on_the_mount(
    sh: Sh, tmp_path: Path, options: list[str], there: set[str], missing: set[str], order: str
) -> None:
    """Options of a bind mount, wherever ``bind`` stands among them."""
    (tmp_path / "source").mkdir()
    words = ["bind", *options] if order == "first" else [*options, "bind"]
    edit = mounts(bind(tmp_path / "source", "/mnt", *words))

    found = options_of(sh("cat /proc/self/mountinfo", edit=edit), "/mnt")

    assert there <= found
    assert not missing & found


@pytest.mark.ours
def test_recursive_options_reach_what_is_mounted_below(sh: Sh, runtime: Runtime) -> None:
    """rro makes a whole tree read-only, ro only its top."""
    top = runtime.directory / "top"
    (top / "sub").mkdir(parents=True)
    os.system(f"mount -t tmpfs t {top}/sub")
    try:
        edit = mounts(bind(top, "/one", "rbind", "rro"), bind(top, "/two", "rbind", "ro"))
        text = sh("cat /proc/self/mountinfo", edit=edit)
    finally:
        os.system(f"umount {top}/sub")

    assert "ro" in options_of(text, "/one") & options_of(text, "/one/sub")
    assert "ro" in options_of(text, "/two")
    assert "rw" in options_of(text, "/two/sub")


def test_data_goes_to_the_file_system(sh: Sh) -> None:
    """Options nobody knows are the file system's own."""
    text = sh(
        "stat -c %a /mnt; df -k /mnt | tail -1", edit=mounts(tmpfs("/mnt", "mode=700", "size=1m"))
    )

    assert text.split()[0] == "700"
    assert text.split()[2] == "1024"


@pytest.mark.ours
def test_data_that_is_wrong_is_explained_by_the_kernel(refusal: Refusal) -> None:
    """The message holds the kernel's words, the mount and its index."""
    said = refusal(mounts(tmpfs("/mnt", "color=red")))

    assert "/mnt" in said
    assert "mounts[6]" in said
    assert "color" in said


def test_mounts_are_made_in_their_order(sh: Sh) -> None:
    """A later mount covers an earlier one, also at the same place."""
    edit = mounts(tmpfs("/mnt/a", "mode=700"), tmpfs("/mnt", "mode=711"), tmpfs("/mnt", "mode=755"))

    assert sh("stat -c %a /mnt; ls /mnt; grep -c /mnt /proc/self/mountinfo", edit=edit).split() == [
        "755",
        "3",
    ]


def test_files_can_be_bound(sh: Sh, tmp_path: Path) -> None:
    """A file is mounted on a file, which is made with its directories where it is missing."""
    (tmp_path / "source").write_text("content")

    assert sh(
        "cat /new/dir/file", edit=mounts(bind(tmp_path / "source", "/new/dir/file", "bind"))
    ) == ("content")


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


@pytest.mark.parametrize("target", ["/outside", "../../../../../../outside", "/a/b/outside"])
def test_a_link_at_a_mounts_place_stays_inside(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, target: str
) -> None:
    """A link in the image is followed as the container would follow it, never on the host."""
    where = bundle(
        "sh", "-c", "cat /mnt/mark", edit=mounts(bind(tmp_path / "data", "/mnt", "bind"))
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mark").write_text("mounted")
    os.symlink(target, where / "rootfs/mnt")

    done = runtime.run(where)

    assert done.stdout == "mounted", done.stderr
    assert not Path("/outside").exists()


@pytest.mark.ours
def test_a_file_can_be_mounted_at_a_dangling_link(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Images have /etc/resolv.conf as a link to what only exists at run time."""
    (tmp_path / "resolv").write_text("nameserver 192.0.2.1")
    edit = mounts(bind(tmp_path / "resolv", "/etc/resolv.conf"))
    where = bundle("cat", "/etc/resolv.conf", edit=edit)
    (where / "rootfs/etc/resolv.conf").unlink()
    os.symlink("../run/resolve/stub.conf", where / "rootfs/etc/resolv.conf")

    done = runtime.run(where)

    assert done.stdout == "nameserver 192.0.2.1", done.stderr
    assert (where / "rootfs/run/resolve/stub.conf").exists()


@pytest.mark.ours
def test_links_in_a_circle_end(refusal: Refusal, tmp_path: Path) -> None:
    """A chain of links without an end is an error, not a loop."""

    def edit(config: Config) -> None:
        rootfs = tmp_path / "b/rootfs"
        os.symlink("two", rootfs / "one")
        os.symlink("one", rootfs / "two")
        config["mounts"].append(tmpfs("/one/x"))

    assert "symbolic links" in refusal(edit)


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_proc_and_sys_must_not_be_links(refusal: Refusal, tmp_path: Path, place: str) -> None:
    """A link would take the masks and the runtime's own writes elsewhere (CVE-2019-19921)."""

    def edit(_config: Config) -> None:
        rootfs = tmp_path / "b/rootfs"
        (rootfs / place).rmdir()
        os.symlink("/tmp", rootfs / place)

    said = refusal(edit).lower()

    assert "symlink" in said or "symbolic link" in said or "ordinary directory" in said


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


def test_the_default_devices_are_there(sh: Sh) -> None:
    """Six nodes for everybody, and the links beside them."""
    lines = sh(
        "cd /dev; stat -c '%n %t:%T %a %F' null zero full random urandom tty;"
        " for l in fd stdin stdout stderr ptmx; do readlink $l; done"
    ).splitlines()

    assert [line.split()[:3] for line in lines[:6]] == [
        ["null", "1:3", "666"],
        ["zero", "1:5", "666"],
        ["full", "1:7", "666"],
        ["random", "1:8", "666"],
        ["urandom", "1:9", "666"],
        ["tty", "5:0", "666"],
    ]
    assert lines[6:10] == [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
    ]
    assert lines[10] in ("pts/ptmx", "/dev/pts/ptmx")


def test_listed_devices_are_made(sh: Sh) -> None:
    """Type, numbers, mode and owner are as listed, in directories that are made."""
    devices = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o640,
         "uid": 7, "gid": 8},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
    ]  # fmt: skip
    text = sh(
        "cd /dev; stat -c '%F %t:%T %a %u:%g' net/tun block pipe",
        edit=lambda config: config["linux"].update(devices=devices),
    )

    assert text.splitlines() == [
        "character special file a:c8 640 7:8",
        "block special file 7:3 600 0:0",
        "fifo 0:0 622 0:0",
    ]


def test_a_listed_default_device_is_no_clash(sh: Sh) -> None:
    """Podman lists /dev/null; the list wins over the default."""
    device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}

    mode = sh("stat -c %a /dev/null", edit=lambda config: config["linux"].update(devices=[device]))

    # crun's default wins; both are a null device.
    assert mode.strip() in ("600", "666")


@pytest.mark.ours
def test_devices_are_not_made_through_links(refusal: Refusal, tmp_path: Path) -> None:
    """A /dev that leads elsewhere would put nodes there (CVE-2026-41579)."""

    def edit(config: Config) -> None:
        config["mounts"] = [one for one in config["mounts"] if "/dev" not in one["destination"]]
        rootfs = tmp_path / "b/rootfs"
        (rootfs / "dev").rmdir()
        os.symlink("/tmp", rootfs / "dev")

    assert "symbolic link" in refusal(edit)
    assert not list((tmp_path / "b/rootfs/tmp").iterdir())


@pytest.mark.ours
def test_a_false_default_device_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    """A regular file in the place of /dev/null would collect what programs throw away."""

    def edit(config: Config) -> None:
        config["mounts"] = [one for one in config["mounts"] if "/dev" not in one["destination"]]
        (tmp_path / "b/rootfs/dev/null").write_text("")

    assert "/dev/null" in refusal(edit)


def test_devices_of_the_host_are_left_alone(sh: Sh) -> None:
    """A /dev that is bound from the host gets no nodes and no links."""

    def edit(config: Config) -> None:
        config["mounts"] = [one for one in config["mounts"] if "/dev" not in one["destination"]]
        config["mounts"].append(bind("/dev", "/dev", "rbind", "ro"))

    before = {one.name: one.lstat().st_mtime for one in Path("/dev").iterdir()}
    sh("true", edit=edit)

    assert {one.name: one.lstat().st_mtime for one in Path("/dev").iterdir()} == before


def test_masked_paths_show_nothing(sh: Sh) -> None:
    """Masked files are empty, masked directories too, and neither can be written to."""

    def edit(config: Config) -> None:
        config["linux"]["maskedPaths"] = ["/etc/passwd", "/bin/../usr", "/proc/1/environ", "/none"]

    text = sh(
        "cat /etc/passwd /proc/1/environ; ls /usr; > /usr/x || echo refused; echo x > /etc/passwd;"
        " cat /etc/passwd",
        edit=edit,
    )

    assert text == "refused\n"


def test_readonly_paths_cannot_be_written(sh: Sh) -> None:
    """Directories and files, and what does not exist is skipped."""

    def edit(config: Config) -> None:
        config["linux"]["readonlyPaths"] = ["/tmp", "/etc/passwd", "/none", "/proc/sys"]

    text = sh(
        "> /tmp/x || echo a; echo >> /etc/passwd || echo b; > /etc/group && echo c;"
        " echo x > /proc/sys/kernel/domainname || echo d",
        edit=edit,
    )

    assert text.split() == ["a", "b", "c", "d"]


def test_mounts_do_not_reach_the_host(runtime: Runtime, bundle: Bundle) -> None:
    """The host's mount table is the same while the container exists."""
    before = Path("/proc/self/mountinfo").read_text()
    runtime.created(bundle("true", edit=mounts(tmpfs("/mnt"))))

    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize(
    ("kind", "mark"), [("rslave", "master:"), ("rshared", "shared:"), ("rprivate", "")]
)
def test_propagation_of_the_root(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, kind: str, mark: str
) -> None:
    """rootfsPropagation decides whether mounts travel between host and container."""
    # A shared place to hold the root, as a host under systemd has it.
    top = tmp_path / "shared"
    top.mkdir()
    os.system(f"mount --bind {top} {top} && mount --make-shared {top}")
    try:
        elsewhere = busybox.make_rootfs(top / "rootfs")

        def edit(config: Config) -> None:
            config["root"]["path"] = str(elsewhere)
            config["linux"]["rootfsPropagation"] = kind

        done = runtime.run(bundle("cat", "/proc/self/mountinfo", edit=edit))
        before = Path("/proc/self/mountinfo").read_text()
    finally:
        os.system(f"umount {top}")

    line = next(line for line in done.stdout.splitlines() if line.split()[4] == "/")
    found = " ".join(line.split(" - ")[0].split()[6:])
    assert mark in found if mark else not found
    assert str(elsewhere) not in before


@pytest.mark.parametrize("kind", ["rshared", "rslave", "rprivate"])
@pytest.mark.ours
def test_propagation_of_a_mount(sh: Sh, runtime: Runtime, kind: str) -> None:
    """A propagation option of a mount is on that mount."""
    source = runtime.directory / "source"
    source.mkdir()
    text = sh("cat /proc/self/mountinfo", edit=mounts(bind(source, "/mnt", "rbind", kind)))
    line = next(line for line in text.splitlines() if line.split()[4] == "/mnt")

    assert ("shared:" in line) is (kind == "rshared")


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("mounts[6].options", bind("/tmp", "/mnt", "rbind", "tmpcopyup")),
        ("mounts[6].options", tmpfs("/mnt", "idmap")),
        ("mounts[6]", bind("/tmp", "/mnt", "rbind", "idmap")),
        ("mounts[6].options", tmpfs("/mnt", "copy-symlink")),
        ("mounts[6].options", bind("/tmp", "/mnt", "copy-symlink", "src-nofollow")),
        ("mounts[6].options", bind("/tmp", "/mnt", "idmap=uids=0-1")),
        ("mounts[6].type", {"destination": "/mnt", "source": "x"}),
        ("mounts[6].source", {"destination": "/mnt", "type": "bind"}),
    ],
)
@pytest.mark.ours
def test_a_mount_that_makes_no_sense_is_refused_by_its_path(
    refusal: Refusal, path: str, mount: Config
) -> None:
    """One line names the option or the property."""
    assert f"config.json: {path}" in refusal(mounts(mount))


@pytest.mark.ours
def test_a_mount_that_fails_leaves_nothing(refusal: Refusal, tmp_path: Path) -> None:
    """The mounts made before it go with the namespace, and the message says which failed."""
    before = Path("/proc/self/mountinfo").read_text()

    said = refusal(mounts(tmpfs("/mnt"), {"destination": "/x", "type": "nofs", "source": "n"}))

    assert "mounts[7]" in said
    assert "no such device" in said
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_new_file_is_no_more_than_a_file(runtime: Runtime, bundle: Bundle) -> None:
    """Places made for mounts are plain and owned by root."""
    where = bundle("true", edit=mounts(tmpfs("/made/here")))
    runtime.run(where)
    made = (where / "rootfs/made/here").stat()

    assert stat.S_ISDIR(made.st_mode)
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (0, 0o755)


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
            config["linux"]["namespaces"] = [
                one for one in config["linux"]["namespaces"] if one["type"] != "cgroup"
            ]

    text = sh("cat /proc/self/mountinfo; mkdir /sys/fs/cgroup/x 2>&1; true", edit=edit)

    trees = [line for line in text.splitlines() if " - cgroup" in line]
    assert trees
    assert all(line.split()[5].startswith("ro") for line in trees)
    assert "can't create directory" in text
