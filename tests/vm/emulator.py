"""One virtual machine from its start to its end, and the output of its job on the way."""

import ctypes
import mmap
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from guest_kernel import GuestKernel

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
BUSYBOX = "/bin/busybox"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# Where a machine's file server finds what it serves: read-only, and in its mount namespace only.
SERVE = """
set -e
server=$1 socket=$2 root=$3
shift 3
for point; do
    mount --bind "$point" "$root$point"
    mount -o remount,bind,ro "$root$point"
done
exec "$server" --socket-path="$socket" --thread-pool-size=0 -o source="$root" \\
    -o sandbox=chroot -o cache=always -o xattr -o log_level=err
"""
# An emulated processor is ten times slower than a real one, and these are what helps.
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet panic=-1 reboot=t rdinit=/init cgroup_no_v1=all",
    # Program starts are three times faster when code has the same address each time.
    "norandmaps randomize_kstack_offset=off",
    "mitigations=off init_on_alloc=0 hardened_usercopy=off kfence.sample_interval=0",
    "audit=0 nowatchdog cryptomgr.notests rcupdate.rcu_expedited=1 preempt=none",
)
STREAMS = ("out", "err", "status")
SERVER_PATIENCE_S = 10.0
SHUTDOWN_PATIENCE_S = 20.0


class MachineError(Exception):
    """The machine did not work, whatever its job was."""


class TimeoutOver(Exception):
    """The job took longer than it may."""


