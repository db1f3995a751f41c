"""The system call filter of a bundle as a BPF program, compiled once and kept.

Compiling Podman's default profile takes libseccomp 20 ms, longer than everything else in a create,
so programs are kept in a directory by the digest of the profile. An entry names the library file
that made it: another one, after an upgrade, knows other system calls and compiles anew.
"""

import _blake2
import _stat
import errno
import posix
import sys

from uxc import files, jsontext
from uxc.errors import InvalidError, MissingError, UxcError, system_failure
from uxc.oci.spec_fields import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from uxc.linux.seccomp_lib import Filter
    from uxc.oci.spec_seccomp import Seccomp, Syscall, SyscallArg

# linux/seccomp.h, SECCOMP_RET_*; the low 16 bits hold the number of ERRNO and TRACE.
_DATA = 0xFFFF
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
# Flags for seccomp(2).
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_NEW_LISTENER = 8
_TSYNC = _FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]
# The result of a TSYNC that fails would be a thread's id, where a listener is wanted (seccomp(2)).
_TSYNC_ESRCH = 16
_WAIT_KILLABLE = _FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
_NOTIFY = "SCMP_ACT_NOTIFY"
# Between loading the filter and handing its listener over, nobody answers: the runtime itself has
# to write(2) to its maker there.
_NEEDED_CALL = "write"
_INSTRUCTION_BYTES = 8
_MAX_INSTRUCTIONS = 4096
_FORMAT = 1
# Every profile on the machine has an entry; generated ones must not fill the RAM disk.
_MAX_ENTRIES = 64


class Program:
    """``code`` is an array of struct sock_filter, ``flags`` goes with it to seccomp(2).

    ``listens``: loading it gives a descriptor for notifications; ``notifies_exec``: an execve may
    be among them.
    """

    __slots__ = ("code", "flags", "listens", "notifies_exec")

    def __init__(self, code: bytes, profile: "Seccomp") -> None:
        """Take the compiled ``profile``."""
        self.code = code
        self.listens, self.notifies_exec = _notifications(profile)
        self.flags = 0
        for name in profile.flags:
            self.flags |= _FLAGS[name]
        if self.listens:
            self.flags |= _NEW_LISTENER
            self.flags |= _TSYNC_ESRCH if self.flags & _TSYNC else 0
        else:
            # The kernel refuses it without a listener, and libseccomp leaves it out then.
            self.flags &= ~_WAIT_KILLABLE


def program(profile: "Seccomp", directory: str, machine: str = "") -> Program:
    """Return the program for ``profile``, from ``directory`` or compiled and put there.

    ``directory`` is made, for its owner alone, when it is missing; one that others can write to is
    left alone, and the program compiled. Raises InvalidError with JSON path, MissingError without
    libseccomp, SystemFailure.
    """
    _check_notify(profile)
    folder = _open_private(directory)
    if folder < 0:
        return Program(compile_profile(profile), profile)
    try:
        name = _digest(profile, machine) + ".bpf"
        code = _read(folder, name)
        if not code:
            code = compile_profile(profile)
            _write(folder, directory, name, code)
    finally:
        posix.close(folder)
    return Program(code, profile)


def cached(profile: "Seccomp", directory: str) -> "Program | None":
    """Return the program for ``profile`` if ``directory`` has it; errors as ``program``."""
    _check_notify(profile)
    folder = _open_private(directory)
    if folder < 0:
        return None
    try:
        code = _read(folder, _digest(profile, "") + ".bpf")
    finally:
        posix.close(folder)
    return Program(code, profile) if code else None


def _notifications(profile: "Seccomp") -> "tuple[bool, bool]":
    """Tell whether the profile notifies anybody of anything, and whether of an execve."""
    notified = [name for call in profile.syscalls if call.action == _NOTIFY for name in call.names]
    return bool(notified), "execve" in notified or "execveat" in notified


