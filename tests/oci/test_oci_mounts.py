"""``mounts`` beyond the ordinary: remount, tmpcopyup, mapped owners, links, odd sources."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

HOST = 100000


def mounts(*more: Config) -> Callable[[Config], object]:
    """Return a change that adds mounts behind the usual ones."""
    return lambda config: config["mounts"].extend(more)


def entry(destination: str, *options: str, kind: str = "tmpfs", source: object = "t") -> Config:
    """Return a mount."""
    return {
        "destination": destination,
        "type": kind,
        "source": str(source),
        "options": list(options),
    }


def bind(source: object, destination: str, *options: str, **more: object) -> Config:
    """Return a bind mount."""
    return {**entry(destination, *options, kind="none", source=source), **more}


def options_of(mountinfo: str, target: str) -> set[str]:
    """Return the options of the last mount at ``target``, and those of its file system."""
    found: set[str] = set()
    for line in mountinfo.splitlines():
        words = line.split()
        if len(words) > 6 and words[4] == target:
            found = set(words[5].split(","))
            found |= {"super-" + option for option in words[-1].split(",")}
    assert found, f"nothing is mounted at {target}"
    return found


INFO = "cat /proc/self/mountinfo"


@pytest.fixture
def tree(runtime: Runtime) -> Iterator[Path]:
    """Return a directory of the host with a file system mounted in it."""
    top = runtime.directory / "tree"
    (top / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "t", str(top / "sub")], check=True)
    yield top
    subprocess.run(["umount", str(top / "sub")], check=True)


# remount


def test_remount_changes_what_is_mounted(sh: Sh) -> None:
    """A tmpfs of the bundle gets another size and becomes read-only."""
    edit = mounts(
        entry("/mnt", "size=1m", "nosuid"), entry("/mnt", "remount", "size=2m", "ro", "nodev")
    )
    text = sh(f"{INFO}; > /mnt/x; df -k /mnt | tail -1", edit)

    found = options_of(text, "/mnt")
    assert found >= {"ro", "nodev"}
    assert text.split()[-5] == "2048"
    assert text.count(" /mnt ") == 1


@pytest.mark.ours
def test_a_remount_keeps_what_it_does_not_name(sh: Sh) -> None:
    """As mount(8) does, and not as mount(2)."""
    edit = mounts(entry("/mnt", "nosuid", "noexec"), entry("/mnt", "remount", "nodev"))

    assert options_of(sh(INFO, edit), "/mnt") >= {"nosuid", "noexec", "nodev"}


def test_a_bind_remount_changes_the_mount_only(sh: Sh, tmp_path: Path) -> None:
    """``remount,bind,ro``: the file system below stays as it is."""
    (tmp_path / "data").mkdir()
    edit = mounts(
        bind(tmp_path / "data", "/mnt", "rbind"),
        bind(tmp_path / "data", "/mnt", "remount", "bind", "ro"),
    )
    text = sh(INFO, edit)

    assert "ro" in options_of(text, "/mnt")
    assert "super-rw" in options_of(text, "/mnt")


@pytest.mark.ours
def test_a_remount_never_touches_a_file_system_of_the_host(sh: Sh) -> None:
    """Without ``bind``, too, it is the mount that becomes read-only."""
    before = Path("/proc/self/mountinfo").read_text()

    text = sh(INFO, mounts(entry("/", "remount", "ro", "nodev")))

    assert options_of(text, "/") >= {"ro", "nodev", "super-rw"}
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.ours
def test_a_remount_with_data_for_the_hosts_file_system_is_refused(refusal: Refusal) -> None:
    """The root is a bind of the host's; what it would change there is named."""
    assert "mounts[6].options: 'commit=9'" in refusal(mounts(entry("/", "remount", "commit=9")))


@pytest.mark.ours
def test_a_remount_wants_a_mount(refusal: Refusal) -> None:
    """A directory that is none is an error, not a new mount."""
    assert "remount /etc" in refusal(mounts(entry("/etc", "remount", "ro")))


# Single options


@pytest.mark.ours
def test_iversion_is_set_and_nothing_is_lost(sh: Sh) -> None:
    """The other flags and attributes stay as given; the kernel shows iversion nowhere."""
    edit = mounts(entry("/mnt", "iversion", "nosuid", "sync", "noatime", "mode=700"))

    assert options_of(sh(INFO, edit), "/mnt") >= {"nosuid", "noatime", "super-sync"}


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime"])
def test_flags_of_the_file_system_are_set(sh: Sh, option: str) -> None:
    """mountinfo shows them behind the dash."""
    assert f"super-{option}" in options_of(sh(INFO, mounts(entry("/mnt", option))), "/mnt")


