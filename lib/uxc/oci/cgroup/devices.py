"""The device allow-list as an eBPF program (v2) or as lines for the devices controller (v1); pure.

Every bit of an access (read, write, mknod) is decided by the last rule that names it and matches
the device, and nothing is allowed that no rule allows, on both versions alike. After the bundle's
rules come those for the devices that every container has (runtime-spec, "Default Devices").
"""

import _struct
import sys

from uxc.errors import InvalidError
from uxc.oci.spec_fields import MAX_UINT32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_resources import DeviceRule

# linux/bpf.h, BPF_DEVCG_ACC_* and BPF_DEVCG_DEV_*.
_ACCESS = {"m": 1, "r": 2, "w": 4}
_TYPES = {"b": 1, "c": 2}
_ALL = 7

# Type, major, minor, access. Making a node is harmless while opening it is not allowed.
_ALWAYS: "tuple[tuple[str, int | None, int | None, int], ...]" = (
    ("c", None, None, _ACCESS["m"]),
    ("b", None, None, _ACCESS["m"]),
    ("c", 1, 3, _ALL),  # null
    ("c", 1, 5, _ALL),  # zero
    ("c", 1, 7, _ALL),  # full
    ("c", 1, 8, _ALL),  # random
    ("c", 1, 9, _ALL),  # urandom
    ("c", 5, 0, _ALL),  # tty
    ("c", 5, 1, _ALL),  # console
    ("c", 5, 2, _ALL),  # ptmx
    ("c", 136, None, _ALL),  # pts
)


class Rule:
    """One rule for one type of device."""

    __slots__ = ("access", "allow", "major", "minor", "type")

    def __init__(
        self, allow: bool, kind: str, major: "int | None", minor: "int | None", access: int
    ) -> None:
        """Keep the parts; None is any number."""
        self.allow = allow
        self.type = kind
        self.major = major
        self.minor = minor
        self.access = access

    def covers(self, other: "Rule") -> bool:
        """Tell whether every device that ``other`` matches is matched by this rule."""
        return (
            self.type == other.type
            and self.major in (None, other.major)
            and self.minor in (None, other.minor)
        )

    def meets(self, other: "Rule") -> bool:
        """Tell whether some device is matched by both."""
        return (
            self.type == other.type
            and (self.major is None or other.major is None or self.major == other.major)
            and (self.minor is None or other.minor is None or self.minor == other.minor)
        )

    def line(self) -> str:
        """Return the rule as the devices controller reads it."""
        major = "*" if self.major is None else self.major
        minor = "*" if self.minor is None else self.minor
        letters = "".join(letter for letter in "rwm" if self.access & _ACCESS[letter])
        return f"{self.type} {major}:{minor} {letters}"


def rules_of(wanted: "list[DeviceRule]") -> "list[Rule]":
    """Return the bundle's rules with types told apart, and those that every container gets."""
    rules = []
    for rule in wanted:
        access = sum(_ACCESS[letter] for letter in set(rule.access))
        for kind in ("c", "b") if rule.type == "a" else (rule.type,):
            rules.append(Rule(rule.allow, kind, rule.major, rule.minor, access))
    rules += [Rule(True, *always) for always in _ALWAYS]
    return rules


def lines_v1(rules: "list[Rule]", where: str) -> "list[tuple[str, str]]":
    """Return (file, line) pairs that make a devices cgroup obey ``rules``.

    The controller knows one default and exceptions from it. Raises InvalidError for a list that
    cannot be said so: an exception from an exception.
    """
    allowed: list[Rule] = []
    for rule in rules:
        if rule.allow:
            _allow(allowed, rule)
        else:
            allowed = [_less(entry, rule, where) for entry in allowed]
            allowed = [entry for entry in allowed if entry.access]
    everything = dict.fromkeys(_TYPES, False)
    for entry in allowed:
        if entry.major is None and entry.minor is None and entry.access == _ALL:
            everything[entry.type] = True
    if all(everything.values()):
        return [("devices.allow", "a")]
    return [("devices.deny", "a"), *(("devices.allow", entry.line()) for entry in allowed)]


def _allow(allowed: "list[Rule]", rule: Rule) -> None:
    for entry in allowed:
        if (entry.major, entry.minor, entry.type) == (rule.major, rule.minor, rule.type):
            entry.access |= rule.access
            return
    allowed.append(Rule(True, rule.type, rule.major, rule.minor, rule.access))


