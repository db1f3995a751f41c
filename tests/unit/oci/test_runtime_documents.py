"""What the runtime writes about itself: the features document and the first config.json."""

import json
from typing import Any

import pytest

from uxc.oci import features, mountoptions, parking, seccomp, spec, spec_seccomp, template

# config.md, "Linux mount options": what a runtime MUST know.
MUST = """
    async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev
    nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime
    remount ro rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync
    unbindable
""".split()
SHOULD = """
    mand nomand tmpcopyup nosymfollow symfollow ratime rdev rdiratime rexec rnoatime rnodev
    rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow rrelatime rro rrw
    rstrictatime rsuid rsymfollow idmap ridmap
""".split()


@pytest.fixture
def document() -> dict[str, Any]:
    """Return the features document as who asks reads it."""
    return features.document()


def test_every_option_of_the_specification_is_listed(document: dict[str, Any]) -> None:
    """CRI-O looks for rro, for one, before it asks for it."""
    assert [name for name in MUST + SHOULD if name not in document["mountOptions"]] == []


def test_a_listed_option_is_no_data_for_a_file_system(document: dict[str, Any]) -> None:
    """Each means something to the runtime itself, or is a flag of every file system."""
    for name in document["mountOptions"]:
        if name not in mountoptions.SUPERBLOCK:
            assert mountoptions.Options([name]).data == [], name


def test_the_rest_is_what_bundles_may_name(document: dict[str, Any]) -> None:
    """From the tables that judge a bundle."""
    linux = document["linux"]

    assert document["ociVersionMin"] == "1.0.0"
    assert document["hooks"] == list(spec.HOOKS)
    assert spec.version_problem(document["ociVersionMax"]) == ""
    assert {"cgroup", "time", "user"} < set(linux["namespaces"])
    assert linux["capabilities"][0] == "CAP_CHOWN"
    assert len(linux["capabilities"]) == 41
    assert (linux["cgroup"]["v1"], linux["cgroup"]["v2"]) == (True, True)
    assert linux["cgroup"]["systemd"] is False
    assert linux["mountExtensions"]["idmap"]["enabled"] is True
    assert linux["intelRdt"]["enabled"] is False
    for name in ("apparmor", "selinux", "netDevices"):
        assert linux[name]["enabled"] is True
    assert "MPOL_WEIGHTED_INTERLEAVE" in linux["memoryPolicy"]["modes"]
    assert "MPOL_F_STATIC_NODES" in linux["memoryPolicy"]["flags"]
    assert document["potentiallyUnsafeConfigAnnotations"] == [parking.ANNOTATION]


def test_every_action_and_flag_listed_can_be_compiled(document: dict[str, Any]) -> None:
    """The list comes from the reader of bundles; the compiler has the same."""
    found = document["linux"]["seccomp"]

    assert set(found["actions"]) == set(seccomp._ACTIONS)
    assert set(found["supportedFlags"]) == set(seccomp._FLAGS) == set(spec_seccomp.FLAGS)


def test_the_first_config_is_right() -> None:
    """Without a warning or a word changed by hand."""
    parsed = spec.parse(template.config())

    assert parsed.process is not None
    assert parsed.process.no_new_privileges
    assert parsed.root.readonly


def test_the_first_config_of_a_user_maps_that_user() -> None:
    """Alone, without what only root may do."""
    config = template.rootless(template.config(), 1000, 100)
    linux = config["linux"]

    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 100, "size": 1}]
    assert "resources" not in linux
    assert {"type": "network"} not in linux["namespaces"]
    assert "gid=5" not in json.dumps(config)
    assert [
        mount["destination"] for mount in config["mounts"] if "sys" in mount["destination"]
    ] == ["/sys"]
    spec.parse(config)


def test_the_text_is_json_and_stays_readable() -> None:
    """Tabs, a member a line, short lists in one."""
    value = {"a": [], "b": {"c": ["x", "y"], "d": "e\u00fc\n"}, "f": [{"g": None}]}
    text = template.text(value)

    assert json.loads(text) == value
    assert '\t\t"c": ["x", "y"],\n' in text
    assert text.endswith("}\n")
    assert json.loads(template.text(template.config())) == template.config()
