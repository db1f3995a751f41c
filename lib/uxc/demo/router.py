"""A small router to play on: a private prefix, its configuration, a disk, dnsmasq and the manager.

Everything is made below one directory and in the namespaces of the caller, who is root in a mount,
network and pid namespace of its own (tests/run and bin/uxc-demo see to that).
"""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from uxc.paths import Paths

TOP = Path(__file__).parents[3]
DEBIAN = TOP / ".cache/debian/bundle"
# Where the announcement has its Debian: a bundle on a USB disk.
DISK = Path("/mnt/sda3/debian")

# As it was written in August 2020.
ANNOUNCEMENT = (TOP / "docs/examples/announcement.uci").read_text()

# How lan looked when the announcement was written.
LAN_BRIDGE = """
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	option ipaddr '127.0.0.1'
	option netmask '255.0.0.0'

config interface 'lan'
	option type 'bridge'
	option proto 'static'
	option ipaddr '192.168.1.1'
	option netmask '255.255.255.0'
"""

# How OpenWrt ships it today.
LAN_STOCK = """
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'

config globals 'globals'
	option ula_prefix 'fd12:3456:789a::/48'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'eth0'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	list ipaddr '192.168.1.1/24'
	option ip6assign '60'
"""

# Long enough for a busy machine; nothing here takes more than a moment.
TIMEOUT_S = 20

LAN_ADDRESS = "192.168.1.1"
_DNSMASQ = (
    "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file"
    # The bridge may be made, and made again, while dnsmasq runs.
    " --interface=br-lan --bind-dynamic --no-resolv --no-hosts"
    f" --address=/router.lan/{LAN_ADDRESS}"
    # --no-ping: nobody else is on this lan, and asking around for three seconds delays the lease.
    " --dhcp-range=192.168.1.100,192.168.1.149,1h --dhcp-authoritative --no-ping"
).split()

# What an unpacked image lacks to be a guest with a network client of its own.
_CAPABILITIES = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_NET_ADMIN CAP_NET_BIND_SERVICE"
    " CAP_NET_RAW CAP_SETGID CAP_SETUID CAP_SYS_CHROOT"
).split()


class Router:
    """The router; ``close`` takes everything away again."""

    def __init__(self, directory: Path, network: str) -> None:
        """Lay out the prefix below ``directory`` with ``network`` as /etc/config/network."""
        self.prefix = directory / "root"
        self.environment = {
            "PATH": f"{TOP}/bin:{os.environ['PATH']}",
            "UXC_PREFIX": str(self.prefix),
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
        }
        self.manager: subprocess.Popen[bytes] | None = None
        self._dnsmasq: subprocess.Popen[bytes] | None = None
        self._disk = directory / "disk"
        self._mounted: list[Path] = []
        config = self.prefix / "etc/config"
        config.mkdir(parents=True)
        # As every system has it; libuci makes the save folder in there and not its parents.
        (self.prefix / "tmp").mkdir()
        (config / "network").write_text(network)
        (config / "uxc").write_text("")

    def insert_disk(self) -> Path:
        """Mount a disk with the Debian bundle, writable in memory only; return its path."""
        self._disk.mkdir()
        self._mount("tmpfs", "mode=755", self._disk)
        for layer in ("mnt", "mnt.work", "debian", "debian.work"):
            (self._disk / layer).mkdir()
        self._mount_overlay(Path("/mnt"), "mnt")
        DISK.mkdir(parents=True, exist_ok=True)
        self._mount_overlay(DISK, "debian", lower=DEBIAN)
        return DISK

    def _mount_overlay(self, target: Path, layer: str, lower: Path | None = None) -> None:
        upper = self._disk / layer
        options = f"lowerdir={lower or target},upperdir={upper},workdir={upper}.work"
        self._mount("overlay", options, target)

    def _mount(self, kind: str, options: str, target: Path) -> None:
        _must("mount", "-t", kind, "-o", options, "none", str(target))
        self._mounted.append(target)

    def set_program(self, *arguments: str, terminal: bool = False) -> None:
        """Make ``arguments`` the program of the bundle on the disk."""
        path = DISK / "config.json"
        config: dict[str, Any] = json.loads(path.read_text())
        process = config["process"]
        process["args"] = list(arguments)
        process["terminal"] = terminal
        for kind in ("bounding", "effective", "permitted"):
            process["capabilities"][kind] = _CAPABILITIES
        for kind in ("inheritable", "ambient"):
            process["capabilities"][kind] = []
        path.write_text(json.dumps(config, indent="\t"))

    def start(self) -> None:
        """Start dnsmasq and the manager; return when the manager answers."""
        leases = self.prefix / "dhcp.leases"
        self._dnsmasq = self._spawn("dnsmasq", *_DNSMASQ, f"--dhcp-leasefile={leases}")
        self.start_manager()

    def start_manager(self) -> None:
        """Start the manager alone; RuntimeError, with its log, when it does not get ready."""
        self.manager = self._spawn("manager", str(TOP / "bin/uxc-manager"), "--log", "stderr")
        path = Paths(str(self.prefix)).control_socket
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(path) == 0:
                    return
            if self.manager.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the manager is not ready:\n{self.log('manager')}")
            time.sleep(0.01)

    def _spawn(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.prefix / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def log(self, name: str) -> str:
        """Return what the program ``name`` has written so far."""
        return (self.prefix / f"{name}.log").read_text(errors="replace")

    def run(self, *command: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command of ours or of the system on the router, with ``text`` as its input."""
        return subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True
        )

    def sh(self, script: str) -> str:
        """Run a shell script on the router and return all that it printed."""
        done = self.run("sh", "-c", script)
        return done.stdout + done.stderr

    def state(self, container: str) -> dict[str, Any]:
        """Return what ``uxc state`` says; RuntimeError when it says that something is wrong."""
        done = self.run("uxc", "state", container)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        state: dict[str, Any] = json.loads(done.stdout)
        return state

    def stop_manager(self) -> None:
        """End the manager; the keeper ends by itself when it has no container left."""
        _end(self.manager)
        self.manager = None

    def _delete_all(self) -> None:
        # Again and again: one that is being created at this moment cannot be deleted yet.
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            listed = json.loads(self.run("uxc", "list", "--json").stdout or "[]")
            if not listed:
                return
            for container in listed:
                self.run("uxc", "delete", "--force", container["name"])

    def close(self) -> None:
        """End all programs and take the disk away; call it also after a failure."""
        if self.manager and self.manager.poll() is None:
            self._delete_all()
        self.stop_manager()
        _end(self._dnsmasq)
        self._dnsmasq = None
        while self._mounted:
            _must("umount", str(self._mounted.pop()))


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=TIMEOUT_S)


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