def _less(entry: Rule, denied: Rule, where: str) -> Rule:
    """Return what ``entry`` still allows after ``denied``."""
    if not denied.meets(entry) or not entry.access & denied.access:
        return entry
    if not denied.covers(entry):
        raise InvalidError(
            f"{where}: cgroup v1 cannot deny '{denied.line()}' out of the wider '{entry.line()}'"
        )
    left = entry.access & ~denied.access
    return Rule(True, entry.type, entry.major, entry.minor, left)


# Instructions of eBPF on 32-bit values (linux/bpf.h, linux/bpf_common.h).
_LOAD = 0x61
_MOVE = 0xB7
_AND = 0x54
_SHIFT_RIGHT = 0x74
_JUMP = 0x05
_IF_EQUAL = 0x16
_IF_NOT_EQUAL = 0x56
_IF_ANY_BIT = 0x46
_EXIT = 0x95

_RESULT, _CONTEXT, _TYPE, _ASKED, _MAJOR, _MINOR = range(6)


class _Program:
    """Instructions whose jumps name labels until the places of all labels are known."""

    __slots__ = ("_code", "_labels")

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, str]] = []
        self._labels: dict[str, int] = {}

    def add(self, code: int, register: int, value: int = 0, offset: int = 0) -> None:
        self._code.append((code, register, offset, value, ""))

    def jump(self, code: int, register: int, value: int, label: str) -> None:
        self._code.append((code, register, 0, value, label))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def answer(self, name: str, value: int) -> None:
        """Return ``value`` at the label ``name``; the verifier refuses code that nobody reaches."""
        if any(instruction[4] == name for instruction in self._code):
            self.label(name)
            self.add(_MOVE, _RESULT, value)
            self.add(_EXIT, 0)

    def encode(self) -> bytes:
        encoded = []
        for place, (code, register, offset, value, label) in enumerate(self._code):
            if label:
                offset = self._labels[label] - place - 1
            source = _CONTEXT if code == _LOAD else 0
            # The two registers are bit fields of one byte, and these follow the byte order.
            if sys.byteorder == "little":
                registers = source << 4 | register
            else:
                registers = register << 4 | source
            encoded.append(_struct.pack("=BBhI", code, registers, offset, value & MAX_UINT32))
        return b"".join(encoded)


def program_v2(rules: "list[Rule]") -> bytes:
    """Return the instructions of a BPF_PROG_TYPE_CGROUP_DEVICE program that decides as ``rules``.

    It goes through the rules for the device's type from the last to the first and takes away the
    bits of access that are allowed, until none is left (yes) or one is denied (no). The kernel's
    verifier takes most of the time that a create spends on this, so the program is kept short.
    """
    program = _Program()
    # struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor.
    for register, offset in ((_TYPE, 0), (_ASKED, 0), (_MAJOR, 4), (_MINOR, 8)):
        program.add(_LOAD, register, 0, offset)
    program.add(_AND, _TYPE, 0xFFFF)
    program.add(_SHIFT_RIGHT, _ASKED, 16)
    program.jump(_IF_EQUAL, _TYPE, _TYPES["b"], "block")
    _add_rules(program, [rule for rule in rules if rule.type == "c"])
    program.label("block")
    _add_rules(program, [rule for rule in rules if rule.type == "b"])
    program.answer("no", 0)
    program.answer("yes", 1)
    return program.encode()


def _add_rules(program: _Program, rules: "list[Rule]") -> None:
    start = 0
    while start < len(rules) and not rules[start].allow:
        # Denying what nothing has allowed yet changes nothing.
        start += 1
    for number, rule in enumerate(reversed(rules[start:])):
        tests = []
        if rule.major is not None:
            tests.append((_MAJOR, rule.major))
        if rule.minor is not None:
            tests.append((_MINOR, rule.minor))
        everything = rule.access == _ALL
        if everything and not tests:
            program.jump(_JUMP, 0, 0, "yes" if rule.allow else "no")
            return
        following = f"{rule.type}{number}"
        last = tests.pop() if everything else None
        for register, value in tests:
            program.jump(_IF_NOT_EQUAL, register, value, following)
        if last is not None:
            program.jump(_IF_EQUAL, *last, "yes" if rule.allow else "no")
        elif rule.allow:
            program.add(_AND, _ASKED, ~rule.access)
            program.jump(_IF_EQUAL, _ASKED, 0, "yes")
        else:
            program.jump(_IF_ANY_BIT, _ASKED, rule.access, "no")
        program.label(following)
    program.jump(_JUMP, 0, 0, "no")
