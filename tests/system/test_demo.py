"""The demo: told to the end, kept and ended, interrupted; nothing of it stays (see conftest)."""

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from uxc.demo.router import TOP

pytestmark = pytest.mark.needs("veth", "bridge", "overlayfs", "dnsmasq", "debian", "ip")

DEMO = str(TOP / "bin/uxc-demo")


@pytest.fixture(autouse=True)
def _directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the demo a place for its directory, and see that it takes it away again."""
    # Not tmp_path: with its long name, sockets below it would have paths too long to bind.
    place = Path(tempfile.mkdtemp())
    monkeypatch.setenv("TMPDIR", str(place))
    yield
    left = list(place.iterdir())
    shutil.rmtree(place)
    assert left == []


def _demo(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([DEMO, *options], capture_output=True, text=True, timeout=300)


@pytest.mark.vm
def test_the_demo_ends_well() -> None:
    """The demo shows lease, ping and an empty host, and ends with its own verdict."""
    done = _demo()

    assert (done.returncode, done.stderr) == (0, "")
    assert "inet 192.168.1.1" in done.stdout
    assert "1 packets transmitted, 1 received" in done.stdout
    assert done.stdout.endswith("  nothing\n\ndemo: ok\n")


def test_a_kept_demo_can_be_visited_and_ended() -> None:
    """The way in that --keep prints leads to the running container; --end takes it away."""
    kept = _demo("--keep")
    assert kept.returncode == 0, kept.stderr

    try:
        again = _demo()
        way_in = re.search(r"^  sudo (nsenter .*) bash$", kept.stdout, re.MULTILINE)
        assert way_in
        visit = f"{way_in[1]} uxc list"
        listed = subprocess.run(["sh", "-c", visit], capture_output=True, text=True)
    finally:
        ended = _demo("--end")

    assert again.returncode == 1
    assert "is running already" in again.stderr
    assert re.match(r"container1 +running ", listed.stdout)
    assert (ended.returncode, ended.stdout) == (0, "demo: ended\n")
    assert _demo("--end").returncode == 1


@pytest.mark.parametrize("step", ["uci batch", "uxc create", "uxc start", "ping"])
def test_an_interrupted_demo_leaves_nothing(step: str) -> None:
    """After Ctrl-C at any step the demo cleans up and says so by its exit status."""
    with subprocess.Popen([DEMO], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(f"$ {step}"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()

    assert process.returncode == 130
    assert "demo: ok" not in rest
