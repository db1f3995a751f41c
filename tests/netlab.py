"""A network of the test's own: a host namespace to break, containers' namespaces, and faults."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uxc.linux import ns
from uxc.net import journal, messages, rtnl
from uxc.net.model import Address, Bridge, Port, Route, Wiring
from uxc.paths import Paths

ROUTER4, ROUTER6 = "192.168.1.1", "fd00:1::1"
# The clockwork of bridges; the state that the kernel works out a second later; and what says that a
# link was up, or a bridge had a port, some time.
_TICKING = ("_timer", "operstate", "qdisc", "tso_max_size")
_CARRIER = {"NO-CARRIER", "LOWER_UP"}
# An index that no link has: a message about it is refused, whatever it says.
_NOWHERE = 0x7FFFFFF0


class Lab:
    """The host's side is the namespace that the test runs in; ``paths`` lie in its own folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder below which run-time state goes."""
        self.paths = Paths(str(folder))
        self._containers: list[int] = []

    def container(self) -> int:
        """Return an fd of a new container's namespace."""
        self._containers.append(ns.new_netns())
        return self._containers[-1]

    def kill(self, fd: int) -> None:
        """Let a container's namespace die."""
        self._containers.remove(fd)
        os.close(fd)

    def close(self) -> None:
        """Let all namespaces die."""
        while self._containers:
            os.close(self._containers.pop())

    def journals(self) -> list[str]:
        """Return the names of all journals that there are, of containers and bridges."""
        return journal.containers(self.paths) + journal.bridges(self.paths)

    def files(self) -> list[str]:
        """Return what lies in the folder of the network room, but the lock."""
        top = Path(self.paths.net_dir)
        return sorted(
            str(entry.relative_to(top))
            for entry in top.rglob("*")
            if entry.is_file() and entry.name != "lock"
        )


@contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    """Be in a new network namespace, the host of the test, until the end of the block."""
    lab = Lab(folder)
    host = ns.new_netns()
    try:
        with ns.entered(host, "net"):
            # Link-local addresses that become valid while a test looks would be differences.
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
            yield lab
    finally:
        lab.close()
        os.close(host)


def ip(*words: str, fd: int | None = None) -> Any:
    """Run ip(8) on the host, or in a container; return what its JSON says."""
    with _inside(fd):
        done = subprocess.run(("ip", "-j", *words), capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout or "[]")


def link(name: str, fd: int | None = None) -> dict[str, Any]:
    """Return one link as ip(8) shows it; an empty dictionary when there is none."""
    return next((entry for entry in ip("-d", "link", fd=fd) if entry["ifname"] == name), {})


def addresses(name: str, fd: int | None = None) -> list[str]:
    """Return the addresses of a link that are not link-local, and in no state of doubt."""
    (entry,) = ip("address", "show", "dev", name, fd=fd)
    return [
        f"{address['local']}/{address['prefixlen']}"
        for address in entry["addr_info"]
        if address["scope"] == "global" and not address.get("tentative")
    ]


def routes(fd: int | None = None) -> list[tuple[str, str, str]]:
    """Return (target, gateway, device) of each default route."""
    found = ip("route", "show", "default", fd=fd) + ip("-6", "route", "show", "default", fd=fd)
    return [(entry["dst"], entry.get("gateway", ""), entry["dev"]) for entry in found]


def everything(fd: int | None = None) -> dict[str, Any]:
    """Return all that ip(8) shows of links, addresses and routes; equal when nothing changed."""
    shown = {
        "link": ip("-d", "link", fd=fd),
        "address": ip("address", fd=fd),
        "route": ip("route", "show", "table", "all", fd=fd),
        "route6": ip("-6", "route", "show", "table", "all", fd=fd),
    }
    return dict(_flat("", shown))


def both(fd: int) -> dict[str, Any]:
    """Return ``everything`` of the host and of a container."""
    seen = {"host": everything(), "inside": everything(fd)}
    return {f"/{side}{path}": value for side in seen for path, value in seen[side].items()}


def ping(address: str, fd: int | None = None) -> bool:
    """Tell whether ``address`` answers at once."""
    with _inside(fd):
        done = subprocess.run(("ping", "-n", "-c1", "-W2", address), capture_output=True)
    return done.returncode == 0