@pytest.mark.ours
@pytest.mark.parametrize(
    "options",
    [
        ["async", "rw", "suid", "dev", "exec", "diratime", "atime", "loud", "nolazytime"],
        ["silent", "defaults", "noiversion", "nomand", "nostrictatime", "norelatime"],
        ["nofail", "_netdev", "x-made-up", "noauto"],
    ],
)
def test_options_that_say_what_holds_anyway(sh: Sh, options: list[str]) -> None:
    """All of them are understood, and none reaches the file system as its own."""
    assert "rw" in options_of(sh(INFO, mounts(entry("/mnt", *options))), "/mnt")


RECURSIVE = [
    ("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"),
    ("rnoatime", "noatime"), ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow"),
]  # fmt: skip


@pytest.mark.ours
@pytest.mark.parametrize(("option", "there"), RECURSIVE)
def test_recursive_options_change_the_mounts_below(
    sh: Sh, tree: Path, option: str, there: str
) -> None:
    """In whatever order they come; the plain form changes the top only."""
    edit = mounts(
        bind(tree, "/one", option, "rbind"),
        bind(tree, "/two", "rbind", option),
        bind(tree, "/top", "rbind", option.removeprefix("r")),
    )
    text = sh(INFO, edit)

    for place in ("/one", "/one/sub", "/two", "/two/sub", "/top"):
        assert there in options_of(text, place)
    assert there not in options_of(text, "/top/sub")


@pytest.mark.ours
def test_recursive_options_can_be_undone(sh: Sh, tree: Path) -> None:
    """rrw makes writable again what the host has read-only; the top's own option wins."""
    subprocess.run(["mount", "-o", "remount,bind,ro", str(tree / "sub")], check=True)
    edit = mounts(bind(tree, "/one", "rbind", "rrw", "ro"))

    text = sh(INFO, edit)

    assert "rw" in options_of(text, "/one/sub")
    assert "ro" in options_of(text, "/one")


def test_a_bind_keeps_the_flags_of_its_source(sh: Sh, tree: Path) -> None:
    """What the options do not name stays: a noexec volume is noexec in the container."""
    subprocess.run(["mount", "-o", "remount,bind,noexec,nosuid", str(tree / "sub")], check=True)

    found = options_of(sh(INFO, mounts(bind(tree / "sub", "/mnt", "bind"))), "/mnt")

    assert found >= {"noexec", "nosuid"}


def test_symbolic_links_are_not_followed_with_nosymfollow(sh: Sh, tmp_path: Path) -> None:
    """The kernel refuses to follow links in that mount."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("x")
    os.symlink("file", tmp_path / "data/link")
    edit = mounts(bind(tmp_path / "data", "/mnt", "bind", "nosymfollow"))

    assert sh("cat /mnt/file; cat /mnt/link 2>/dev/null || echo -n no", edit) == "xno"


# Places


def test_relative_destinations_are_below_the_root(sh: Sh) -> None:
    """Deprecated and still right (config.md)."""
    assert options_of(sh(INFO, mounts(entry("one/two", "nosuid"))), "/one/two") >= {"nosuid"}


@pytest.mark.ours
def test_a_mount_on_the_root_becomes_the_root(sh: Sh, runtime: Runtime, bundle: Bundle) -> None:
    """What is mounted after it is below it, and the program finds itself there."""
    other = bundle("true", name="other") / "rootfs"
    (other / "mark").write_text("other")
    edit = mounts(bind(other, "/", "rbind"), entry("/late"))

    def first(config: Config) -> None:
        edit(config)
        config["mounts"] = config["mounts"][-2:] + config["mounts"][:-2]

    text = sh(f"cat /mark; echo; {INFO}", first)

    assert text.startswith("other\n")
    assert "/late" in text
    assert " /proc " in text
    assert not (runtime.directory / "b/rootfs/late").exists()


def test_a_tmpfs_has_the_mode_of_what_it_covers(sh: Sh) -> None:
    """/tmp of the image stays everybody's, a private directory private; ``mode=`` wins."""
    edit = mounts(entry("/tmp"), entry("/usr"), entry("/var", "mode=711"))

    assert sh("stat -c %a /tmp /usr /var", edit).split() == ["1777", "755", "711"]


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


