"""Device rules: the lines for v1, and the eBPF program, run by a small interpreter of it."""

import struct
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.errors import InvalidError
from uxc.oci.cgroup import devices
from uxc.oci.spec_resources import Resources

READ, WRITE, MKNOD = 2, 4, 1
BLOCK, CHAR = 1, 2
DENY_ALL = {"allow": False, "access": "rwm"}


def rules(*wanted: dict[str, Any]) -> list[devices.Rule]:
    resources = Resources({"devices": list(wanted)}, "resources.json: ")
    return devices.rules_of(resources.devices)


def run(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """Return what the kernel would: interpret the instructions, which may only jump forward."""
    context = struct.pack("=III", access << 16 | kind, major, minor)
    registers = [0, 0, 0, 0, 0, 0]
    at = 0
    while True:
        code, byte, offset, value = struct.unpack_from("=BBhI", program, at * 8)
        target = byte & 15 if sys.byteorder == "little" else byte >> 4
        at += 1
        assert offset >= 0
        if code == 0x61:
            registers[target] = struct.unpack_from("=I", context, offset)[0]
        elif code == 0xB7:
            registers[target] = value
        elif code == 0x54:
            registers[target] &= value
        elif code == 0x74:
            registers[target] >>= value
        elif code == 0x05:
            at += offset
        elif code == 0x16:
            at += offset if registers[target] == value else 0
        elif code == 0x56:
            at += offset if registers[target] != value else 0
        elif code == 0x46:
            at += offset if registers[target] & value else 0
        else:
            assert code == 0x95
            return registers[0]


def allows(wanted: list[devices.Rule], kind: int, access: int, major: int, minor: int) -> bool:
    return run(devices.program_v2(wanted), kind, access, major, minor) == 1


def test_default_devices() -> None:
    """With everything denied, the devices of every container work, and nodes can be made."""
    denied = rules(DENY_ALL)

    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 77)):
        assert allows(denied, CHAR, READ | WRITE | MKNOD, major, minor)
    assert allows(denied, BLOCK, MKNOD, 8, 0)
    assert not allows(denied, BLOCK, READ, 8, 0)
    assert not allows(denied, CHAR, READ, 1, 1)
    assert not allows(denied, CHAR, READ | MKNOD, 10, 200)


def test_no_deny_rule() -> None:
    """A list without a first denial allows only what it lists, like one with."""
    listed = rules({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"})

    assert allows(listed, CHAR, READ | WRITE, 10, 229)
    assert not allows(listed, CHAR, READ, 10, 228)


def test_bits_from_two_rules() -> None:
    """Reading allowed by one rule and writing by another is reading and writing allowed."""
    split = rules(
        {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"},
        {"allow": True, "type": "b", "major": 8, "access": "w"},
    )

    assert allows(split, BLOCK, READ | WRITE, 8, 0)
    assert not allows(split, BLOCK, READ | WRITE, 8, 1)


def test_denying_one_bit() -> None:
    """A denied bit refuses an access that asks for more than it, too."""
    listed = rules(
        {"allow": True, "access": "rwm"},
        {"allow": False, "type": "b", "major": 8, "minor": 0, "access": "w"},
    )

    assert allows(listed, BLOCK, READ, 8, 0)
    assert not allows(listed, BLOCK, READ | WRITE, 8, 0)
    assert allows(listed, BLOCK, READ | WRITE, 8, 1)


def test_numbers_of_32_bits() -> None:
    """Major and minor numbers are compared whole."""
    listed = rules({"allow": True, "type": "c", "major": 4294967295, "minor": 2147483648})

    assert allows(listed, CHAR, READ, 4294967295, 2147483648)
    assert not allows(listed, CHAR, READ, 4294967295, 0)


def test_everything_allowed() -> None:
    """A privileged container's list needs no exceptions on v1."""
    everything = rules(DENY_ALL, {"allow": True, "access": "rwm"})

    assert allows(everything, BLOCK, READ | WRITE | MKNOD, 259, 1)
    assert devices.lines_v1(everything, "x") == [("devices.allow", "a")]


def test_lines_of_v1() -> None:
    """v1 gets the denial of all and one line for each exception, with the bits of both rules."""
    lines = devices.lines_v1(
        rules(
            DENY_ALL,
            {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"},
            {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "w"},
            {"allow": True, "type": "c", "major": 10, "access": "rwm"},
            {"allow": False, "type": "c", "major": 10, "access": "m"},
        ),
        "x",
    )

    assert lines[:3] == [
        ("devices.deny", "a"),
        ("devices.allow", "b 8:0 rw"),
        ("devices.allow", "c 10:* rw"),
    ]
    assert ("devices.allow", "c 136:* rwm") in lines


def test_exception_from_an_exception() -> None:
    """v1 cannot deny one device out of a wider rule: that is an error, not a wider rule."""
    with pytest.raises(InvalidError, match=r"^x: cgroup v1 cannot deny 'c 10:5 r' out of"):
        devices.lines_v1(
            rules(
                {"allow": True, "type": "c", "major": 10},
                {"allow": False, "type": "c", "major": 10, "minor": 5, "access": "r"},
            ),
            "x",
        )


NUMBERS = st.sampled_from([None, 0, 1, 5])
WANTED = st.lists(
    st.builds(
        lambda allow, kind, major, minor, access: {
            "allow": allow,
            "type": kind,
            "major": -1 if major is None else major,
            "minor": -1 if minor is None else minor,
            "access": access,
        },
        st.booleans(),
        st.sampled_from("abc"),
        NUMBERS,
        NUMBERS,
        st.sampled_from(["r", "w", "m", "rw", "wm", "rwm"]),
    ),
    max_size=6,
)


def model(wanted: list[devices.Rule], kind: int, access: int, major: int, minor: int) -> bool:
    """Decide every bit by the last rule that matches the device and names it."""
    letter = {BLOCK: "b", CHAR: "c"}[kind]
    for bit in (READ, WRITE, MKNOD):
        if access & bit:
            verdicts = [
                rule.allow
                for rule in wanted
                if rule.type == letter
                and rule.access & bit
                and rule.major in (None, major)
                and rule.minor in (None, minor)
            ]
            if not (verdicts and verdicts[-1]):
                return False
    return True


def v1_model(lines: list[tuple[str, str]], kind: int, access: int, major: int, minor: int) -> bool:
    """Decide as the devices controller: bit by bit, by any exception from the denial of all."""
    if lines == [("devices.allow", "a")]:
        return True
    granted = 0
    for _, line in lines[1:]:
        letter, numbers, letters = line.split()
        own_major, own_minor = numbers.split(":")
        if (
            letter == {BLOCK: "b", CHAR: "c"}[kind]
            and own_major in ("*", str(major))
            and own_minor in ("*", str(minor))
        ):
            granted |= sum({"r": READ, "w": WRITE, "m": MKNOD}[one] for one in letters)
    return not access & ~granted


@given(WANTED, st.sampled_from([BLOCK, CHAR]), st.integers(1, 7), NUMBERS, NUMBERS)
def test_both_versions_decide_alike(
    wanted: list[dict[str, Any]], kind: int, access: int, major: int | None, minor: int | None
) -> None:
    """The program, and v1's lines where they can say it, decide by the last rule for each bit."""
    asked = (kind, access, major or 0, minor or 0)
    expected = model(rules(*wanted), *asked)

    assert allows(rules(*wanted), *asked) == expected
    try:
        lines = devices.lines_v1(rules(*wanted), "x")
    except InvalidError:
        return
    assert v1_model(lines, *asked) == expected
