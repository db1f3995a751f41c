"""eBPF programs on cgroups, through bpf(2)."""

import _struct

from uxc.linux.libc import address, buffer, syscall

# linux/bpf.h.
_PROG_LOAD = 5
_PROG_ATTACH = 8
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
_INSTRUCTION_BYTES = 8
# The verifier gives up with EAGAIN when a signal arrives, such as SIGCHLD in a keeper.
_LOAD_ATTEMPTS = 16
# The program calls no helper of the kernel, so any licence will do.
_LICENSE = b"Apache-2.0\0"


def load_device_program(instructions: bytes, name: str = "uxc_devices") -> int:
    """Load ``instructions`` as a device program and return its fd (close-on-exec).

    Raises OSError: EINVAL or ENOSYS where the kernel lacks CONFIG_CGROUP_BPF, EPERM without the
    privilege, EACCES when the verifier refuses the program.
    """
    code = buffer(len(instructions))
    code.raw = instructions
    licence = buffer(len(_LICENSE))
    licence.raw = _LICENSE
    attributes = _struct.pack(
        "=IIQQIIQII16sII",
        _PROG_TYPE_CGROUP_DEVICE,
        len(instructions) // _INSTRUCTION_BYTES,
        address(code),
        address(licence),
        0,
        0,
        0,
        0,
        0,
        name.encode()[:15],
        0,
        _ATTACH_CGROUP_DEVICE,
    )
    for _ in range(_LOAD_ATTEMPTS - 1):
        try:
            return syscall("bpf", "device program", _PROG_LOAD, attributes, len(attributes))
        except BlockingIOError:
            continue
    return syscall("bpf", "device program", _PROG_LOAD, attributes, len(attributes))


def attach_device_program(cgroup_fd: int, program_fd: int, path: str) -> None:
    """Make the cgroup (an fd of its directory, opened for reading) obey the program, too.

    Programs of parent cgroups stay in force: an access must please all. ``path`` is for the
    OSError.
    """
    attributes = _struct.pack("=IIII", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
    syscall("bpf", path, _PROG_ATTACH, attributes, len(attributes))
