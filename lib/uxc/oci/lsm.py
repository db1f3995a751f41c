"""apparmorProfile and selinuxLabel: what the next execve shall put the program under.

Hardly any bundle names one: this module is imported for one that does.
"""

import errno
import posix

from uxc import files
from uxc.errors import MissingError, SystemFailure, system_failure
from uxc.linux import mount, path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.spec_process import Process

_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_FILESYSTEMS = "/proc/filesystems"
_LEAVE_OUT = "leave the property out, or boot with "


def check(
    process: "Process", where: str, apparmor: str = _APPARMOR, filesystems: str = _FILESYSTEMS
) -> None:
    """Raise MissingError when the process object at ``where`` wants a module that is not active.

    AppArmor says so in the file ``apparmor``; SELinux lists its own in ``filesystems`` unless it
    was left out or switched off at boot.
    """
    if process.apparmor_profile and not _reads(apparmor, b"Y"):
        raise MissingError(
            f"{where}.apparmorProfile: AppArmor is not active in this kernel",
            f"{_LEAVE_OUT}apparmor=1 where the kernel has it",
        )
    if process.selinux_label and not _reads(filesystems, b"\tselinuxfs\n"):
        raise MissingError(
            f"{where}.selinuxLabel: SELinux is not active in this kernel",
            f"{_LEAVE_OUT}selinux=1 where the kernel has it",
        )


def _reads(place: str, wanted: bytes) -> bool:
    try:
        return wanted in files.read_bytes(place)
    except FileNotFoundError:
        return False


class Labels:
    """What the next execve of a process takes from the security modules; empty: as it is."""

    __slots__ = ("_apparmor_profile", "_selinux_label")

    def __init__(self, process: "Process") -> None:
        """Take the names that were checked."""
        self._apparmor_profile = process.apparmor_profile
        self._selinux_label = process.selinux_label

    def apply(self) -> None:
        """Have the next execve of this process take them; SystemFailure.

        Works in the pid namespace that the process is in, and only while a process of its user
        namespace may still mount a procfs: before any part of /proc is masked.
        """
        # Our own instance of procfs, which the container cannot mount over (CVE-2025-52881).
        try:
            own = mount.new_filesystem("proc", "proc")
        except OSError as error:
            raise system_failure("mount a procfs for the label of the program", error) from None
        try:
            if self._apparmor_profile:
                _set_profile(own, self._apparmor_profile)
            if self._selinux_label:
                _set_label(own, self._selinux_label)
        finally:
            posix.close(own)


def _set_profile(own: int, profile: str) -> None:
    text = f"exec {profile}".encode()
    try:
        _write(own, "attr/apparmor/exec", text)
    except FileNotFoundError:
        raise SystemFailure(
            f"cannot apply process.apparmorProfile: the profile {profile} is not loaded",
            "load it with apparmor_parser",
        ) from None
    except OSError as error:
        raise system_failure(f"apply process.apparmorProfile {profile}", error) from None


def _set_label(own: int, label: str) -> None:
    try:
        _write(own, "attr/exec", label.encode() + b"\0")
    except OSError as error:
        hint = "the loaded policy does not know the label" if error.errno == errno.EINVAL else ""
        raise system_failure(f"apply process.selinuxLabel {label}", error, hint) from None


def _write(own: int, name: str, text: bytes) -> None:
    fd = path.open_same_mount(own, f"{posix.getpid()}/{name}", posix.O_WRONLY)
    try:
        posix.write(fd, text)
    finally:
        posix.close(fd)
