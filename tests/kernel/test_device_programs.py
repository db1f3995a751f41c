"""Device rules on their way through the kernel's verifier."""

import os
import signal
import time

import pytest

from uxc.linux import bpf
from uxc.oci.cgroup import devices
from uxc.oci.spec_resources import Resources

pytestmark = [pytest.mark.vm, pytest.mark.needs("cgroup2-freezer")]

SIGNALS = 30


def test_signals_do_not_keep_a_program_from_being_loaded() -> None:
    """The verifier gives up when a signal arrives: a keeper whose children end tries again."""
    wanted = [{"allow": True, "type": "c", "major": major, "access": "r"} for major in range(100)]
    rules = devices.rules_of(Resources({"devices": wanted}, "resources.json: ").devices)
    program = devices.program_v2(rules)
    arrived: list[int] = []
    begun = time.monotonic()
    os.close(bpf.load_device_program(program))
    interval_s = 3 * (time.monotonic() - begun)
    before = signal.signal(signal.SIGALRM, lambda number, _: arrived.append(number))
    signal.setitimer(signal.ITIMER_REAL, interval_s, interval_s)
    try:
        while len(arrived) < SIGNALS:
            os.close(bpf.load_device_program(program))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