def _check_notify(profile: "Seccomp") -> None:
    """Refuse notifications that nobody would get, or that we would be the first to wait for."""
    if profile.default_action == _NOTIFY:
        _refuse(
            member(profile.where, "defaultAction"),
            f"cannot be {_NOTIFY}: the program could not even be started",
        )
    for index, call in enumerate(profile.syscalls):
        if call.action != _NOTIFY:
            continue
        if not profile.listener_path:
            _refuse(member(profile.where, "listenerPath"), f"is missing: {_NOTIFY} needs it")
        if _NEEDED_CALL in call.names:
            _refuse(
                f"{_path(profile, index)}.names",
                f"{_NEEDED_CALL} cannot have the action {_NOTIFY}",
            )


def _path(profile: "Seccomp", index: int) -> str:
    return f"{member(profile.where, 'syscalls')}[{index}]"


def _refuse(path: str, message: str) -> "NoReturn":
    raise InvalidError(f"{path}: {message}")


def _digest(profile: "Seccomp", machine: str) -> str:
    # A 32-bit interpreter on a 64-bit kernel filters for its own architecture first.
    facts = [_FORMAT, machine or posix.uname().machine, sys.maxsize, profile.node]
    return _blake2.blake2b(jsontext.dumps(facts).encode(), digest_size=24).hexdigest()


