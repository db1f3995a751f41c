"""What create was told: names, UCI values, and comparison with a section."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.config.models import Container, Place
from uxc.errors import InvalidError
from uxc.manager.settings import Settings, check_name, section_name

CONTAINER = Container(
    name="web",
    place=Place(file="f", line=1, section="web"),
    bundle="/b",
    autostart=True,
    temp_overlay_size="1048576",
)


@pytest.mark.parametrize(
    "name", ["../x", "", ".", "..", "a/b", "a b", "ä", "a\n", "x" * 129, "-\0"]
)
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    """A name is also the name of directories, cgroups and files."""
    with pytest.raises(InvalidError):
        check_name(name)


@given(st.from_regex(r"[A-Za-z0-9_.+-]{1,20}", fullmatch=True), st.sets(st.text()))
def test_a_section_name_is_one_that_uci_takes(name: str, taken: set[str]) -> None:
    """Whatever the container is called, and whatever is there already."""
    section = section_name(name, taken)

    assert section.isascii()
    assert section.replace("_", "a").isalnum()
    assert section not in taken


@pytest.mark.parametrize(
    ("name", "taken", "section"),
    [
        ("web", set(), "web"),
        ("my-app", set(), "my_app"),
        ("my-app", {"my_app"}, "my_app_2"),
        ("my.app", {"my_app", "my_app_2"}, "my_app_3"),
    ],
)
def test_section_names_stay_readable(name: str, taken: set[str], section: str) -> None:
    """What UCI cannot have becomes an underscore."""
    assert section_name(name, taken) == section


def test_values_are_what_was_said() -> None:
    """Nothing is written that nobody asked for; the real name only where it differs."""
    assert Settings(bundle="/b").values("web", "web") == {"bundle": "/b"}
    assert Settings(bundle="/b", autostart=False, volumes=("/x",)).values("my-app", "my_app") == {
        "name": "my-app",
        "bundle": "/b",
        "autostart": "0",
        "volumes": ["/x"],
    }


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        (Settings(), ""),
        (Settings(bundle="/b/"), ""),
        (Settings(bundle="/c"), "bundle"),
        (Settings(bundle="/b", autostart=True), ""),
        (Settings(bundle="/b", autostart=False), "autostart"),
        (Settings(temp_overlay_size="1M"), ""),
        (Settings(temp_overlay_size="2M"), "temp_overlay_size"),
        (Settings(temp_overlay_size="x"), "temp_overlay_size"),
        (Settings(write_overlay_path="/w"), "write_overlay_path"),
        (Settings(volumes=("/x",)), "volumes"),
    ],
)
def test_the_same_is_no_conflict(settings: Settings, option: str) -> None:
    """create on an existing section is fine when it says the same."""
    assert settings.difference(CONTAINER) == option


def test_saying_nothing_is_saying_nothing() -> None:
    """create NAME uses the section as it is."""
    assert not Settings()
    assert Settings(autostart=False)
