"""Cgroup hierarchies that are mounted and cannot be reached."""

from uxc.oci.cgroup import layout

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw
"""


def test_a_tree_below_another_mount_is_not_there() -> None:
    """A v2 tree that a tmpfs covers is no v2 tree: writing there would make plain files."""
    covered = HYBRID + "50 41 0:40 / /sys/fs/cgroup/unified rw - tmpfs none rw\n"

    assert layout.parse(HYBRID).unified == "/sys/fs/cgroup/unified"
    assert layout.parse(covered).unified == ""
    assert layout.parse(covered).v1 == {"cpu": "/sys/fs/cgroup/cpu"}


def test_what_lies_beneath_a_covered_mount_is_out_of_reach() -> None:
    """A fresh mount on the parent hides all hierarchies below it, and only its own are seen."""
    covered = (
        HYBRID
        + "60 31 0:41 / /sys/fs/cgroup rw - tmpfs none rw\n"
        + "61 60 0:38 / /sys/fs/cgroup/v2 rw - cgroup2 cgroup2 rw\n"
    )

    found = layout.parse(covered)

    assert found.unified == "/sys/fs/cgroup/v2"
    assert found.v1 == {}
