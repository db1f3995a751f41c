"""The control socket with clients that are many, slow, broken, gone, or not root."""

import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from uxc import protocol
from uxc.errors import ConflictError, InvalidError

Machine = Any
Patience = Callable[[str, Callable[[], object]], None]

SLEEP = ("/bin/sleep", "1000")


def test_answers_come_in_json_with_their_number(machine: Machine) -> None:
    """Requests may be sent without waiting; each answer says which one it belongs to."""
    connection = machine.connect()
    numbers = [connection.send("ping") for _ in range(50)]

    answers = [connection.receive() for _ in numbers]

    assert [answer["id"] for answer in answers] == numbers
    assert all(answer == {"id": answer["id"], "ok": True, "result": "pong"} for answer in answers)


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b'"text"',
        b"{}",
        b'{"v": 1, "id": "x", "op": "ping"}',
        b'{"v": 2, "id": 1, "op": "ping"}',
        b'{"v": 1, "id": 1, "op": "fly"}',
        b'{"v": 1, "id": 1, "op": 5}',
        b'{"v": 1, "id": 1, "op": "state", "args": []}',
        b'{"v": 1, "id": 1, "op": "state", "args": {"name": 5}}',
        b'{"v": 1, "id": 1, "op": "kill", "args": {"name": "web", "signal": []}}',
        b'{"v": 1, "id": 1, "op": "create", "args": {"name": "web", "bundle": "relative"}}',
        b'{"v": 1, "id": 1, "op": "create", "args": {"name": "web", "volumes": "a"}}',
        b'{"v": 1, "id": 1, "op": "stop", "args": {"name": "web", "timeout_s": -1}}',
        b"\xff\xfe",
        b'{"v": 1, "id": 1, "op": "state", "args": {"name": "a\\u0000b"}}',
    ],
)
def test_a_wrong_request_is_answered_and_the_connection_goes_on(
    machine: Machine, line: bytes
) -> None:
    """Nothing that a client sends ends the manager or even the connection."""
    connection = machine.connect()
    connection.socket.sendall(line + b"\n")

    answer = connection.receive()

    assert answer["ok"] is False
    assert answer["error"]["kind"] == "invalid"
    assert "\n" not in answer["error"]["message"]
    assert connection.ask("ping") == "pong"


def test_a_line_without_end_is_cut_off(machine: Machine) -> None:
    """The manager does not collect more than one message's worth of bytes."""
    connection = machine.connect()

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.socket.sendall(b"x" * (8 << 20))

    assert machine.uxc("list") == ""


def test_a_request_may_come_in_pieces(machine: Machine) -> None:
    """A slow writer is understood as soon as its line is complete."""
    connection = machine.connect()
    for byte in protocol.encode_line(protocol.request(1, "ping", {})):
        connection.socket.sendall(bytes((byte,)))
        time.sleep(0.001)

    assert connection.receive()["result"] == "pong"


def test_who_does_not_read_is_dropped_and_nobody_waits(machine: Machine) -> None:
    """A client that asks and never reads costs its own connection."""
    deaf = machine.connect()
    deaf.socket.setblocking(False)
    line = protocol.encode_line(protocol.request(1, "version", {}))
    try:
        for _ in range(200_000):
            deaf.socket.send(line)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass

    begun = time.monotonic()
    connection = machine.connect()
    assert connection.ask("ping") == "pong"

    assert time.monotonic() - begun < 5


def test_clients_that_hang_up_leave_nothing(machine: Machine, patience: Patience) -> None:
    """Descriptors and tasks of clients that are gone are gone too, those that wait included."""
    machine.uxc("create", "web", str(machine.bundle(*SLEEP)))
    descriptors = f"/proc/{machine.manager.pid}/fd"
    before = len(os.listdir(descriptors))
    for _ in range(40):
        connection = machine.connect()
        connection.send("wait", name="web")
        connection.send("list")
        connection.close()
    halves = [machine.connect() for _ in range(20)]
    for connection in halves:
        connection.socket.sendall(b'{"v": 1,')
        connection.close()

    patience("the end of all connections", lambda: len(os.listdir(descriptors)) == before)
    assert machine.status("web") == "created"


