"""The validation programs of runtime-tools, where a checkout of it is at hand."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.mark.ours
@pytest.mark.needs("runtime-tools")
@pytest.mark.timeout(1800)
def test_the_public_programs_pass_or_have_a_reason() -> None:
    """None that crun or runc passes fails here, and each that fails has its reason."""
    command = [TOP / "tests/conformance/run", os.environ["UXC_RUNTIME_TOOLS"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
