"""config.json's ``root``, its devices, masked and read-only paths, and its propagation."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import bind, without_dev
from rootfs import busybox
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


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
        without_dev(config)
        rootfs = tmp_path / "b/rootfs"
        (rootfs / "dev").rmdir()
        os.symlink("/tmp", rootfs / "dev")

    assert "symbolic link" in refusal(edit)
    assert not list((tmp_path / "b/rootfs/tmp").iterdir())


@pytest.mark.ours
def test_a_false_default_device_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    """A regular file in the place of /dev/null would collect what programs throw away."""

    def edit(config: Config) -> None:
        without_dev(config)
        (tmp_path / "b/rootfs/dev/null").write_text("")

    assert "/dev/null" in refusal(edit)


def test_devices_of_the_host_are_left_alone(sh: Sh) -> None:
    """A /dev that is bound from the host gets no nodes and no links."""

    def edit(config: Config) -> None:
        without_dev(config)
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
