"""Terminals of real containers: replay, viewers, sizes, programs that come and go."""

import signal
import time
from pathlib import Path

from keepers import KeeperClient, Prefix, shown


def run(prefix: Prefix, keeper: KeeperClient, script: str) -> None:
    """Create and start a container with a terminal that runs a shell script."""
    bundle = prefix.bundle("web", "sh", "-c", script, terminal=True)
    keeper.call("create", name="web", bundle=bundle)
    keeper.call("start", name="web")


def test_a_late_viewer_sees_the_beginning(prefix: Prefix, keeper: KeeperClient) -> None:
    """What was printed before anybody attached is replayed, then it goes on."""
    run(prefix, keeper, "echo booting; read line; echo got $line; exit 6")
    with keeper.viewer("web") as first:
        shown(first, until=b"booting\r\n")
        with keeper.viewer("web") as second:
            assert shown(second, until=b"\n") == b"booting\r\n"
            second.send(b"ihello\r")
            rest = b"hello\r\ngot hello\r\n<x 6>"
            assert shown(first) == shown(second) == rest

    with keeper.viewer("web") as late:
        assert shown(late) == b"booting\r\n" + rest


def test_a_read_only_viewer_only_watches(prefix: Prefix, keeper: KeeperClient) -> None:
    """Its input and its window size have no effect."""
    run(prefix, keeper, "stty rows 11 cols 22; echo ready; read line; echo got $line; stty size")
    with keeper.viewer("web", read_only=True) as watcher, keeper.viewer("web") as typist:
        watcher.send(b"w50 60")
        watcher.send(b"ievil\r")
        shown(watcher, until=b"ready\r\n")
        typist.send(b"igood\r")

        assert shown(watcher).endswith(b"got good\r\n11 22\r\n<x 0>")


def test_the_program_learns_the_window_size(prefix: Prefix, keeper: KeeperClient) -> None:
    """A size packet arrives as SIGWINCH with the new size behind it."""
    run(prefix, keeper, "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready\r\n")
        viewer.send(b"w44 123")

        assert shown(viewer) == b"44 123\r\n<x 0>"


def test_control_c_interrupts_the_foreground_program(prefix: Prefix, keeper: KeeperClient) -> None:
    """The terminal is the container's controlling one, so the interrupt key works."""
    run(prefix, keeper, "trap 'echo interrupted; exit 3' INT; echo ready; sleep 100 & wait")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready\r\n")
        viewer.send(b"i\x03")

        assert shown(viewer) == b"^Cinterrupted\r\n<x 3>"


def test_an_init_may_close_its_terminal_and_open_it_again(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """/dev/console still leads to the viewers after everybody had closed it."""
    script = (
        "echo one; exec <&- >&- 2>&-; sleep 0.3; "
        "exec </dev/console >/dev/console 2>&1; echo two; read line; echo $line"
    )
    run(prefix, keeper, script)
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"two\r\n")
        viewer.send(b"ithree\r")

        assert shown(viewer).endswith(b"three\r\n<x 0>")


def test_the_last_words_are_never_lost(prefix: Prefix, keeper: KeeperClient) -> None:
    """Everything that a program writes just before its end is shown, every time."""
    text = "x" * 3000
    for _ in range(10):
        run(prefix, keeper, f"echo {text}; exit 1")
        keeper.event("web")
        with keeper.viewer("web") as viewer:
            assert shown(viewer) == text.encode() + b"\r\n<x 1>"
        keeper.call("delete", name="web")


def test_output_before_start_is_kept_from_the_first_byte(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """A viewer may come while the container is only created."""
    bundle = prefix.bundle("web", "echo", "first", terminal=True)
    keeper.call("create", name="web", bundle=bundle)
    with keeper.viewer("web") as viewer:
        keeper.call("start", name="web")

        assert shown(viewer) == b"first\r\n<x 0>"


def test_the_size_of_the_ring_can_be_given(prefix: Prefix, keeper: KeeperClient) -> None:
    """An old line leaves the ring when the new ones need the room."""
    bundle = prefix.bundle("web", "seq", "1", "20000")
    keeper.call("create", name="web", bundle=bundle, ring_bytes=8192)
    keeper.call("start", name="web")
    keeper.event("web")
    with keeper.viewer("web") as viewer:
        lines = shown(viewer).decode().split()

    numbers = [int(line) for line in lines[:-2]]
    assert lines[-2:] == ["<x", "0>"]
    assert numbers == list(range(numbers[0], 20001))
    assert 6000 < len("\n".join(lines)) <= 8192 + len("<x 0>")


def test_delete_sends_the_viewers_away(prefix: Prefix, keeper: KeeperClient) -> None:
    """A viewer of a container that is deleted by force sees its end."""
    run(prefix, keeper, "echo ready; sleep 100")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready\r\n")
        keeper.call("delete", name="web", force=True)

        assert shown(viewer) == b"<x 137>"


def test_a_program_that_reads_nothing_does_not_block_its_console(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """Pasting a book into a program that does not listen leaves the keeper and output alive."""
    run(prefix, keeper, "stty raw -echo; echo ready; while [ ! -e /tmp/go ]; do sleep 0.05; done")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready")
        viewer.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                sent += viewer.send(b"i" + b"word " * 800)
            except BlockingIOError:
                break
        assert sent > 0
        viewer.setblocking(True)
        (prefix.rootfs / "tmp/go").touch()

        assert shown(viewer).endswith(b"<x 0>")
    assert keeper.event("web")["exit_code"] == 0


def test_the_terminal_is_hung_up_when_the_container_ends(
    prefix: Prefix, keeper: KeeperClient
) -> None:
    """Killing the container ends everything on its terminal, and the keeper keeps nothing open."""
    run(prefix, keeper, "sleep 100 & echo ready; wait")
    with keeper.viewer("web") as viewer:
        shown(viewer, until=b"ready\r\n")
        keeper.call("kill", name="web", signal=signal.SIGKILL)
        assert shown(viewer) == b"<x 137>"

    links = [link.readlink() for link in Path(f"/proc/{prefix.pid}/fd").iterdir()]
    assert not [link for link in links if "ptmx" in str(link)]
