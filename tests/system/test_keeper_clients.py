"""The keeper's socket: who may connect, what is refused, and clients that misbehave."""

import os
import resource
import socket
import time
from pathlib import Path

import pytest

from keepers import KeeperClient, Prefix, shown, wait_until
from uxc import jsontext, protocol
from uxc.errors import InvalidError, UxcError
from uxc.keeper import spawn
from uxc.version import VERSION


def test_hello_tells_who_answers(prefix: Prefix, keeper: KeeperClient) -> None:
    """A manager learns protocol, version, pid and containers before it does anything."""
    assert keeper.call("hello") == {
        "protocol": 1,
        "version": VERSION,
        "pid": prefix.pid,
        "containers": [],
    }


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b"{}", "not a request of version 1"),
        (b'{"v": 2, "id": 7, "op": "hello", "args": {}}', "not a request of version 1"),
        (b'{"v": 1, "id": 7, "op": "hello", "args": []}', "not a request of version 1"),
        (b'{"v": 1, "id": "7", "op": "hello"}', "not a request of version 1"),
        (b'{"v": 1, "id": 7, "op": "explode"}', "unknown operation 'explode'"),
        (b'{"v": 1, "id": 7}', "unknown operation 'None'"),
    ],
)
def test_a_wrong_request_is_answered(keeper: KeeperClient, packet: bytes, words: str) -> None:
    """Whatever comes in, the answer says what is wrong, and the connection goes on."""
    keeper.sock.send(packet)
    answer, _ = protocol.receive_packet(keeper.sock, "the keeper")
    assert answer is not None
    with pytest.raises(InvalidError, match=words):
        protocol.result_of(answer)

    assert keeper.call("list") == []


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("create", {"name": "web"}),
        ("create", {"name": "web", "bundle": 7}),
        ("create", {"name": "web", "bundle": "/x", "ring_bytes": -1}),
        ("kill", {"name": "web", "signal": "TERM"}),
        ("kill", {"name": "web", "signal": 0}),
        ("kill", {"name": "web", "signal": 65}),
        ("kill", {"name": "web", "signal": 9, "all": 1}),
        ("delete", {"name": "web", "force": "yes"}),
        ("attach", {"name": "web"}),
        ("attach", {"name": "web", "read_only": None}),
    ],
)
def test_wrong_arguments_are_refused(
    prefix: Prefix, keeper: KeeperClient, op: str, args: dict[str, object]
) -> None:
    """A missing argument or one of another type is the caller's error, and nothing happens."""
    if op != "create":
        keeper.call("create", name="web", bundle=prefix.bundle("web", "sleep", "9"))
    with pytest.raises(InvalidError):
        keeper.call(op, **args)


def test_descriptors_of_a_refused_request_are_closed(prefix: Prefix, keeper: KeeperClient) -> None:
    """Nobody can fill the keeper's table of descriptors with wrong requests."""
    before = len(os.listdir(f"/proc/{prefix.pid}/fd"))
    reader, writer = os.pipe()
    for op in ("hello", "attach", "nonsense"):
        number = keeper.ask(op, {"name": "nobody"}, (reader, writer))
        try:
            keeper.answer(number)
        except UxcError:
            continue
    os.close(reader)
    os.close(writer)

    assert len(os.listdir(f"/proc/{prefix.pid}/fd")) == before


def test_a_message_that_is_too_long_is_refused(keeper: KeeperClient) -> None:
    """The kernel refuses to send it, or the keeper answers; both go on."""
    keeper.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with pytest.raises((OSError, InvalidError)):
        keeper.call("create", name="web", bundle="x" * (1 << 20))

    assert keeper.call("list") == []


def test_every_client_hears_of_an_exit(prefix: Prefix, keeper: KeeperClient) -> None:
    """An exit is told to all clients, once to each."""
    other = prefix.client()
    keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))
    keeper.call("start", name="web")

    assert keeper.event("web") == other.event("web")


