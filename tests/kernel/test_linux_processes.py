"""Cloning, naming and executing processes; namespaces; terminals; mounts."""

import os
import signal
import struct
import threading
from pathlib import Path

import pytest

from uxc.linux import caps, const, fds, libc, mount, ns, proc, pty


def run(child: "object", flags: int = 0) -> int:
    """Run ``child`` in a clone and return its exit code."""
    pid, pidfd = proc.clone(flags)
    if pid == 0:
        code = 99
        try:
            code = child()  # type: ignore[operator]
        finally:
            os._exit(code)
    os.close(pidfd)
    return proc.wait_exit_code(pid)


def test_a_clone_is_in_its_namespaces() -> None:
    """With CLONE_NEWPID the child is pid 1."""
    assert run(os.getpid, const.CLONE_NEWPID) == 1


def test_a_clone_can_use_python_like_a_fork() -> None:
    """The interpreter's own fork hooks have run: locks, threads and hooks work in the child."""
    seen: list[int] = []
    os.register_at_fork(after_in_child=lambda: seen.append(5))

    def child() -> int:
        thread = threading.Thread(target=lambda: seen.append(7))
        thread.start()
        thread.join()
        return sum(seen[-2:])

    assert run(child) == 12
    assert seen == []


def test_a_clone_comes_with_a_pidfd() -> None:
    """The parent gets it with the pid: nothing can come between."""
    pid, pidfd = proc.clone(0)
    if pid == 0:
        signal.pause()
    proc.send_signal(pidfd, signal.SIGKILL)

    assert proc.wait_exit_code(pid) == 128 + signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        proc.send_signal(pidfd, 0)
    os.close(pidfd)


def test_a_pid_alone_does_not_name_a_process() -> None:
    """A pid with another start time is somebody else."""
    pid = os.getpid()
    os.close(proc.pidfd_of(pid, proc.start_time(pid)))

    with pytest.raises(ProcessLookupError):
        proc.pidfd_of(pid, proc.start_time(pid) + 1)
    with pytest.raises(ProcessLookupError):
        proc.start_time(0x3FFFFF)


def test_a_name_with_blanks_and_parentheses_is_no_puzzle() -> None:
    """The name in /proc/PID/stat is the process's own choice."""
    wanted = proc.start_time(os.getpid())
    before = Path("/proc/self/comm").read_text().strip()
    proc.set_name(") R 1 2 (")
    try:
        assert proc.start_time(os.getpid()) == wanted
        assert proc.stat(os.getpid()).alive
    finally:
        proc.set_name(before)


def test_an_exec_gets_its_strings_as_they_are() -> None:
    """Doubles, order and entries without a value stay."""
    reader, writer = os.pipe()

    def child() -> int:
        os.dup2(writer, 1)
        environment = [b"B=1", b"A=2", b"B=3", b"ODD"]
        proc.execve(b"/bin/cat", [b"cat", b"/proc/self/environ"], environment)
        return 1

    assert run(child) == 0
    assert os.read(reader, 100) == b"B=1\0A=2\0B=3\0ODD\0"
    os.close(reader)
    os.close(writer)


def test_an_exec_of_a_descriptor_needs_no_path() -> None:
    """execveat(2) with an O_PATH descriptor."""

    def child() -> int:
        proc.execve_fd(os.open("/bin/true", os.O_PATH), [b"true"], [])
        return 1

    assert run(child) == 0


def test_errors_name_the_thing() -> None:
    """The exception has errno, the kernel's text and the name."""
    with pytest.raises(FileNotFoundError) as caught:
        libc.syscall("umount2", "/no/such", b"/no/such\0", 0)

    assert caught.value.filename == "/no/such"


def test_all_descriptors_but_the_wanted_are_closed() -> None:
    """Gaps between those to keep are closed too."""

    def child() -> int:
        keep = [os.dup2(0, number) for number in (20, 22, 40)]
        os.dup2(0, 21)
        fds.close_all_but(keep)
        left = {int(name) for name in os.listdir("/proc/self/fd")}
        # One is the directory that was just listed.
        return int(not {0, 1, 2, *keep} <= left <= {0, 1, 2, 3, *keep})

    assert run(child) == 0


def test_signals_are_as_after_boot() -> None:
    """Ignored and blocked ones are neither afterwards."""

    def child() -> int:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        proc.reset_signals()
        status = Path("/proc/self/status").read_text()
        fields = dict(line.split(":\t") for line in status.splitlines())
        return int(int(fields["SigIgn"], 16) or int(fields["SigBlk"], 16))

    assert run(child) == 0


