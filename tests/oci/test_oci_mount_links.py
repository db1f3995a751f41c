"""Symbolic links as sources and as places of mounts."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import bind, entry, mounts
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


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
        config["mounts"].append(entry("/one/x"))

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