def test_a_file_can_be_mounted_on_a_file(sh: Sh, tmp_path: Path) -> None:
    """Also twice: the later one is seen."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    edit = mounts(*(bind(tmp_path / name, "/etc/passwd", "bind", "ro") for name in ("one", "two")))

    assert sh("cat /etc/passwd", edit) == "two"


def test_mounts_in_dev_stay(sh: Sh, tmp_path: Path) -> None:
    """What the bundle mounts below /dev is not covered by the default devices."""
    (tmp_path / "file").write_text("bound")
    edit = mounts(
        bind(tmp_path / "file", "/dev/log", "bind"),
        bind("/dev/null", "/dev/null", "bind"),
        entry("/dev/volume", "mode=700"),
    )

    assert sh("cat /dev/log; stat -c %a /dev/volume", edit).strip() == "bound700"


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
    text = sh(INFO, mounts(entry("/mnt", "nosuid", kind=kind, source=kind)))

    line = next(line for line in text.splitlines() if line.split()[4] == "/mnt")
    assert line.split(" - ")[1].split()[0] == kind


# tmpcopyup


def fill(directory: Path) -> None:
    """Make one of each kind of file in the directory of an image."""
    directory.mkdir()
    (directory / "sub/deep").mkdir(parents=True)
    (directory / "sub/deep/file").write_text("content")
    (directory / "file").write_bytes(os.urandom(3 << 20))
    os.link(directory / "file", directory / "sub/again")
    os.symlink("/outside/of/it", directory / "link")
    os.mkfifo(directory / "fifo", 0o640)
    os.chown(directory / "sub", 3, 4)
    os.chmod(directory / "sub", 0o2751)
    os.chown(directory / "file", 5, 6)
    os.chmod(directory / "file", 0o4711)
    os.setxattr(directory / "file", "trusted.test", b"value")
    os.utime(directory / "file", (1000000001, 1000000002))
    os.utime(directory / "sub/deep", (1000000003, 1000000004))
    os.utime(directory / "link", (1000000005, 1000000006), follow_symlinks=False)


COPIED = "cd /dir; stat -c '%n %F %a %u:%g %Y %h' . file link fifo sub sub/deep sub/deep/file"
COPIED += " sub/again; readlink link; cat sub/deep/file; cmp file /image/file && echo same"


@pytest.mark.ours
@pytest.mark.parametrize("options", [[], ["ro"], ["size=16m", "nosuid"]])
def test_tmpcopyup_shows_what_the_image_has(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, options: list[str]
) -> None:
    """Content, owners, modes, times, links and hard links; the image itself does not change."""
    image = tmp_path / "b/rootfs/dir"

    def edit(config: Config) -> None:
        fill(image)
        mounts(entry("/image"), bind(image, "/image", "bind"))(config)
        config["mounts"].append(entry("/dir", "tmpcopyup", *options))
        for name in ("bounding", "permitted", "effective"):
            config["process"]["capabilities"][name] = ["CAP_DAC_OVERRIDE"]

    where = bundle("sh", "-c", f"{COPIED}; > /dir/new && echo written; true", edit=edit)
    done = runtime.run(where)
    lines = done.stdout.splitlines()

    found = {line.split()[0]: line for line in lines if line.split()[0] in names(image)}
    for name, line in found.items():
        what = (image / name).lstat()
        assert f" {stat.S_IMODE(what.st_mode):o} {what.st_uid}:{what.st_gid} " in line
        assert f" {int(what.st_mtime)} " in line
    assert len(found) == 8, done.stderr
    assert found["file"].endswith(" 2")
    assert found["sub/again"].endswith(" 2")
    assert "/outside/of/it" in lines
    assert "contentsame" in lines
    assert ("written" in lines) is ("ro" not in options)
    assert not (image / "new").exists()


def names(top: Path) -> set[str]:
    """Return the paths below ``top``, and the dot for itself."""
    return {".", *(str(one.relative_to(top)) for one in top.rglob("*"))}


@pytest.mark.ours
def test_tmpcopyup_leaves_what_options_say(sh: Sh) -> None:
    """A mode or an owner among the options is the mount's, the rest is the directory's."""
    shown = sh(
        "stat -c '%a %u:%g' /etc /usr /var",
        mounts(
            entry("/etc", "tmpcopyup", "mode=2700"),
            entry("/usr", "tmpcopyup", "gid=7"),
            entry("/var", "tmpcopyup", "uid=6"),
        ),
    )

    assert shown.splitlines() == ["2700 0:0", "755 0:7", "755 6:0"]


@pytest.mark.ours
def test_tmpcopyup_of_nothing_is_empty(sh: Sh) -> None:
    """A directory that the image does not have is made."""
    assert sh("ls -a /made | wc -l", mounts(entry("/made", "tmpcopyup"))).strip() == "2"


@pytest.mark.ours
def test_tmpcopyup_that_does_not_fit_is_an_error(refusal: Refusal, tmp_path: Path) -> None:
    """And not half of the content."""

    def edit(config: Config) -> None:
        (tmp_path / "b/rootfs/big").mkdir()
        (tmp_path / "b/rootfs/big/file").write_bytes(bytes(1 << 20))
        mounts(entry("/big", "tmpcopyup", "size=64k"))(config)

    said = refusal(edit)

    assert "/big" in said
    assert "no space left" in said


# Symbolic links as sources and targets


@pytest.mark.ours
@pytest.mark.parametrize("before", ["missing", "same", "other", "file"])
def test_a_link_can_be_copied(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, before: str
) -> None:
    """copy-symlink makes the host's link again, unless something else is there already."""
    os.symlink("/proc/version", tmp_path / "source")

    def edit(config: Config) -> None:
        place = tmp_path / "b/rootfs/etc/place"
        if before in ("same", "other"):
            os.symlink("/proc/version" if before == "same" else "else", place)
        elif before == "file":
            place.write_text("")
        mounts(bind(tmp_path / "source", "/etc/place", "bind", "copy-symlink"))(config)

    done = runtime.run(bundle("readlink", "/etc/place", edit=edit))

    if before in ("missing", "same"):
        assert done.stdout.strip() == "/proc/version", done.stderr
    else:
        assert done.returncode == 1
        assert "/etc/place" in done.stderr
        assert "exists" in done.stderr