def _open_private(directory: str) -> int:
    """Return an fd of ``directory``, -1 when somebody else could have put a program there."""
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        try:
            folder = posix.open(directory, flags)
        except FileNotFoundError:
            files.make_dirs(directory.rpartition("/")[0] or "/")
            files.make_dirs(directory, 0o700)
            folder = posix.open(directory, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return -1
        raise system_failure("open the directory of seccomp programs", error) from None
    status = posix.fstat(folder)
    if status.st_uid != posix.geteuid() or status.st_mode & (_stat.S_IWGRP | _stat.S_IWOTH):
        posix.close(folder)
        return -1
    return folder


def _stamp(path: str) -> "list[Any]":
    """Return what changes when the library at ``path`` is replaced."""
    status = posix.stat(path)
    return [path, status.st_size, status.st_mtime_ns, status.st_ino]


def _read(folder: int, name: str) -> bytes:
    """Return the program of the entry ``name``, empty when it is missing, stale or damaged."""
    try:
        data = files.read_bytes(name, dir_fd=folder)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise system_failure("read the seccomp program", error) from None
    head, _, code = data.partition(b"\n")
    try:
        facts = jsontext.loads(head.decode("ascii"), name)
        if facts == {"library": _stamp(facts["library"][0]), "code": _checksum(code)}:
            return code
    except (OSError, UxcError, UnicodeDecodeError, TypeError, LookupError):
        # Whatever is wrong with an entry, compiling it again is the cure.
        return b""
    return b""


def _checksum(code: bytes) -> str:
    return _blake2.blake2b(code, digest_size=16).hexdigest()


def _write(folder: int, directory: str, name: str, code: bytes) -> None:
    from uxc.linux import seccomp_lib

    library = seccomp_lib.loaded_path()
    if not library:
        # Without knowing the library, staleness could not be told.
        return
    head = jsontext.dumps({"library": _stamp(library), "code": _checksum(code)})
    try:
        files.write_atomic(f"{directory}/{name}", head.encode() + b"\n" + code)
        _forget_oldest(folder)
    except OSError as error:
        raise system_failure("keep the seccomp program", error) from None


def _forget_oldest(folder: int) -> None:
    names = posix.listdir(folder)
    if len(names) <= _MAX_ENTRIES:
        return
    ages = []
    for name in names:
        try:
            ages.append((posix.stat(name, dir_fd=folder).st_mtime_ns, name))
        except FileNotFoundError:
            continue
    for _, name in sorted(ages)[: len(names) - _MAX_ENTRIES]:
        try:
            posix.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            continue


def compile_profile(profile: "Seccomp") -> bytes:
    """Return the program for ``profile`` without looking at any cache; errors as ``program``."""
    try:
        # Opens the library, which a machine without seccomp profiles need not have.
        from uxc.linux import seccomp_lib
    except OSError:
        raise MissingError(
            f"{profile.where}: the library libseccomp is missing",
            "install it: the package is libseccomp on OpenWrt, libseccomp2 on Debian",
        ) from None
    _check_notify(profile)
    default = _action_value(profile.default_action, profile.default_errno_ret)
    try:
        filter_ = seccomp_lib.Filter(default)
    except OSError:
        path = member(profile.where, "default")
        _refuse_action(f"{path}Action", f"{path}ErrnoRet", profile.default_action, default)
    try:
        for index, name in enumerate(profile.architectures):
            _add_architecture(filter_, name, f"{profile.where}.architectures[{index}]")
        for index, call in enumerate(profile.syscalls):
            _add_syscall(filter_, call, default, _path(profile, index))
        code = filter_.export()
    except OSError as error:
        raise system_failure("compile the seccomp filter", error) from None
    finally:
        filter_.close()
    if not 0 < len(code) <= _MAX_INSTRUCTIONS * _INSTRUCTION_BYTES:
        count = len(code) // _INSTRUCTION_BYTES
        _refuse(profile.where, f"the filter has {count} instructions, more than the kernel takes")
    return code


def _library_name() -> str:
    from uxc.linux import seccomp_lib

    return "libseccomp " + ".".join(map(str, seccomp_lib.version()))


def _action_value(action: str, number: "int | None") -> int:
    value = _ACTIONS[action]
    if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= errno.EPERM if number is None else number
    return value


def _refuse_action(path: str, number_path: str, action: str, value: int) -> "NoReturn":
    """Refuse an action that libseccomp did not take: every one knows ERRNO, but limits its number.

    The kernel has another limit, MAX_ERRNO, and libseccomp's is one less in the releases there are.
    """
    if action == "SCMP_ACT_ERRNO":
        _refuse(number_path, f"{value & _DATA} is more than {_library_name()} takes")
    _refuse(path, f"{action} is not known to {_library_name()}")


def _add_architecture(filter_: "Filter", name: str, path: str) -> None:
    try:
        filter_.add_architecture(name.removeprefix("SCMP_ARCH_").lower())
    except OSError as error:
        if error.errno == errno.EINVAL:
            _refuse(path, f"{name} is not known to {_library_name()}")
        if error.errno == errno.EDOM:
            _refuse(path, f"{name} has another byte order than this machine")
        raise


def _add_syscall(filter_: "Filter", call: "Syscall", default: int, path: str) -> None:
    from uxc.linux.seccomp_lib import syscall_number

    action = _action_value(call.action, call.errno_ret)
    if action == default:
        # libseccomp refuses a rule that says what the default says anyway.
        return
    alternatives = _conditions(call.args)
    for name in call.names:
        number = syscall_number(name)
        if number is None:
            # As runc and crun: profiles name system calls that only newer libraries know. A rule
            # of which no name is left must do nothing, not hold for every system call.
            continue
        for conditions in alternatives:
            try:
                filter_.add_rule(action, number, conditions, name)
            except OSError as error:
                if error.errno == errno.EEXIST:
                    _refuse(path, f"{name} has another rule with the same conditions")
                if error.errno == errno.EINVAL:
                    _refuse_action(path, f"{path}.errnoRet", call.action, action)
                raise


def _conditions(args: "list[SyscallArg]") -> "list[list[tuple[int, int, int, int]]]":
    """Return the alternatives for ``args``: each a list of conditions that must all hold.

    All conditions hold together, unless one argument has several: libseccomp takes one for each,
    and all runtimes then make each condition a rule of its own.
    """
    if not args:
        return [[]]
    conditions = [_condition(arg) for arg in args]
    if len({arg.index for arg in args}) == len(args):
        return [conditions]
    return [[condition] for condition in conditions]


def _condition(arg: "SyscallArg") -> "tuple[int, int, int, int]":
    from uxc.linux.seccomp_lib import COMPARE

    return (arg.index, COMPARE[arg.op.removeprefix("SCMP_CMP_")], arg.value, arg.value_two)
