"""``tmpcopyup``: a tmpfs that begins with what the image has at its place."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import bind, entry, mounts
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


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