@dataclass(frozen=True)
class Machine:
    """What kind of machine, and what it is to do."""

    kernel: GuestKernel
    job: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = CHECKOUT
    append: str = ""
    memory: str = "2G"
    processors: int = 1

    def run(self, timeout_s: float) -> int:
        """Start the machine, relay the job's output, and return the job's exit status.

        Raises MachineError, TimeoutOver. Whatever happens, no process and no mount stays.
        """
        with ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="uxc-vm."))
            scratch = Path(name)
            self._make_ramdisk(scratch)
            files = stack.enter_context(_file_server(scratch))
            relay = stack.enter_context(_Relay())
            command = self._command(scratch, files, relay)
            emulator = stack.enter_context(_child(command, scratch / "log", relay.far_ends()))
            relay.close_far_ends()
            relay.run(emulator, time.monotonic() + timeout_s)
            if not relay.status:
                raise MachineError(f"the machine ended without a status:\n{_tail(scratch)}")
            return int(relay.status)

    def _make_ramdisk(self, scratch: Path) -> None:
        """Make the archive that the kernel unpacks first: busybox, our init, and the job."""
        top = scratch / "ramdisk"
        (top / "bin").mkdir(parents=True)
        shutil.copy(BUSYBOX, top / "bin/busybox")
        shutil.copy(HERE / "init", top / "init")
        shutil.copy(self.kernel.overlay, top / "overlay.ko")
        (top / "settings").write_text(
            f"CHECKOUT={shlex.quote(str(self.directory))}\n"
            f"MODULES={shlex.quote(str(self.kernel.modules))}\n"
        )
        lines = [f"export {name}={shlex.quote(text)}" for name, text in self.environment.items()]
        (top / "job").write_text("\n".join([*lines, f"exec {shlex.join(self.job)}", ""]))
        names = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
        with (scratch / "ramdisk.cpio").open("wb") as archive:
            subprocess.run(
                [BUSYBOX, "cpio", "-o", "-H", "newc"],
                input=names.encode(),
                stdout=archive,
                stderr=subprocess.DEVNULL,
                cwd=top,
                check=True,
            )

    def _command(self, scratch: Path, files: Path, relay: "_Relay") -> list[str]:
        arguments = " ".join(
            (*KERNEL_ARGUMENTS, f"tsc_early_khz={tsc_khz()} tsc=reliable", self.append)
        )
        command = [
            "qemu-system-x86_64",
            *("-M", "microvm,pcie=on,rtc=on,memory-backend=ram"),
            *("-accel", "tcg,thread=multi,tb-size=512"),
            # Without the wide vector instructions, which the emulator does bit by bit.
            *("-cpu", "Nehalem,+rdrand"),
            *("-smp", str(self.processors)),
            *("-m", self.memory),
            *("-object", f"memory-backend-memfd,id=ram,size={self.memory},share=on"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-serial", f"file:{scratch}/console"),
            *("-kernel", str(self.kernel.image)),
            *("-initrd", f"{scratch}/ramdisk.cpio"),
            *("-append", arguments),
            *("-chardev", f"socket,id=files,path={files}"),
            *("-device", "vhost-user-fs-pci,chardev=files,tag=host"),
            *("-device", "virtio-serial-pci"),
        ]
        for name, fd in zip(STREAMS, relay.far_ends(), strict=True):
            command += ("-chardev", f"socket,id={name},fd={fd}")
            command += ("-device", f"virtserialport,chardev={name},name={name}")
        return command


def tsc_khz() -> int:
    """Measure the rate of this processor's time-stamp counter in kHz.

    The emulated counter is the real one. The machine has nothing but an old timer chip to measure
    it by, fails at that now and then on a busy host, and hangs: so it is told.
    """
    code = bytes.fromhex(
        "0f31"  # rdtsc: edx:eax
        "48c1e220"  # shl rdx, 32
        "4809d0"  # or rax, rdx
        "c3"  # ret
    )
    executable = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    with mmap.mmap(-1, mmap.PAGESIZE, prot=executable) as page:
        page.write(code)
        start = ctypes.c_char.from_buffer(page)
        counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(start))
        before, ticks = time.perf_counter_ns(), counter()
        time.sleep(0.03)
        ticks = counter() - ticks
        passed = time.perf_counter_ns() - before
        del start, counter
    return int(ticks * 1_000_000 // passed)


@contextmanager
def _child(
    command: Sequence[str], log: Path, keep: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that ends with us, even when we are killed; its words go to ``log``."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=keep,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _mount_points() -> list[str]:
    """Return the mounts that the programs and the checkout lie on, outer ones first."""
    wanted = {*CHECKOUT.parents, CHECKOUT, Path("/usr")}
    return [str(path) for path in sorted(wanted) if path.is_mount()]


@contextmanager
def _file_server(scratch: Path) -> Iterator[Path]:
    """Serve this machine's files to one virtual machine; yield the socket."""
    root = scratch / "root"
    root.mkdir()
    files = scratch / "files"
    script = ["sh", "-c", SERVE, "sh", VIRTIOFSD, str(files), str(root), *_mount_points()]
    command = ["unshare", "--mount", "--propagation", "private", *script]
    with _child(command, scratch / "files.log") as server:
        deadline = time.monotonic() + SERVER_PATIENCE_S
        while not files.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise MachineError(f"the file server did not start:\n{_tail(scratch)}")
            time.sleep(0.01)
        yield files


class _Relay:
    """The channels between the machine and our own streams."""

    def __init__(self) -> None:
        pairs = [socket.socketpair() for _ in STREAMS]
        self._near = [near for near, _ in pairs]
        self._far = [far for _, far in pairs]
        self.status = b""

    def __enter__(self) -> "_Relay":
        return self

    def __exit__(self, *_: object) -> None:
        for end in (*self._near, *self._far):
            end.close()

    def far_ends(self) -> list[int]:
        """Return the machine's descriptors, in the order of ``STREAMS``."""
        return [end.fileno() for end in self._far]

    def close_far_ends(self) -> None:
        """Leave the far ends to the emulator, so that its end is the end of the streams."""
        for end in self._far:
            end.close()

    def run(self, emulator: subprocess.Popen[bytes], deadline: float) -> None:
        """Pass on what comes until the machine is off; TimeoutOver when it is not in time."""
        targets = {
            self._near[0].fileno(): sys.stdout.fileno(),
            self._near[1].fileno(): sys.stderr.fileno(),
            self._near[2].fileno(): -1,
        }
        poll = select.poll()
        for fd in targets:
            poll.register(fd, select.POLLIN)
        while targets:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutOver
            for fd, _ in poll.poll(left * 1000):
                data = os.read(fd, 1 << 16)
                if not data:
                    poll.unregister(fd)
                    del targets[fd]
                elif targets[fd] < 0:
                    self.status += data
                    deadline = min(deadline, time.monotonic() + SHUTDOWN_PATIENCE_S)
                else:
                    _write_all(targets[fd], data)
        emulator.wait(SHUTDOWN_PATIENCE_S)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _tail(scratch: Path) -> str:
    """Return the last words of the console, the emulator and the file server."""
    found = []
    for name in ("console", "log", "files.log"):
        try:
            text = (scratch / name).read_text(errors="replace")
        except FileNotFoundError:
            continue
        lines = text.splitlines()
        # Our init's words, and the kernel's last sentence, would be lost above its registers.
        said = [line for line in lines if not line.startswith("[") or "panic" in line]
        found += [f"{name}: {line}" for line in (said or lines)[-20:]]
    return "\n".join(found)
