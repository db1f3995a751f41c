"""scheduler, ioPriority, personality, memoryPolicy, execCPUAffinity: what is resolved before."""

import struct
from typing import Any

import pytest

from uxc.errors import InvalidError
from uxc.linux import sched
from uxc.oci import attributes, plan, spec, spec_rare


def program(process: dict[str, Any], linux: dict[str, Any] | None = None) -> plan.ProgramPlan:
    """Return the plan of a bundle that has these members."""
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], **process},
        "linux": {"namespaces": [{"type": "mount"}], **(linux or {})},
    }
    made = plan.Plan(spec.parse(config), "/bundle", 0, []).program
    assert made is not None
    return made


def resolved(process: dict[str, Any], linux: dict[str, Any] | None = None) -> attributes.Attributes:
    made = program(process, linux).attributes
    assert made is not None
    return made


def refusal(process: dict[str, Any], linux: dict[str, Any] | None = None) -> str:
    with pytest.raises(InvalidError) as caught:
        program(process, linux)
    return caught.value.message


def test_a_usual_bundle_has_none() -> None:
    """Nothing is resolved for a bundle that says nothing."""
    made = program({})

    assert made.attributes is None
    assert made.initial_cpus == made.final_cpus == []


def test_the_tables_are_complete() -> None:
    """Every word that the reader lets through has a number."""
    assert set(attributes.POLICIES) == set(spec_rare.SCHEDULER_POLICIES)
    assert set(attributes.SCHEDULER_FLAGS) == set(spec_rare.SCHEDULER_FLAGS)
    assert set(attributes.IO_CLASSES) == set(spec_rare.IO_CLASSES)
    assert set(attributes.PERSONALITIES) == set(spec_rare.PERSONALITIES)
    assert set(attributes.MEMORY_MODES) == set(spec_rare.MEMORY_MODES)
    assert set(attributes.MEMORY_FLAGS) == set(spec_rare.MEMORY_FLAGS)


def test_the_kernels_structure_of_a_scheduler() -> None:
    """Each value is where ``struct sched_attr`` has it, which has 56 bytes everywhere."""
    scheduler = {
        "policy": "SCHED_DEADLINE",
        "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_RESET_ON_FORK"],
        "nice": -5,
        "runtime": 1 << 33,
        "deadline": 2 << 33,
        "period": 3 << 33,
    }

    scheduling = resolved({"scheduler": scheduler}).scheduling

    assert scheduling is not None
    assert scheduling.pack() == struct.pack(
        "=IIQiIQQQII", 56, 6, 3, -5, 0, 1 << 33, 2 << 33, 3 << 33, 0, 0
    )