@pytest.mark.ours
def test_what_is_no_link_is_bound_with_copy_symlink(sh: Sh, tmp_path: Path) -> None:
    """The option is about links only."""
    (tmp_path / "file").write_text("content")

    assert sh("cat /it", mounts(bind(tmp_path / "file", "/it", "bind", "copy-symlink"))) == (
        "content"
    )


@pytest.mark.ours
def test_links_can_be_mounted_and_mounted_on(sh: Sh, tmp_path: Path) -> None:
    """src-nofollow mounts the host's link; dest-nofollow mounts on the image's link."""
    (tmp_path / "data").write_text("data")
    os.symlink("/etc/hosts-of-host", tmp_path / "source")

    def edit(config: Config) -> None:
        os.symlink("elsewhere", tmp_path / "b/rootfs/link")
        mounts(
            bind(tmp_path / "source", "/mounted", "bind", "src-nofollow"),
            bind(tmp_path / "data", "/link", "bind", "dest-nofollow"),
        )(config)

    assert sh("readlink /mounted; cat /link; ls /elsewhere 2>&1; true", edit).splitlines()[:2] == [
        "/etc/hosts-of-host",
        "datals: /elsewhere: No such file or directory",
    ]


# Mapped owners


def ids(host: int, size: int = 1, inside: int = 0) -> list[Config]:
    """Return a mapping of config.json."""
    return [{"containerID": inside, "hostID": host, "size": size}]


@pytest.fixture
def owned(tree: Path) -> Path:
    """Return a directory with files of several owners, also in the file system below."""
    for place in (tree, tree / "sub"):
        for uid in (0, 1000):
            (place / f"{uid}").write_text("")
            os.chown(place / f"{uid}", uid, uid)
    return tree


OWNERS = "cd /mnt; stat -c '%n %u:%g' 0 1000 sub/0 sub/1000"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("option", "below"), [("idmap", "0:0"), ("ridmap", "7:8"), ("", "0:0"), ("text", "0:0")]
)
def test_owners_can_be_mapped(sh: Sh, owned: Path, option: str, below: str) -> None:
    """Ids of the disk are shown as others; what has no mapping belongs to nobody."""
    maps: Config = {"uidMappings": ids(7), "gidMappings": ids(8)}
    options = [option]
    if option == "text":
        options, maps = ["idmap=uids=0-7-1;gids=0-8-1"], {}
    before = {place: place.stat().st_uid for place in owned.rglob("*")}

    text = sh(OWNERS, mounts(bind(owned, "/mnt", "rbind", *filter(None, options), **maps)))

    found = dict(line.split() for line in text.splitlines())
    assert found["0"] == "7:8"
    assert found["1000"] == "65534:65534"
    assert found["sub/0"] == below
    assert found["sub/1000"] == ("1000:1000" if below == "0:0" else "65534:65534")
    assert {place: place.stat().st_uid for place in owned.rglob("*")} == before


