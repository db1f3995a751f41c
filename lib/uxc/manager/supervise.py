"""Whether a container that ended is started again, and when; pure, the clock is passed in.

The three numbers mean what they mean in procd (``procd_set_param respawn``): a program that lived
for at least ``threshold`` seconds counts as a success and forgets the failures before; after
``retry`` failures in a row it stays down; a start waits ``timeout`` seconds. ``retry`` 0 never
gives up.
"""

from dataclasses import dataclass

from uxc.config.models import Respawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about an exit: wait ``delay_s`` and start, or (None) leave it down."""

    delay_s: float | None
    failures: int
    reason: str


def decide(policy: Respawn | None, *, lived_s: float, failures: int, wanted: bool) -> Decision:
    """Decide about a program that ended after ``lived_s`` seconds and ``failures`` before it.

    ``wanted`` is the user's wish that the container runs.
    """
    if not wanted:
        return Decision(delay_s=None, failures=0, reason="stopped")
    if policy is None:
        return Decision(delay_s=None, failures=0, reason="no respawn")
    failures = 0 if lived_s >= policy.threshold_s else failures + 1
    if policy.retry and failures > policy.retry:
        return Decision(
            delay_s=None,
            failures=failures,
            reason=f"ended {failures} times within {policy.threshold_s} s of its start",
        )
    return Decision(delay_s=float(policy.timeout_s), failures=failures, reason="respawn")