@pytest.mark.parametrize(
    ("scheduler", "problem"),
    [
        ({"policy": "SCHED_FIFO"}, "priority: must be a number from 1 to 99 with SCHED_FIFO"),
        (
            {"policy": "SCHED_RR", "priority": 100},
            "priority: must be a number from 1 to 99 with SCHED_RR",
        ),
        (
            {"policy": "SCHED_BATCH", "priority": 1},
            "priority: needs the policy SCHED_FIFO or SCHED_RR",
        ),
        ({"policy": "SCHED_OTHER", "period": 1}, "period: needs the policy SCHED_DEADLINE"),
        (
            {"policy": "SCHED_DEADLINE", "deadline": 2000},
            "runtime: must be from 1024 to 2^63-1 nanoseconds with SCHED_DEADLINE",
        ),
        (
            {"policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000},
            "runtime: must not be longer than the deadline",
        ),
        (
            {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 2500},
            "deadline: must not be longer than the period",
        ),
        (
            {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1 << 63},
            "deadline: must be from 1024 to 2^63-1 nanoseconds with SCHED_DEADLINE",
        ),
    ],
)
def test_a_scheduler_that_cannot_be(scheduler: dict[str, Any], problem: str) -> None:
    """What the kernel would only call an invalid argument is explained."""
    assert refusal({"scheduler": scheduler}) == f"config.json: process.scheduler.{problem}"


def test_a_scheduler_that_keeps_what_is() -> None:
    """With the flags that keep policy or parameters the kernel alone can tell what fits."""
    flags = ["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"]

    made = resolved({"scheduler": {"policy": "SCHED_FIFO", "flags": flags}}).scheduling

    assert made is not None
    assert made.flags == 0x18


def test_the_io_priority() -> None:
    """Class and level are kept apart until the call."""
    made = resolved({"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4}})

    assert made.io_priority == (3, 4)


def test_the_personality() -> None:
    """The two domains; flags there are none, so any is wrong."""
    assert resolved({}, {"personality": {"domain": "LINUX"}}).personality == 0
    assert resolved({}, {"personality": {"domain": "LINUX32", "flags": []}}).personality == 8
    assert refusal({}, {"personality": {"domain": "LINUX", "flags": ["X"]}}) == (
        "config.json: linux.personality.flags[0]: is not supported: the specification has no flags"
    )


def test_the_memory_policy() -> None:
    """Mode and flags are one number for the kernel."""
    policy = {"mode": "MPOL_INTERLEAVE", "nodes": "2-3", "flags": ["MPOL_F_STATIC_NODES"]}

    assert resolved({}, {"memoryPolicy": policy}).memory_policy == (3 | 1 << 15, [2, 3])
    assert resolved({}, {"memoryPolicy": {"mode": "MPOL_PREFERRED"}}).memory_policy == (1, [])


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ({"mode": "MPOL_DEFAULT", "nodes": "0"}, "nodes: must be empty with MPOL_DEFAULT"),
        ({"mode": "MPOL_LOCAL", "nodes": "0"}, "nodes: must be empty with MPOL_LOCAL"),
        ({"mode": "MPOL_BIND"}, "nodes: must name a node with MPOL_BIND"),
        ({"mode": "MPOL_BIND", "nodes": "1024"}, "nodes: must not hold numbers above 1023"),
        (
            {
                "mode": "MPOL_BIND",
                "nodes": "0",
                "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            },
            "flags: holds MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES",
        ),
    ],
)
def test_a_memory_policy_that_cannot_be(policy: dict[str, Any], problem: str) -> None:
    """What the kernel would only call an invalid argument is explained."""
    assert refusal({}, {"memoryPolicy": policy}) == f"config.json: linux.memoryPolicy.{problem}"


def test_the_affinity_of_programs_that_join() -> None:
    """Both lists are read when the container is created, and wrong ones refused then."""
    made = program({"execCPUAffinity": {"initial": "0-3,7", "final": "1"}})

    assert made.initial_cpus == [0, 1, 2, 3, 7]
    assert made.final_cpus == [1]
    assert refusal({"execCPUAffinity": {"final": "0-"}}) == (
        "config.json: process.execCPUAffinity.final: must be a list such as 0-3,7:"
        " '0-' is no part of one"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("0", [0]),
        ("7,0-3", [0, 1, 2, 3, 7]),
        ("3-3", [3]),
        ("1,1-2,2", [1, 2]),
        ("0000", [0]),
        ("100", [100]),
    ],
)
def test_lists_of_numbers(text: str, wanted: list[int]) -> None:
    """Numbers and ranges between commas, in any order, also twice."""
    assert attributes.numbers(text, "where", 100) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *(",", "0,", ",0", "0,,1", "-", "-1", "1-", "1-2-3", "a", "0x1", "1 ", " 1", "1, 2"),
        *("1\n", "+1", "1_0", "٣", "²", "2-1", "101", "0-101", "0-99999999999999999999"),
    ],
)
def test_what_is_no_list_of_numbers(text: str) -> None:
    """Everything else is refused, and nothing is guessed."""
    with pytest.raises(InvalidError, match=r"^where: "):
        attributes.numbers(text, "where", 100)


def test_the_mask_of_nodes_is_made_of_words() -> None:
    """Bit n is bit n % width of word n / width, whatever the order of bytes and the width."""
    size = struct.calcsize("@L")
    assert sched.node_mask([]) == b""
    for numbers in ([0], [1, 3], [size * 8 - 1], [size * 8], [0, 1023]):
        mask = sched.node_mask(numbers)
        words = struct.unpack(f"@{len(mask) // size}L", mask)
        bits = [
            index * size * 8 + bit
            for index, word in enumerate(words)
            for bit in range(size * 8)
            if word >> bit & 1
        ]
        assert bits == numbers
