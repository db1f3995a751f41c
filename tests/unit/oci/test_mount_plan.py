"""What kind of step an entry of ``mounts`` becomes."""

from pathlib import Path
from typing import Any

import pytest

from rootfs import busybox
from uxc.errors import InvalidError
from uxc.oci import mountplan, plan, spec
from uxc.oci.mountplan import MountStep

Config = dict[str, Any]
MAP = [{"containerID": 0, "hostID": 100000, "size": 1000}]


def resolve(mount: Config, labelled: bool = False, **linux: object) -> MountStep:
    """Return the step for one mount."""
    config = busybox.make_config("true")
    config["linux"].update(linux)
    config["mounts"] = [{"destination": "/mnt", **mount}]
    read = spec.parse(config)
    return mountplan.resolve(0, read.mounts[0], "/bundle", read.linux, labelled)


@pytest.mark.parametrize(
    ("mount", "kind", "source"),
    [
        ({"type": "bind", "source": "/x"}, "bind", "/x"),
        ({"type": "none", "source": "x", "options": ["rbind"]}, "bind", "/bundle/x"),
        ({"source": "../x", "options": ["bind"]}, "bind", "/bundle/../x"),
        ({"type": "tmpfs"}, "tmpfs", ""),
        ({"type": "tmpfs", "source": "x"}, "tmpfs", "x"),
        ({"type": "cgroup", "source": "cgroup"}, "cgroup", "cgroup"),
        ({"type": "cgroup2", "source": "cgroup"}, "cgroup", "cgroup"),
        ({"options": ["remount", "ro"]}, "remount", ""),
        ({"type": "bind", "source": "/x", "options": ["remount", "ro"]}, "remount", "/x"),
    ],
)
def test_a_mount_is_of_one_kind(mount: Config, kind: str, source: str) -> None:
    """Sources of bind mounts are paths of the host, relative ones below the bundle."""
    step = resolve(mount)

    assert (step.kind, step.source) == (kind, source)


def test_a_bind_by_type_is_one_by_option() -> None:
    """``type: bind`` with ``remount`` changes the mount alone, as ``remount,bind`` does."""
    assert resolve({"type": "bind", "options": ["remount"]}).options.bind


@pytest.mark.parametrize(
    ("destination", "place"),
    [
        ("/", "/"),
        ("//a/./b/", "/a/b"),
        ("a/../../b", "/b"),
        ("", "/"),
        ("/proc/..", "/"),
        ("./proc//", "/proc"),
    ],
)
def test_a_destination_has_one_plain_form(destination: str, place: str) -> None:
    """Two names of one place are seen to be one."""
    assert MountStep(0, "tmpfs", "", destination).place == place


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        ({"source": "/x"}, "mounts[0].type"),
        ({"type": "bind"}, "mounts[0].source"),
        ({"type": "ext4", "options": ["tmpcopyup"]}, "tmpcopyup"),
        ({"type": "tmpfs", "options": ["idmap"]}, "bind mounts only"),
        ({"type": "tmpfs", "options": ["src-nofollow"]}, "src-nofollow"),
        ({"type": "tmpfs", "source": "a\0b"}, "NUL"),
        ({"type": "tmpfs", "options": ["x=a\0b"]}, "NUL"),
        ({"type": "bind", "source": "/x", "options": ["idmap"]}, "no user namespace"),
        ({"type": "bind", "source": "/x", "options": ["idmap=uids=1"]}, "cannot read"),
        (
            {"type": "bind", "source": "/x", "options": ["idmap=uids=@0-0-1;gids=@0-0-1"]},
            "0 is not in the container's own uids",
        ),
        ({"type": "bind", "source": "/x", "uidMappings": MAP, "gidMappings": []}, "both"),
    ],
)
def test_what_makes_no_sense_is_refused(mount: Config, path: str) -> None:
    """With the place in config.json."""
    with pytest.raises(InvalidError, match="mounts\\[0\\]") as refused:
        resolve(mount)

    assert path in refused.value.message


def test_mappings_are_the_mounts_own_or_the_containers() -> None:
    """uidMappings win over the text behind ``idmap=``, and either over the container's."""
    spaces = [{"type": kind} for kind in ("user", "mount", "uts")]
    space: Config = {"namespaces": spaces, "uidMappings": MAP, "gidMappings": MAP}
    text = "idmap=uids=5-6-7;gids=@1-2-3"
    mount = {"source": "/x", "options": ["bind", text]}

    assert resolve({"source": "/x", "options": ["bind", "idmap"]}, **space).maps is None
    read = resolve(mount, **space).maps
    given = resolve({**mount, "uidMappings": MAP, "gidMappings": MAP}, **space).maps

    assert read is not None
    assert given is not None
    assert [(one.container_id, one.host_id, one.size) for one in read.uids] == [(5, 6, 7)]
    assert [(one.container_id, one.host_id, one.size) for one in read.gids] == [(1, 100002, 3)]
    assert given.uids[0].host_id == 100000


def test_a_label_goes_where_it_can(tmp_path: Path) -> None:
    """File systems of the container are labelled; binds and the kernel's own views are not."""
    label = "system_u:object_r:container_file_t:s0:c1,c2"

    assert resolve({"type": "tmpfs"}, True, mountLabel=label).label == label
    assert resolve({"type": "tmpfs"}, False, mountLabel=label).label == ""
    for mount in ({"type": "proc"}, {"type": "sysfs"}, {"type": "bind", "source": "/x"}):
        assert resolve(mount, True, mountLabel=label).label == ""
    (tmp_path / "with").write_text("nodev\tselinuxfs\n")
    (tmp_path / "without").write_text("nodev\ttmpfs\n")
    assert mountplan.knows_labels(str(tmp_path / "with"))
    assert not mountplan.knows_labels(str(tmp_path / "without"))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, False),
        ({"namespaces": [{"type": "pid"}]}, True),
        (
            {
                "namespaces": [{"type": "mount"}, {"type": "user"}],
                "uidMappings": MAP,
                "gidMappings": MAP,
            },
            True,
        ),
    ],
)
def test_the_maker_opens_mounts_when_it_must(tmp_path: Path, change: Config, wanted: bool) -> None:
    """For a user namespace, and where the mounts are the host's; never else."""
    config = busybox.make_config("true")
    del config["hostname"]
    config["linux"].update(change, maskedPaths=[], readonlyPaths=[])

    assert plan.Plan(spec.parse(config), str(tmp_path), 0, []).wants_trees is wanted
