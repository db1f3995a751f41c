"""The options of ``mounts``: what each does, how they go together, and ``remount``."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import SHOW_MOUNTS, bind, entry, mounts, options_of
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]


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
    found = options_of(sh(SHOW_MOUNTS, edit=mounts(entry("/mnt", *options))), "/mnt")

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

    found = options_of(sh(SHOW_MOUNTS, edit=edit), "/mnt")

    assert there <= found
    assert not missing & found


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
    text = sh(SHOW_MOUNTS, edit)

    for place in ("/one", "/one/sub", "/two", "/two/sub", "/top"):
        assert there in options_of(text, place)
    assert there not in options_of(text, "/top/sub")


@pytest.mark.ours
def test_recursive_options_can_be_undone(sh: Sh, tree: Path) -> None:
    """rrw makes writable again what the host has read-only; the top's own option wins."""
    subprocess.run(["mount", "-o", "remount,bind,ro", str(tree / "sub")], check=True)
    edit = mounts(bind(tree, "/one", "rbind", "rrw", "ro"))

    text = sh(SHOW_MOUNTS, edit)

    assert "rw" in options_of(text, "/one/sub")
    assert "ro" in options_of(text, "/one")


@pytest.mark.ours
def test_iversion_is_set_and_nothing_is_lost(sh: Sh) -> None:
    """The other flags and attributes stay as given; the kernel shows iversion nowhere."""
    edit = mounts(entry("/mnt", "iversion", "nosuid", "sync", "noatime", "mode=700"))

    assert options_of(sh(SHOW_MOUNTS, edit), "/mnt") >= {"nosuid", "noatime", "super-sync"}


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime"])
def test_flags_of_the_file_system_are_set(sh: Sh, option: str) -> None:
    """mountinfo shows them behind the dash."""
    assert f"super-{option}" in options_of(sh(SHOW_MOUNTS, mounts(entry("/mnt", option))), "/mnt")


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
    assert "rw" in options_of(sh(SHOW_MOUNTS, mounts(entry("/mnt", *options))), "/mnt")


def test_a_bind_keeps_the_flags_of_its_source(sh: Sh, tree: Path) -> None:
    """What the options do not name stays: a noexec volume is noexec in the container."""
    subprocess.run(["mount", "-o", "remount,bind,noexec,nosuid", str(tree / "sub")], check=True)

    found = options_of(sh(SHOW_MOUNTS, mounts(bind(tree / "sub", "/mnt", "bind"))), "/mnt")

    assert found >= {"noexec", "nosuid"}


def test_symbolic_links_are_not_followed_with_nosymfollow(sh: Sh, tmp_path: Path) -> None:
    """The kernel refuses to follow links in that mount."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("x")
    os.symlink("file", tmp_path / "data/link")
    edit = mounts(bind(tmp_path / "data", "/mnt", "bind", "nosymfollow"))

    assert sh("cat /mnt/file; cat /mnt/link 2>/dev/null || echo -n no", edit) == "xno"


def test_data_goes_to_the_file_system(sh: Sh) -> None:
    """Options nobody knows are the file system's own."""
    text = sh(
        "stat -c %a /mnt; df -k /mnt | tail -1", edit=mounts(entry("/mnt", "mode=700", "size=1m"))
    )

    assert text.split()[0] == "700"
    assert text.split()[2] == "1024"


@pytest.mark.ours
def test_data_that_is_wrong_is_explained_by_the_kernel(refusal: Refusal) -> None:
    """The message holds the kernel's words, the mount and its index."""
    said = refusal(mounts(entry("/mnt", "color=red")))

    assert "/mnt" in said
    assert "mounts[6]" in said
    assert "color" in said


@pytest.mark.parametrize("kind", ["rshared", "rslave", "rprivate"])
@pytest.mark.ours
def test_propagation_of_a_mount(sh: Sh, runtime: Runtime, kind: str) -> None:
    """A propagation option of a mount is on that mount."""
    source = runtime.directory / "source"
    source.mkdir()
    text = sh(SHOW_MOUNTS, edit=mounts(bind(source, "/mnt", "rbind", kind)))
    line = next(line for line in text.splitlines() if line.split()[4] == "/mnt")

    assert ("shared:" in line) is (kind == "rshared")


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("mounts[6].options", bind("/tmp", "/mnt", "rbind", "tmpcopyup")),
        ("mounts[6].options", entry("/mnt", "idmap")),
        ("mounts[6]", bind("/tmp", "/mnt", "rbind", "idmap")),
        ("mounts[6].options", entry("/mnt", "copy-symlink")),
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
def test_a_label_without_selinux_is_a_warning(runtime: Runtime, bundle: Bundle) -> None:
    """There is nothing that would look at it, and it is said."""
    if "selinuxfs" in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has SELinux")
    label = "system_u:object_r:container_file_t:s0:c1,c2"

    done = runtime.run(bundle("true", edit=lambda one: one["linux"].update(mountLabel=label)))

    assert done.returncode == 0
    assert "linux.mountLabel" in done.stderr
    assert "SELinux" in done.stderr


def test_remount_changes_what_is_mounted(sh: Sh) -> None:
    """A tmpfs of the bundle gets another size and becomes read-only."""
    edit = mounts(
        entry("/mnt", "size=1m", "nosuid"), entry("/mnt", "remount", "size=2m", "ro", "nodev")
    )
    text = sh(f"{SHOW_MOUNTS}; > /mnt/x; df -k /mnt | tail -1", edit)

    found = options_of(text, "/mnt")
    assert found >= {"ro", "nodev"}
    assert text.split()[-5] == "2048"
    assert text.count(" /mnt ") == 1


@pytest.mark.ours
def test_a_remount_keeps_what_it_does_not_name(sh: Sh) -> None:
    """As mount(8) does, and not as mount(2)."""
    edit = mounts(entry("/mnt", "nosuid", "noexec"), entry("/mnt", "remount", "nodev"))

    assert options_of(sh(SHOW_MOUNTS, edit), "/mnt") >= {"nosuid", "noexec", "nodev"}


def test_a_bind_remount_changes_the_mount_only(sh: Sh, tmp_path: Path) -> None:
    """``remount,bind,ro``: the file system below stays as it is."""
    (tmp_path / "data").mkdir()
    edit = mounts(
        bind(tmp_path / "data", "/mnt", "rbind"),
        bind(tmp_path / "data", "/mnt", "remount", "bind", "ro"),
    )
    text = sh(SHOW_MOUNTS, edit)

    assert "ro" in options_of(text, "/mnt")
    assert "super-rw" in options_of(text, "/mnt")


@pytest.mark.ours
def test_a_remount_never_touches_a_file_system_of_the_host(sh: Sh) -> None:
    """Without ``bind``, too, it is the mount that becomes read-only."""
    before = Path("/proc/self/mountinfo").read_text()

    text = sh(SHOW_MOUNTS, mounts(entry("/", "remount", "ro", "nodev")))

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