def test_a_client_that_leaves_harms_nobody(prefix: Prefix, keeper: KeeperClient) -> None:
    """What a dead client asked for is done, and its answer goes nowhere."""
    leaving = prefix.client()
    leaving.ask("create", {"name": "web", "bundle": prefix.bundle("web", "true")})
    leaving.close()

    wait_until(
        lambda: [entry["status"] for entry in keeper.call("list")] == ["created"], "it is created"
    )


def test_a_client_that_never_reads_is_dropped(prefix: Prefix, keeper: KeeperClient) -> None:
    """Its answers are kept for a while, then it is hung up on; the others notice nothing."""
    deaf = spawn.connect(prefix.paths)
    assert deaf is not None
    deaf.setblocking(False)
    request = jsontext.dumps(protocol.request(1, "hello", {})).encode()
    dropped = False
    for _ in range(200_000):
        try:
            deaf.send(request)
        except BlockingIOError:
            time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            dropped = True
            break
    deaf.close()

    assert dropped
    assert keeper.call("list") == []


def test_only_root_may_connect(prefix: Prefix, keeper: KeeperClient) -> None:
    """The socket's mode keeps others out, and so does the keeper if somebody changes the mode."""
    path = prefix.paths.keeper_socket
    for directory in (prefix.top, *prefix.top.parents):
        if directory == Path("/tmp"):
            break
        directory.chmod(0o755)

    def greet_as(user: int) -> str:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(user, user, user)
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                sock.connect(path)
                sock.send(jsontext.dumps(protocol.request(1, "hello", {})).encode())
                os.write(writer, b"answered" if sock.recv(4096) else b"hung up")
            except OSError as error:
                os.write(writer, type(error).__name__.encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            return pipe.read().decode()

    assert greet_as(0) == "answered"
    assert greet_as(1000) == "PermissionError"
    os.chmod(path, 0o666)
    assert greet_as(1000) in ("hung up", "ConnectionResetError", "BrokenPipeError")
    assert keeper.call("list") == []


def test_a_full_table_of_descriptors_is_survived(prefix: Prefix, keeper: KeeperClient) -> None:
    """When no descriptor is left new clients are turned away; those who are there go on."""
    number = len(os.listdir(f"/proc/{prefix.pid}/fd"))
    limits = resource.prlimit(prefix.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(prefix.pid, resource.RLIMIT_NOFILE, (number, limits[1]))
    try:
        for _ in range(3):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(5)
            sock.connect(prefix.paths.keeper_socket)
            assert sock.recv(100) == b""
            sock.close()
        with pytest.raises(UxcError, match="too many open files"):
            keeper.call("create", name="web", bundle=prefix.bundle("web", "true"))
        assert keeper.call("list") == []
    finally:
        resource.prlimit(prefix.pid, resource.RLIMIT_NOFILE, limits)

    assert prefix.client().call("list") == []


def test_a_flood_of_output_delays_nobody(prefix: Prefix, keeper: KeeperClient) -> None:
    """Two containers that print without end leave the keeper time for everybody else."""
    for name, terminal in (("loud", False), ("louder", True)):
        bundle = prefix.bundle(name, "sh", "-c", "yes; true", terminal=terminal)
        keeper.call("create", name=name, bundle=bundle)
        keeper.call("start", name=name)
    stuck = keeper.viewer("louder")
    slowest = 0.0
    for _ in range(30):
        before = time.monotonic()
        keeper.call("list")
        slowest = max(slowest, time.monotonic() - before)

    memory = Path(f"/proc/{prefix.pid}/status").read_text()
    (rss,) = (int(line.split()[1]) for line in memory.splitlines() if line.startswith("VmRSS"))
    assert slowest < 0.2
    assert rss < 20_000
    with keeper.viewer("loud") as viewer:
        assert shown(viewer, until=b"y\ny\n").startswith(b"y\n")
    stuck.close()
