"""The kernel of the virtual machine: Debian's for clouds, fetched once and laid out for us."""

import platform
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# The first package that this one depends on is the image itself.
NEWEST = "linux-image-6.12-cloud-amd64"
OVERLAY = "kernel/fs/overlayfs/overlay.ko"

# Documentation/arch/x86/boot.rst of Linux, "The Real-Mode Kernel Header".
_SECTOR = 512
_SETUP_SECTS = 0x1F1
_PAYLOAD = struct.Struct("<II")
_PAYLOAD_AT = 0x248
_ELF = b"\x7fELF"


class KernelError(Exception):
    """No kernel could be got; the message says why and what helps."""


@dataclass(frozen=True)
class GuestKernel:
    """An unpacked kernel: the ELF image, and the directory that is to be /lib/modules."""

    version: str
    image: Path
    modules: Path

    @property
    def overlay(self) -> Path:
        """The module that the root file system of the machine needs."""
        return self.modules / self.version / OVERLAY


def load(directory: Path) -> GuestKernel | None:
    """Return the kernel that ``fetch`` has put there, None when there is none."""
    try:
        version = (directory / "version").read_text().strip()
    except FileNotFoundError:
        return None
    # The machine has another root while it looks for the modules: no link can be followed there.
    directory = directory.resolve()
    return GuestKernel(version, directory / "vmlinux", directory / "lib/modules")


def fetch(directory: Path) -> GuestKernel:
    """Fetch the kernel with apt and unpack it into ``directory``, all of it or nothing.

    Raises KernelError.
    """
    if platform.machine() != "x86_64":
        raise KernelError(f"there is no virtual machine for {platform.machine()}, only x86_64")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel.", dir=directory.parent) as name:
        top = Path(name)
        unpacked = top / "package"
        _run("dpkg", "-x", str(_download(top)), str(unpacked))
        (modules,) = (unpacked / "lib/modules").iterdir()
        made = top / "made"
        (made / "lib").mkdir(parents=True)
        shutil.move(modules.parent, made / "lib")
        version = modules.name
        image = (unpacked / f"boot/vmlinuz-{version}").read_bytes()
        (made / "vmlinux").write_bytes(_decompressed(image))
        # What is compressed, the emulator would unpack again and again, ten times slower.
        packed = [str(path) for path in made.rglob("*.ko.xz")]
        _run("xz", "-d", "-T0", *packed)
        _run("depmod", "-b", str(made), version)
        (made / "version").write_text(version)
        made.rename(directory)
    found = load(directory)
    assert found is not None
    return found


def _download(directory: Path) -> Path:
    """Let apt fetch the package of the newest kernel into ``directory``."""
    if not _candidate():
        _run("apt-get", "-q", "update")
    candidate = _candidate()
    if not candidate:
        raise KernelError(f"apt knows no {NEWEST}: the suite bookworm-security has it")
    _run("apt-get", "-q", "download", candidate, directory=directory)
    (package,) = directory.glob("*.deb")
    return package


def _candidate() -> str:
    """Return the name of the package that has the image, empty when apt does not know it."""
    command = ("apt-cache", "depends", "--important", NEWEST)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (line.split() for line in done.stdout.splitlines())
    return next((line[1] for line in words if line[:1] == ["Depends:"]), "")


def _run(*command: str, directory: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise KernelError(f"{' '.join(command[:4])} failed: {said}")


def _decompressed(image: bytes) -> bytes:
    """Return the ELF file inside a bzImage, which QEMU starts by the PVH protocol."""
    offset, length = _PAYLOAD.unpack_from(image, _PAYLOAD_AT)
    start = (image[_SETUP_SECTS] + 1) * _SECTOR + offset
    # The build appends the size of what was compressed.
    payload, size = image[start : start + length - 4], image[start + length - 4 : start + length]
    done = subprocess.run(["zstd", "-dc"], input=payload, capture_output=True)
    elf = done.stdout
    if done.returncode or elf[:4] != _ELF or len(elf) != int.from_bytes(size, "little"):
        raise KernelError(f"the kernel image is packed in an unknown way: {payload[:6].hex()}")
    return elf