def test_a_new_network_namespace_leaves_us_where_we_are() -> None:
    """It has lo up, can be pinned, entered and unpinned."""
    home = os.readlink("/proc/self/ns/net")
    fd = ns.new_netns()
    try:
        assert os.readlink("/proc/self/ns/net") == home
        assert ns.kind(fd) == const.CLONE_NEWNET
        with ns.entered(fd, "net"):
            assert os.readlink("/proc/self/ns/net") == f"net:[{os.fstat(fd).st_ino}]"
            flags = int(Path("/proc/self/net/dev").read_text().count("lo:"))
        assert flags == 1
        assert os.readlink("/proc/self/ns/net") == home
    finally:
        os.close(fd)


def test_a_pinned_namespace_outlives_its_descriptor(tmp_path: Path) -> None:
    """The file names it until it is unpinned, which can be done twice."""
    pinned = str(tmp_path / "ns")
    fd = ns.new_netns()
    inode = os.fstat(fd).st_ino
    ns.pin(fd, pinned)
    os.close(fd)
    try:
        assert os.stat(pinned).st_ino == inode
        with pytest.raises(FileExistsError):
            ns.pin(0, pinned)
    finally:
        ns.unpin(pinned)
    ns.unpin(pinned)

    assert not os.path.exists(pinned)


def test_what_cannot_be_pinned_leaves_no_file(tmp_path: Path) -> None:
    """The file made for the mount goes again."""
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        ns.pin(reader, str(tmp_path / "ns"))
    os.close(reader)
    os.close(writer)

    assert not list(tmp_path.iterdir())


def test_a_terminal_has_a_size() -> None:
    """Both ends tell the same, and what is no terminal has none."""
    master, peer = os.openpty()
    pty.set_size(master, 25, 90)

    assert pty.get_size(peer) == (25, 90)
    assert os.ttyname(peer).startswith("/dev/pts/")
    with pytest.raises(OSError, match="ioctl"):
        pty.get_size(os.open("/dev/null", os.O_RDONLY))
    os.close(master)
    os.close(peer)


def test_a_file_system_says_what_it_does_not_know() -> None:
    """The kernel's own words are in the error."""
    with pytest.raises(OSError, match="color") as caught:
        mount.new_filesystem("tmpfs", "t", ["color=red"])

    assert caught.value.filename == "tmpfs"


def test_a_mount_is_complete_before_it_is_seen(tmp_path: Path) -> None:
    """Options and attributes are on it when it is attached; detaching it is forgiving."""
    fd = mount.new_filesystem("tmpfs", "t", ["mode=711"], const.MOUNT_ATTR_NOEXEC)
    target = os.open(tmp_path, os.O_PATH)
    mount.attach(fd, target)
    try:
        line = next(
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if line.split()[4] == str(tmp_path)
        )
        assert "noexec" in line
        assert tmp_path.stat().st_mode & 0o777 == 0o711
    finally:
        os.close(fd)
        os.close(target)
        mount.unmount(str(tmp_path))
    mount.unmount(str(tmp_path))


def test_capabilities_are_read_and_given_up() -> None:
    """All three sets, and the bounding set until the kernel's last one."""

    def child() -> int:
        caps.drop_bounding(1 << 5)
        caps.set_(0, 1 << 5, 0)
        status = Path("/proc/self/status").read_text()
        fields = dict(line.split(":\t") for line in status.splitlines())
        bounding = int(fields["CapBnd"], 16) == 1 << 5
        return int(not (bounding and caps.get() == (0, 1 << 5, 0)))

    assert run(child) == 0


def test_a_limit_can_be_none() -> None:
    """2**64 - 1 is no limit, in the kernel's own numbers."""

    def child() -> int:
        proc.set_limit(4, 0, proc.RLIM_INFINITY)
        limits = Path("/proc/self/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max core"))
        return int(line.split()[4:6] != ["0", "unlimited"])

    assert run(child) == 0


def test_structures_have_their_sizes() -> None:
    """clone_args, open_how and mount_attr are arrays of 64-bit words on every machine."""
    assert struct.calcsize("=11Q") == 88
    assert struct.calcsize("=3Q") == 24
    assert struct.calcsize("=4Q") == 32
