"""Mounts with mapped owners, and those of a container in a user namespace."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import (
    SHOW_MOUNTS,
    bind,
    entry,
    give_to_mapped_root,
    mapped,
    mapping,
    mounts,
    namespaces,
    options_of,
)
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


@pytest.fixture
def two_owners(tree: Path) -> Path:
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
def test_owners_can_be_mapped(sh: Sh, two_owners: Path, option: str, below: str) -> None:
    """Ids of the disk are shown as others; what has no mapping belongs to nobody."""
    maps: Config = {"uidMappings": [mapping(0, 7)], "gidMappings": [mapping(0, 8)]}
    options = [option]
    if option == "text":
        options, maps = ["idmap=uids=0-7-1;gids=0-8-1"], {}
    before = {place: place.stat().st_uid for place in two_owners.rglob("*")}

    text = sh(OWNERS, mounts(bind(two_owners, "/mnt", "rbind", *filter(None, options), **maps)))

    found = dict(line.split() for line in text.splitlines())
    assert found["0"] == "7:8"
    assert found["1000"] == "65534:65534"
    assert found["sub/0"] == below
    assert found["sub/1000"] == ("1000:1000" if below == "0:0" else "65534:65534")
    assert {place: place.stat().st_uid for place in two_owners.rglob("*")} == before


@pytest.mark.ours
def test_maps_of_the_container_are_used_without_others(
    sh: Sh, two_owners: Path, tmp_path: Path
) -> None:
    """idmap alone: files of the host's root are those of the container's."""

    def edit(config: Config) -> None:
        mapped()(config)
        mounts(bind(two_owners, "/mnt", "rbind", "idmap"), bind(two_owners, "/plain", "rbind"))(
            config
        )
        give_to_mapped_root(tmp_path / "b/rootfs")

    text = sh(f"{OWNERS}; cd /plain; stat -c '%n %u:%g' 0; > /mnt/new; true", edit)

    assert text.splitlines() == [
        "0 0:0", "1000 1000:1000", "sub/0 65534:65534", "sub/1000 65534:65534", "0 65534:65534",
    ]  # fmt: skip
    assert (two_owners / "new").stat().st_uid == 0


@pytest.mark.ours
def test_only_one_of_both_maps_is_refused(refusal: Refusal) -> None:
    """config.md: one MUST be specified along with the other."""
    said = refusal(
        mounts(bind("/tmp", "/mnt", "bind", uidMappings=[mapping(0, 5)], gidMappings=[]))
    )

    assert "mounts[6]" in said
    assert "both" in said


@pytest.mark.ours
def test_owners_that_cannot_be_mapped_are_an_error(refusal: Refusal) -> None:
    """Not every file system can, procfs cannot; the mount is named."""
    maps: Config = {"uidMappings": [mapping(0, 5)], "gidMappings": [mapping(0, 5)]}

    said = refusal(mounts(bind("/proc/sys", "/mnt", "bind", **maps)))

    assert "mounts[6]" in said
    assert "/proc/sys" in said


def test_a_bundle_that_its_root_cannot_reach_works(
    runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Directories above root and volumes may be for the host's root alone."""
    hidden = tmp_path / "hidden"
    (hidden / "data").mkdir(parents=True)
    (hidden / "data/file").write_text("reached")
    hidden.chmod(0o700)

    def edit(config: Config) -> None:
        mapped()(config)
        config["root"]["path"] = str(hidden / "rootfs")
        mounts(bind(hidden / "data", "/mnt", "rbind", "ro"))(config)

    where = bundle("sh", "-c", "cat /mnt/file; > /mnt/x || echo ro", edit=edit)
    (where / "rootfs").rename(hidden / "rootfs")
    give_to_mapped_root(hidden / "rootfs", reachable=False)

    done = runtime.run(where)

    assert done.stdout == "reachedro\n", done.stderr