@pytest.mark.ours
def test_maps_of_the_container_are_used_without_others(sh: Sh, owned: Path, tmp_path: Path) -> None:
    """idmap alone: files of the host's root are those of the container's."""

    def edit(config: Config) -> None:
        user_namespace(config)
        mounts(bind(owned, "/mnt", "rbind", "idmap"), bind(owned, "/plain", "rbind"))(config)
        make_owned(tmp_path / "b/rootfs")

    text = sh(f"{OWNERS}; cd /plain; stat -c '%n %u:%g' 0; > /mnt/new; true", edit)

    assert text.splitlines() == [
        "0 0:0", "1000 1000:1000", "sub/0 65534:65534", "sub/1000 65534:65534", "0 65534:65534",
    ]  # fmt: skip
    assert (owned / "new").stat().st_uid == 0


@pytest.mark.ours
def test_only_one_of_both_maps_is_refused(refusal: Refusal) -> None:
    """config.md: one MUST be specified along with the other."""
    said = refusal(mounts(bind("/tmp", "/mnt", "bind", uidMappings=ids(5), gidMappings=[])))

    assert "mounts[6]" in said
    assert "both" in said


@pytest.mark.ours
def test_owners_that_cannot_be_mapped_are_an_error(refusal: Refusal) -> None:
    """Not every file system can, procfs cannot; the mount is named."""
    maps: Config = {"uidMappings": ids(5), "gidMappings": ids(5)}

    said = refusal(mounts(bind("/proc/sys", "/mnt", "bind", **maps)))

    assert "mounts[6]" in said
    assert "/proc/sys" in said


# User namespaces


def user_namespace(config: Config) -> None:
    """Give the container a user namespace of its own."""
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = ids(HOST, 65536)
    config["linux"]["gidMappings"] = ids(HOST, 65536)


def test_a_bundle_that_its_root_cannot_reach_works(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Directories above root and volumes may be for the host's root alone."""
    hidden = tmp_path / "hidden"
    (hidden / "data").mkdir(parents=True)
    (hidden / "data/file").write_text("reached")
    hidden.chmod(0o700)

    def edit(config: Config) -> None:
        user_namespace(config)
        config["root"]["path"] = str(hidden / "rootfs")
        mounts(bind(hidden / "data", "/mnt", "rbind", "ro"))(config)

    where = bundle("sh", "-c", "cat /mnt/file; > /mnt/x || echo ro", edit=edit)
    (where / "rootfs").rename(hidden / "rootfs")
    make_owned(hidden / "rootfs", reachable=False)

    done = runtime.run(where)

    assert done.stdout == "reachedro\n", done.stderr


def make_owned(rootfs: Path, reachable: bool = True) -> None:
    """Give the directories of a root file system to the container's root, and the way there."""
    for place in (rootfs, *rootfs.iterdir()):
        os.chown(place, HOST, HOST)
    for place in rootfs.parents:
        if reachable and place.stat().st_mode & 0o077 == 0:
            place.chmod(0o711)


def test_devices_are_there_in_a_user_namespace(sh: Sh, tmp_path: Path) -> None:
    """Nodes as listed, with the owner and mode as listed, though nobody may make any there."""
    devices = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o640,
         "uid": 7, "gid": 8},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 1},
    ]  # fmt: skip

    def edit(config: Config) -> None:
        user_namespace(config)
        config["linux"]["devices"] = devices
        make_owned(tmp_path / "b/rootfs")

    text = sh(
        "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null tty net/tun pipe; echo x > null && echo ok;"
        " head -c 3 zero | wc -c; readlink ptmx; readlink fd",
        edit,
    )

    assert text.splitlines() == [
        "null character special file 1:3 666 0:0",
        "tty character special file 5:0 666 0:0",
        "net/tun character special file a:c8 640 7:8",
        "pipe fifo 0:0 622 1:1",
        "ok",
        "3",
        "pts/ptmx",
        "/proc/self/fd",
    ]


