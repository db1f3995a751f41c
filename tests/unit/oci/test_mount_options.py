"""Mount options, sorted by whom they are for."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from uxc.linux import const
from uxc.oci import mountoptions
from uxc.oci.mountoptions import Options, split_data

# runtime-spec 1.3, config.md, the table of options that a runtime MUST implement.
MUST = (
    "async atime bind defaults dev diratime dirsync exec lazytime loud noatime nodev nodiratime"
    " noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime ro"
    " rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable"
    " nosymfollow symfollow ratime rdev rdiratime rexec rnoatime rnodev rnodiratime rnoexec"
    " rnorelatime rnostrictatime rnosuid rnosymfollow rrelatime rro rrw rstrictatime rsuid"
    " rsymfollow"
).split()


@pytest.mark.parametrize("option", MUST)
def test_an_option_of_the_specification_is_no_data(option: str) -> None:
    """What the specification defines is never handed to a file system as its own option."""
    data = Options([option]).data

    assert data == ([option] if option in mountoptions.SUPERBLOCK else [])


@pytest.mark.parametrize("option", mountoptions.NOT_YET)
def test_an_option_that_is_not_done_is_refused(option: str) -> None:
    """The index says which one it was."""
    with pytest.raises(ValueError, match="1"):
        Options(["ro", option])


@given(some.permutations(["ro", "nosuid", "bind", "size=1", "noatime", "rslave", "rro"]))
def test_unrelated_options_have_no_order(options: list[str]) -> None:
    """Any order means the same; ``bind`` wipes nothing."""
    found = Options(options)

    assert found.bind
    assert found.read_only
    assert found.change.set & const.MOUNT_ATTR_NOSUID
    assert found.change.set & const.MOUNT_ATTR__ATIME == const.MOUNT_ATTR_NOATIME
    assert found.recursive_change.set == const.MOUNT_ATTR_RDONLY
    assert found.propagation == [(const.MS_SLAVE, True)]
    assert found.data == ["size=1"]


@given(some.lists(some.sampled_from(sorted(mountoptions.ATTRIBUTES))))
def test_the_last_of_opposite_options_wins(options: list[str]) -> None:
    """The result is that of applying one after the other; nothing is both set and cleared."""
    change = Options(options).change
    wanted = 0
    for option in options:
        set_, clear = mountoptions.ATTRIBUTES[option]
        wanted = wanted & ~clear | set_

    assert change.set == wanted
    assert not change.set & change.clear & ~const.MOUNT_ATTR__ATIME


@given(some.lists(some.sampled_from(sorted(mountoptions.ATTRIBUTES))))
def test_access_times_are_changed_as_a_whole(options: list[str]) -> None:
    """mount_setattr(2) refuses a change of a part of the field."""
    change = Options(options).change

    assert change.clear & const.MOUNT_ATTR__ATIME in (0, const.MOUNT_ATTR__ATIME)
    if change.set & const.MOUNT_ATTR__ATIME:
        assert change.clear & const.MOUNT_ATTR__ATIME == const.MOUNT_ATTR__ATIME


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("size=1m", ["size=1m"]),
        ("size=1m,mode=755", ["size=1m", "mode=755"]),
        (",,a,", ["a"]),
        ('context="a:b:c0,c1",x', ["context=a:b:c0,c1", "x"]),
        (r"lowerdir=/a\,b:/c,upperdir=/d", [r"lowerdir=/a\,b:/c", "upperdir=/d"]),
    ],
)
def test_data_is_split_at_its_commas(text: str, parts: list[str]) -> None:
    """Commas in quotes and behind a backslash belong to a value."""
    assert split_data(text) == parts
