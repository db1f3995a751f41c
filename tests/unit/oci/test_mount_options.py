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
    " rsymfollow iversion mand nomand remount tmpcopyup idmap ridmap"
).split()


@pytest.mark.parametrize("option", MUST)
def test_an_option_of_the_specification_is_no_data(option: str) -> None:
    """What the specification defines is never handed to a file system as its own option."""
    data = Options([option]).data

    assert data == ([option] if option in mountoptions.SUPERBLOCK else [])


@pytest.mark.parametrize("option", MUST)
def test_every_option_can_stand_anywhere(option: str) -> None:
    """What an option means is the same before and after each of the others that say other things.

    Opposites, kinds of access times, and propagation types have an order; all others have none.
    """
    for other in MUST:
        if _speak_of_one_thing(option, other):
            continue

        assert _meaning([option, other]) == _meaning([other, option]), other


def _speak_of_one_thing(one: str, other: str) -> bool:
    for table in (mountoptions.ATTRIBUTES, mountoptions.RECURSIVE_ATTRIBUTES):
        if one in table and other in table:
            # The bits that each decides upon, set or clear.
            bits = [table[name][0] | table[name][1] for name in (one, other)]
            return bool(bits[0] & bits[1])
    if one in mountoptions.PROPAGATIONS and other in mountoptions.PROPAGATIONS:
        return True
    return one.removeprefix("no") == other.removeprefix("no")


def _meaning(options: list[str]) -> dict[str, object]:
    found = Options(options)
    meaning = {
        name: getattr(found, name) for name in Options.__slots__ if not name.endswith("change")
    }
    for name in ("change", "recursive_change"):
        change = getattr(found, name)
        meaning[name] = (change.set, change.clear)
    return {**meaning, "data": sorted(found.data)}


@pytest.mark.parametrize(
    ("option", "attribute"),
    [
        ("remount", "remount"),
        ("tmpcopyup", "copy_up"),
        ("copy-symlink", "copy_symlink"),
        ("src-nofollow", "source_nofollow"),
        ("dest-nofollow", "destination_nofollow"),
        ("iversion", "iversion"),
        ("idmap", "idmap"),
        ("ridmap", "idmap"),
        ("bind", "bind"),
    ],
)
def test_a_switch_turns_one_thing_on(option: str, attribute: str) -> None:
    """And is no data."""
    found = Options(["ro", option, "size=1"])

    assert getattr(found, attribute) is True
    assert getattr(Options(["ro"]), attribute) is False
    assert found.data == ["size=1"]


@pytest.mark.parametrize("option", [*mountoptions.FOR_FSTAB, "x-systemd.automount", "defaults"])
def test_what_mount_keeps_to_itself_is_no_data(option: str) -> None:
    """mount(8) reads it in fstab; the kernel never sees it."""
    assert Options([option]).data == []


def test_recursive_binds_win() -> None:
    """bind and rbind together take along what is mounted below, in any order."""
    assert Options(["bind", "rbind"]).recursive_bind
    assert Options(["rbind", "bind"]).recursive_bind


def test_mappings_behind_idmap_are_read() -> None:
    """Podman's form: ranges by #, three numbers each, @ for the container's own ids."""
    found = mountoptions.parse_idmap("uids=0-1000-1#@5-0-10;gids=7-8-9")

    assert found == {"uids": [(False, 0, 1000, 1), (True, 5, 0, 10)], "gids": [(False, 7, 8, 9)]}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "^$"),
        ("uids=0-1-1", "^uids=0-1-1$"),
        ("uids=0-1;gids=0-0-1", "^uids=0-1$"),
        ("uids=0-1-1;gids=0-1-x", "^gids=0-1-x$"),
        ("uids=;gids=", "^uids=$"),
        ("uids=0-1-1;uids=0-2-1;gids=0-1-1", "^uids=0-2-1$"),
        ("users=0-0-1;gids=0-0-1", "^users=0-0-1$"),
        ("uids=-1-0-1;gids=0-0-1", "^uids=-1-0-1$"),
    ],
)
def test_mappings_that_cannot_be_read_are_an_error(text: str, wrong: str) -> None:
    """It says which part; the alternative were owners that nobody meant."""
    with pytest.raises(ValueError, match=wrong):
        mountoptions.parse_idmap(text)


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