def test_who_shuts_down_its_writing_side_still_gets_answers(machine: Machine) -> None:
    """As ``nc -N`` does: ask, say that nothing more comes, and read."""
    connection = machine.connect()
    connection.send("create", name="web", bundle=str(machine.bundle(*SLEEP)))
    connection.socket.shutdown(socket.SHUT_WR)

    assert connection.receive()["ok"] is True
    assert connection.receive() is None


def test_there_may_be_many_clients_and_there_is_a_limit(machine: Machine) -> None:
    """A hundred are served; who comes when it is full is told so."""
    connections = [machine.connect() for _ in range(100)]
    assert all(connection.ask("ping") == "pong" for connection in connections)
    more = [machine.connect() for _ in range(60)]

    last = more[-1].receive()

    assert last["ok"] is False
    assert "clients already" in last["error"]["message"]


def test_only_root_is_served(machine: Machine) -> None:
    """The socket is closed to others, and where it is opened to them, they are refused."""
    path = machine.paths.control_socket
    assert os.stat(path).st_mode & 0o777 == 0o600
    for directory in (machine.directory, *machine.directory.parents[:2]):
        directory.chmod(0o755)
    os.chmod(path, 0o666)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Only what cannot fail in a strange way: this is a copy of the test.
        try:
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                os.write(writer, client.recv(4096))
        finally:
            os._exit(0)
    os.close(writer)
    answer = protocol.decode(os.read(reader, 4096), "test")
    os.close(reader)
    os.waitpid(pid, 0)

    assert answer["ok"] is False
    assert answer["error"]["message"] == "only root may talk to the manager, not uid 65534"


def test_operations_on_one_container_queue_and_others_do_not(machine: Machine) -> None:
    """Asked at once, create, start, stop and delete of one container happen in their order."""
    bundle = str(machine.bundle(*SLEEP))
    connection = machine.connect()
    numbers = [
        connection.send("create", name="web", bundle=bundle),
        connection.send("start", name="web"),
        connection.send("stop", name="web", timeout_s=0),
        connection.send("delete", name="web"),
        connection.send("create", name="other", bundle=bundle),
        connection.send("ping"),
    ]

    answers = [connection.receive() for _ in numbers]

    order = [answer["id"] for answer in answers]
    assert all(answer["ok"] for answer in answers), answers
    assert [number for number in order if number in numbers[:4]] == numbers[:4]
    assert order[0] == numbers[5]
    assert set(machine.listed()) == {"other"}


def test_many_containers_at_once(machine: Machine) -> None:
    """Twenty containers created, started, awaited and deleted from one connection, pipelined."""
    before = machine.look()
    bundle = str(machine.bundle("/bin/true"))
    names = [f"c{number}" for number in range(20)]
    connection = machine.connect()
    for op, args in (
        ("create", {"bundle": bundle}),
        ("start", {}),
        ("wait", {}),
        ("delete", {}),
    ):
        numbers = {connection.send(op, name=name, **args) for name in names}
        while numbers:
            answer = connection.receive()
            assert answer["ok"], answer
            numbers.discard(answer["id"])
            if op == "wait":
                assert answer["result"] == {"exitcode": 0}

    assert machine.listed() == {}
    assert machine.left_since(before) == []


def test_errors_keep_their_kind(machine: Machine) -> None:
    """Clients tell errors apart without reading their text."""
    connection = machine.connect()
    connection.ask("create", name="web", bundle=str(machine.bundle(*SLEEP)))

    with pytest.raises(ConflictError, match="exists already"):
        connection.ask("create", name="web")
    with pytest.raises(InvalidError, match="not a container name"):
        connection.ask("state", name="../web")


def test_the_peer_is_known_by_the_kernel(machine: Machine) -> None:
    """What SO_PEERCRED says is what the check uses: the layout is the kernel's struct ucred."""
    connection = machine.connect()

    found = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)

    assert struct.unpack("iII", found) == (machine.manager.pid, 0, 0)
