"""Respawn, decided by values alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uxc.config.models import Respawn
from uxc.manager.supervise import decide

POLICY = Respawn(threshold_s=10, timeout_s=3, retry=2)


@pytest.mark.parametrize(
    ("lived_s", "failures", "delay_s", "after"),
    [
        (0.1, 0, 3.0, 1),
        (0.1, 1, 3.0, 2),
        (0.1, 2, None, 3),
        (10.0, 2, 3.0, 0),
        (9.9, 2, None, 3),
    ],
)
def test_failures_count_until_the_program_lived(
    lived_s: float, failures: int, delay_s: float | None, after: int
) -> None:
    """Ends before the threshold are counted, one after it forgets them."""
    decision = decide(POLICY, lived_s=lived_s, failures=failures, wanted=True)

    assert (decision.delay_s, decision.failures) == (delay_s, after)


def test_what_nobody_wants_stays_down() -> None:
    """A stop wins over every policy."""
    assert decide(POLICY, lived_s=0, failures=0, wanted=False).delay_s is None


def test_without_a_policy_it_stays_down() -> None:
    """Respawn is asked for, not assumed."""
    assert decide(None, lived_s=99, failures=0, wanted=True).delay_s is None


@given(st.integers(0, 10**6), st.floats(0, 9.9))
def test_retry_0_never_gives_up(failures: int, lived_s: float) -> None:
    """As procd has it."""
    policy = Respawn(threshold_s=10, timeout_s=1, retry=0)

    assert decide(policy, lived_s=lived_s, failures=failures, wanted=True).delay_s == 1.0