def test_devices_are_there_in_a_user_namespace(sh: Sh, tmp_path: Path) -> None:
    """Nodes as listed, with the owner and mode as listed, though nobody may make any there."""
    devices = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o640,
         "uid": 7, "gid": 8},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 1},
    ]  # fmt: skip

    def edit(config: Config) -> None:
        mapped()(config)
        config["linux"]["devices"] = devices
        give_to_mapped_root(tmp_path / "b/rootfs")

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
        mapped()(config)
        namespaces(network=None)(config)
        give_to_mapped_root(tmp_path / "b/rootfs")

    text = sh(f"{SHOW_MOUNTS}; ls /sys", edit)

    assert "kernel" in text.split()
    assert options_of(text, "/sys") >= {"ro", "nosuid", "nodev", "noexec"}


@pytest.mark.vm
@pytest.mark.parametrize("own", [True, False])
def test_cgroups_can_be_mounted_in_a_user_namespace(sh: Sh, tmp_path: Path, own: bool) -> None:
    """With a cgroup namespace anew; without one bound, and read-only (CVE-2023-25809)."""

    def edit(config: Config) -> None:
        mapped()(config)
        if not own:
            namespaces(cgroup=None)(config)
        mounts(entry("/sys/fs/cgroup", "nosuid", kind="cgroup", source="cgroup"))(config)
        give_to_mapped_root(tmp_path / "b/rootfs")

    text = sh(SHOW_MOUNTS, edit)

    trees = [line.split() for line in text.splitlines() if " - cgroup" in line]
    assert trees
    assert all(("ro" in words[5].split(",")) is not own for words in trees)


@pytest.mark.ours
def test_a_joined_user_namespace_maps_devices_and_owners(
    runtime: Runtime, bundle: Bundle, two_owners: Path
) -> None:
    """The maps of one that exists already are those of its path."""
    first = bundle("sleep", "60", edit=mapped(), name="first")
    give_to_mapped_root(first / "rootfs")
    holder = runtime.created(first, "holder")

    def edit(config: Config) -> None:
        config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{holder}/ns/user"})
        config["linux"]["devices"] = [
            {"path": "/dev/tun", "type": "c", "major": 10, "minor": 200, "uid": 7, "gid": 8}
        ]
        mounts(bind(two_owners, "/mnt", "rbind", "ridmap"))(config)

    where = bundle("sh", "-c", f"stat -c '%n %u:%g' /dev/null /dev/tun; {OWNERS}", edit=edit)
    give_to_mapped_root(where / "rootfs")
    done = runtime.run(where)

    assert done.stdout.splitlines() == [
        "/dev/null 0:0", "/dev/tun 7:8", "0 0:0", "1000 1000:1000", "sub/0 0:0",
        "sub/1000 1000:1000",
    ], done.stderr  # fmt: skip


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
            mapped()(config)
            mounts(bind(top, "/mnt", "rbind", "rshared"), entry("/mnt/in"))(config)
            give_to_mapped_root(tmp_path / "b/rootfs")

        where = bundle("true", edit=edit)
        before = Path("/proc/self/mountinfo").read_text()
        done = runtime.create(where)

        assert done.returncode == 0, runtime.output()
        assert Path("/proc/self/mountinfo").read_text() == before
    finally:
        runtime.tidy()
        subprocess.run(["umount", str(top)], check=True)


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
            mapped()(config)
            config["linux"]["rootfsPropagation"] = kind
            mounts(bind(top, "/mnt", "rbind"))(config)
            give_to_mapped_root(tmp_path / "b/rootfs")

        done = runtime.run(bundle("cat", "/proc/self/mountinfo", edit=edit))
    finally:
        subprocess.run(["umount", str(top)], check=True)

    line = next(line for line in done.stdout.splitlines() if line.split()[4] == "/mnt")
    fields = line.split(" - ")[0].split()[6:]
    assert [field.partition(":")[0] for field in fields] == marks.split(), line