def address(text: str, broadcast: str | None = None) -> Address:
    """Return the address that ``text`` (CIDR) says."""
    own, _, prefix = text.partition("/")
    version = 6 if ":" in own else 4
    return Address(address=own, prefix=int(prefix), version=version, broadcast=broadcast)


def bridge(**changes: Any) -> Bridge:
    """Return a bridge with the router's addresses."""
    own = (address(f"{ROUTER4}/24", "192.168.1.255"), address(f"{ROUTER6}/64"))
    return Bridge(**{"name": "br-lan", "addresses": own, **changes})


def port(number: int = 0, **changes: Any) -> Port:
    """Return a cable from the bridge to ``eth0``, with addresses and default routes."""
    values: dict[str, Any] = {
        "interface": f"virt{number}",
        "device": f"virt{number}",
        "name": "eth0",
        "host": f"vhost{number}",
        "bridge": "br-lan",
        "addresses": (
            address(f"192.168.1.{number + 10}/24", "192.168.1.255"),
            address(f"fd00:1::{number + 10:x}/64"),
        ),
        "routes": (
            Route(target="0.0.0.0/0", version=4, gateway=ROUTER4),
            Route(target="::/0", version=6, gateway=ROUTER6),
        ),
    }
    return Port(**{**values, **changes})


def wiring(number: int = 0, *ports: Port, **changes: Any) -> Wiring:
    """Return the wiring of container ``cNUMBER``: the given ports, or one cable to the bridge."""
    values: dict[str, Any] = {
        "container": f"c{number}",
        "bridges": (bridge(),),
        "ports": ports or (port(number),),
        "dns": (ROUTER4,),
    }
    return Wiring(**{**values, **changes})


class Faults:
    """Count the points at which a wiring can be hit, and hit it at the wanted one.

    A point is each message that changes something, and each journal before and after it is
    written.
    """

    def __init__(self, at: int) -> None:
        """Take the number of the point, from 1; 0 only counts."""
        self.at = at
        self.count = 0

    def _reached(self) -> bool:
        self.count += 1
        return self.count == self.at

    def _steps(self, message: rtnl.Message) -> bool:
        # Of each four kinds the third one reads (rtnetlink.h).
        return message.kind % 4 != 2

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Let the kernel refuse the message, and work through those behind it as it does."""
        real = rtnl.Socket.batch

        def batch(sock: rtnl.Socket, requests: list[rtnl.Message]) -> list[rtnl.Answer]:
            hit = [self._steps(request) and self._reached() for request in requests]
            wrong = messages.set_up(_NOWHERE, True)
            return real(sock, [wrong if h else r for h, r in zip(hit, requests, strict=True)])

        with _patched(rtnl.Socket, "batch", batch):
            yield

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Let this process be killed there; messages are sent one by one, to be in between."""
        real_batch, real_write = rtnl.Socket.batch, journal.files.write_json

        def batch(sock: rtnl.Socket, requests: list[rtnl.Message]) -> list[rtnl.Answer]:
            answers = []
            for request in requests:
                answers += real_batch(sock, [request])
                if self._steps(request):
                    self._die_here()
            return answers

        def write_json(*arguments: Any) -> None:
            self._die_here()
            real_write(*arguments)
            self._die_here()

        with (
            _patched(rtnl.Socket, "batch", batch),
            _patched(journal.files, "write_json", write_json),
        ):
            yield

    def _die_here(self) -> None:
        if self._reached():
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(function: Callable[[], object]) -> int:
    """Run ``function`` in a forked child; return the signal that killed it, 0 for none.

    Raises AssertionError when the function did.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise AssertionError("the child failed")
    return 0


@contextmanager
def _inside(fd: int | None) -> Iterator[None]:
    if fd is None:
        yield
    else:
        with ns.entered(fd, "net"):
            yield


@contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def _label(entry: dict[str, Any]) -> str:
    """Return what tells a link, an address or a route from others of its list."""
    parts = ("ifname", "local", "dst", "dev", "type", "table")
    return " ".join(str(entry[part]) for part in parts if part in entry)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each value with its path, but those that change by themselves."""
    if isinstance(value, dict):
        for name, entry in value.items():
            if name == "flags":
                yield f"{path}/flags", sorted(set(entry) - _CARRIER)
            elif not name.endswith(_TICKING):
                yield from _flat(f"{path}/{name}", entry)
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            label = _label(entry) if isinstance(entry, dict) else number
            yield from _flat(f"{path}/{label}", entry)
    else:
        yield path, value