def test_sysfs_of_the_host_serves_where_none_can_be_mounted(sh: Sh, tmp_path: Path) -> None:
    """In a user namespace with the host's network: a copy of /sys, as read-only as asked for."""

    def edit(config: Config) -> None:
        user_namespace(config)
        config["linux"]["namespaces"] = [
            one for one in config["linux"]["namespaces"] if one["type"] != "network"
        ]
        make_owned(tmp_path / "b/rootfs")

    text = sh(f"{INFO}; ls /sys", edit)

    assert "kernel" in text.split()
    assert options_of(text, "/sys") >= {"ro", "nosuid", "nodev", "noexec"}


def test_mounts_of_a_user_namespace_do_not_reach_the_host(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """A shared mount of the host, bound, learns nothing of what is mounted in the container."""
    top = tmp_path / "shared"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "t", str(top)], check=True)
    subprocess.run(["mount", "--make-shared", str(top)], check=True)
    (top / "in").mkdir()
    try:

        def edit(config: Config) -> None:
            user_namespace(config)
            mounts(bind(top, "/mnt", "rbind", "rshared"), entry("/mnt/in"))(config)
            make_owned(tmp_path / "b/rootfs")

        where = bundle("true", edit=edit)
        before = Path("/proc/self/mountinfo").read_text()
        done = runtime.create(where)

        assert done.returncode == 0, runtime.output()
        assert Path("/proc/self/mountinfo").read_text() == before
    finally:
        runtime.tidy()
        subprocess.run(["umount", str(top)], check=True)


@pytest.mark.vm
@pytest.mark.parametrize("own", [True, False])
def test_cgroups_can_be_mounted_in_a_user_namespace(sh: Sh, tmp_path: Path, own: bool) -> None:
    """With a cgroup namespace anew; without one bound, and read-only (CVE-2023-25809)."""

    def edit(config: Config) -> None:
        user_namespace(config)
        if not own:
            config["linux"]["namespaces"] = [
                one for one in config["linux"]["namespaces"] if one["type"] != "cgroup"
            ]
        mounts(entry("/sys/fs/cgroup", "nosuid", kind="cgroup", source="cgroup"))(config)
        make_owned(tmp_path / "b/rootfs")

    text = sh(INFO, edit)

    trees = [line.split() for line in text.splitlines() if " - cgroup" in line]
    assert trees
    assert all(("ro" in words[5].split(",")) is not own for words in trees)


@pytest.mark.vm
@pytest.mark.ours
def test_the_v2_tree_alone_can_be_mounted(sh: Sh) -> None:
    """Type cgroup2 on a machine that has v1 hierarchies as well."""
    text = sh(INFO, mounts(entry("/mnt", "ro", kind="cgroup2", source="cgroup")))

    line = next(line for line in text.splitlines() if line.split()[4] == "/mnt")
    assert " - cgroup2 " in line
    assert line.split()[5].startswith("ro")


@pytest.mark.ours
def test_a_label_without_selinux_is_a_warning(runtime: Runtime, bundle: Bundle) -> None:
    """There is nothing that would look at it, and it is said."""
    if "selinuxfs" in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has SELinux")
    label = "system_u:object_r:container_file_t:s0:c1,c2"

    done = runtime.run(bundle("true", edit=lambda one: one["linux"].update(mountLabel=label)))

    assert done.returncode == 0
    assert "linux.mountLabel" in done.stderr
    assert "SELinux" in done.stderr


# Without a mount namespace


def shared(config: Config) -> None:
    """Leave the container in the mount namespace of the runtime."""
    config["linux"]["namespaces"] = [
        one for one in config["linux"]["namespaces"] if one["type"] != "mount"
    ]
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []


@pytest.mark.ours
def test_a_container_can_share_the_mount_namespace(runtime: Runtime, bundle: Bundle) -> None:
    """It has the root and the mounts that it asks for; with it, all of them are gone."""
    before = Path("/proc/self/mountinfo").read_text()
    script = "readlink /proc/self/ns/mnt; ls -d /proc/1; echo x > /dev/null && > /mnt/x; ls /"

    def edit(config: Config) -> None:
        shared(config)
        config["root"]["readonly"] = True
        mounts(entry("/mnt"))(config)

    where = bundle("sh", "-c", script, edit=edit)
    (where / "rootfs/mnt").mkdir()
    runtime.created(where)
    during = Path("/proc/self/mountinfo").read_text()
    runtime.ok("start", "c")
    assert runtime.wait() == 0, runtime.output()
    runtime.ok("delete", "c")

    assert os.readlink("/proc/self/ns/mnt") in runtime.output()
    assert "rootfs" not in runtime.output()
    points = [line.split()[4] for line in during.splitlines()]
    assert sum(point.startswith(f"{where}/rootfs") for point in points) == 8
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.ours
def test_a_create_in_the_hosts_mounts_that_fails_leaves_nothing(
    refusal: Refusal, tmp_path: Path
) -> None:
    """What was mounted until then is unmounted."""
    before = Path("/proc/self/mountinfo").read_text()

    def edit(config: Config) -> None:
        shared(config)
        mounts(entry("/mnt", kind="nofs"))(config)

    assert "no such device" in refusal(edit)
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.ours
def test_mounts_in_the_hosts_namespace_do_not_spread(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Also below a shared mount the container's are in this namespace only, and only there once."""
    top = tmp_path / "top"
    (top / "other").mkdir(parents=True)
    where = bundle("true", edit=shared, name="top/b")
    subprocess.run(["mount", "--bind", str(top), str(top)], check=True)
    subprocess.run(["mount", "--make-shared", str(top)], check=True)
    subprocess.run(["mount", "--bind", str(top), f"{top}/other"], check=True)
    try:
        before = Path("/proc/self/mountinfo").read_text()
        runtime.created(where)
        during = Path("/proc/self/mountinfo").read_text()
        runtime.tidy()
        after = Path("/proc/self/mountinfo").read_text()
    finally:
        subprocess.run(["umount", f"{top}/other"], check=True)
        subprocess.run(["umount", str(top)], check=True)

    assert during.count("/rootfs/proc ") == 1
    assert after == before


@pytest.mark.ours
def test_a_user_namespace_needs_a_mount_namespace(refusal: Refusal) -> None:
    """It could mount nothing."""

    def edit(config: Config) -> None:
        user_namespace(config)
        shared(config)

    assert "needs a mount namespace" in refusal(edit)


@pytest.mark.ours
def test_a_joined_user_namespace_maps_devices_and_owners(
    runtime: Runtime, bundle: Bundle, owned: Path
) -> None:
    """The maps of one that exists already are those of its path."""
    first = bundle("sleep", "60", edit=user_namespace, name="first")
    make_owned(first / "rootfs")
    holder = runtime.created(first, "holder")

    def edit(config: Config) -> None:
        config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{holder}/ns/user"})
        config["linux"]["devices"] = [
            {"path": "/dev/tun", "type": "c", "major": 10, "minor": 200, "uid": 7, "gid": 8}
        ]
        mounts(bind(owned, "/mnt", "rbind", "ridmap"))(config)

    where = bundle("sh", "-c", f"stat -c '%n %u:%g' /dev/null /dev/tun; {OWNERS}", edit=edit)
    make_owned(where / "rootfs")
    done = runtime.run(where)

    assert done.stdout.splitlines() == [
        "/dev/null 0:0", "/dev/tun 7:8", "0 0:0", "1000 1000:1000", "sub/0 0:0",
        "sub/1000 1000:1000",
    ], done.stderr  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "marks"), [("rslave", "master"), ("rshared", "shared master"), ("rprivate", "")]
)
@pytest.mark.ours
def test_propagation_into_a_user_namespace_is_one_way(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, kind: str, marks: str
) -> None:
    """Whatever rootfsPropagation says, the host's mounts learn nothing from the container."""
    top = tmp_path / "top"
    top.mkdir()
    subprocess.run(["mount", "--bind", str(top), str(top)], check=True)
    subprocess.run(["mount", "--make-shared", str(top)], check=True)
    try:

        def edit(config: Config) -> None:
            user_namespace(config)
            config["linux"]["rootfsPropagation"] = kind
            mounts(bind(top, "/mnt", "rbind"))(config)
            make_owned(tmp_path / "b/rootfs")

        done = runtime.run(bundle("cat", "/proc/self/mountinfo", edit=edit))
    finally:
        subprocess.run(["umount", str(top)], check=True)

    line = next(line for line in done.stdout.splitlines() if line.split()[4] == "/mnt")
    fields = line.split(" - ")[0].split()[6:]
    assert [field.partition(":")[0] for field in fields] == marks.split(), line
