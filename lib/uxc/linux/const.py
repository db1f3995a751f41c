"""Kernel numbers that Python does not know: system calls per architecture, flags, ioctls.

errno, ``O_*`` and signal numbers differ per architecture too, but the standard library has them.
Numbers are from the kernel's uapi headers and ``arch/*/syscall*.tbl``.
"""

import posix
import sys

# Rows: name → number on (x86_64, i386, arm, aarch64 and everything on asm-generic, mips o32,
# mips n64, powerpc 32 and 64, s390x). The two mips columns are without their base (4000, 5000).
_COLUMNS = ("x86_64", "i386", "arm", "generic", "o32", "n64", "powerpc", "s390x")
_NUMBERS = {
    "execve": (59, 11, 11, 221, 11, 57, 11, 11),
    "execveat": (322, 358, 387, 281, 356, 316, 362, 354),
    "mount": (165, 21, 21, 40, 21, 160, 21, 21),
    "umount2": (166, 52, 52, 39, 52, 161, 52, 52),
    "pivot_root": (155, 217, 218, 41, 216, 151, 203, 217),
    "unshare": (272, 310, 337, 97, 303, 262, 282, 303),
    "setns": (308, 346, 375, 268, 344, 303, 350, 339),
    "prctl": (157, 172, 172, 167, 192, 153, 171, 172),
    "capget": (125, 184, 184, 90, 204, 123, 183, 184),
    "capset": (126, 185, 185, 91, 205, 124, 184, 185),
    "prlimit64": (302, 340, 369, 261, 338, 297, 325, 334),
    "keyctl": (250, 288, 311, 219, 282, 241, 271, 280),
    "seccomp": (317, 354, 383, 277, 352, 312, 358, 348),
    "bpf": (321, 357, 386, 280, 355, 315, 361, 351),
    "ptrace": (101, 26, 26, 117, 26, 99, 26, 26),
    "setdomainname": (171, 121, 121, 162, 121, 166, 121, 121),
    "personality": (135, 136, 136, 92, 136, 132, 136, 136),
    "ioprio_set": (251, 289, 314, 30, 314, 273, 273, 282),
    "sched_setattr": (314, 351, 380, 274, 349, 309, 355, 345),
    "fstatfs": (138, 100, 100, 44, 100, 135, 100, 100),
    "set_mempolicy": (238, 276, 321, 237, 270, 229, 261, 270),
}
# Since Linux 5.1 a new call has one number everywhere (plus the base on mips).
_UNIFIED = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}
_BASES = {"o32": 4000, "n64": 5000}


def abi(machine: str, wide: bool) -> str:
    """Return the column of the system call table for ``uname -m`` and the width of a pointer.

    A 32-bit program on a 64-bit kernel sees the 64-bit machine name, so the width decides.
    Raises LookupError for an architecture that is not in the table.
    """
    if machine.startswith("mips"):
        return "n64" if wide else "o32"
    if machine in ("x86_64", "i386", "i486", "i586", "i686"):
        return "x86_64" if wide else "i386"
    if machine.startswith(("aarch64", "arm")):
        return "generic" if wide else "arm"
    if machine.startswith("ppc"):
        return "powerpc"
    if machine.startswith(("riscv", "loongarch")):
        return "generic"
    if machine == "s390x":
        return "s390x"
    raise LookupError(f"the system call numbers of {machine} are not known")


def numbers(column: str) -> "dict[str, int]":
    """Return the number of every system call that we use, for one ``column`` of the table."""
    at = _COLUMNS.index(column)
    base = _BASES.get(column, 0)
    table = {name: row[at] + base for name, row in _NUMBERS.items()}
    table.update((name, number + base) for name, number in _UNIFIED.items())
    return table


ABI = abi(posix.uname().machine, sys.maxsize > 1 << 32)
NR = numbers(ABI)


class IoctlCodes:
    """The layout of ioctl request numbers: mips and powerpc use 3 direction bits, others 2."""

    __slots__ = ("_direction_shift", "_none", "_read", "_write")

    def __init__(self, column: str) -> None:
        """Take the layout of ``column`` (asm-generic/ioctl.h and the two exceptions)."""
        if column in ("o32", "n64", "powerpc"):
            self._direction_shift, self._none, self._read, self._write = 29, 1, 2, 4
        else:
            self._direction_shift, self._none, self._write, self._read = 30, 0, 1, 2

    def _make(self, direction: int, kind: int, number: int, size: int) -> int:
        return direction << self._direction_shift | size << 16 | kind << 8 | number

    def none(self, kind: int, number: int) -> int:
        """Return the request number of an ioctl without data, ``_IO``."""
        return self._make(self._none, kind, number, 0)

    def read(self, kind: int, number: int, size: int) -> int:
        """Return the request number of an ioctl that answers ``size`` bytes, ``_IOR``."""
        return self._make(self._read, kind, number, size)

    def write(self, kind: int, number: int, size: int) -> int:
        """Return the request number of an ioctl that takes ``size`` bytes, ``_IOW``."""
        return self._make(self._write, kind, number, size)


class TerminalIoctls:
    """Request numbers of the terminal ioctls; four of them are historic on most machines."""

    __slots__ = ("get_peer", "get_size", "set_controlling", "set_lock", "set_size")

    def __init__(self, column: str) -> None:
        """Compute the numbers for ``column`` (asm/ioctls.h)."""
        codes = IoctlCodes(column)
        self.get_peer = codes.none(ord("T"), 0x41)
        self.set_lock = codes.write(ord("T"), 0x31, 4)
        if column in ("o32", "n64", "powerpc"):
            self.get_size = codes.read(ord("t"), 104, 8)
            self.set_size = codes.write(ord("t"), 103, 8)
        else:
            self.get_size, self.set_size = 0x5413, 0x5414
        self.set_controlling = 0x5480 if column in ("o32", "n64") else 0x540E


IOCTL = IoctlCodes(ABI)
TERMINAL = TerminalIoctls(ABI)

DEVPTS_SUPER_MAGIC = 0x1CD1

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
NS_GET_NSTYPE = IOCTL.none(0xB7, 3)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWTIME = 0x00000080
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

CLOSE_RANGE_CLOEXEC = 4

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSPICK_CLOEXEC = 0x01
FSPICK_EMPTY_PATH = 0x08

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

MS_RDONLY = 1
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_I_VERSION = 1 << 23
MS_LAZYTIME = 1 << 25
MNT_DETACH = 2

PTRACE_CONT = 7
PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_LISTEN = 0x4208
PTRACE_O_TRACEEXEC = 0x10
PTRACE_O_EXITKILL = 0x100000
PTRACE_EVENT_EXEC = 4
PTRACE_EVENT_STOP = 128

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1

KEYCTL_JOIN_SESSION_KEYRING = 1

IFF_UP = 1
