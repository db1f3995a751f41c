"""What Podman can ask for when it makes a container, each seen from inside it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import IMAGE, Podman, Store, read_limit, until

pytestmark = pytest.mark.needs("podman")


def test_who_and_where(podman: Podman) -> None:
    """User, groups, directory, environment, host name and umask are as asked."""
    shown = podman.run(
        "--user=1000:1000",
        "--group-add=7",
        "--workdir=/tmp",
        "--env=A=b c",
        "--hostname=box",
        "--umask=027",
        "--",
        "sh",
        "-c",
        'id -u; id -G; pwd; echo "$A"; hostname; umask',
    )

    assert shown.split("\n") == ["1000", "1000 7", "/tmp", "b c", "box", "0027"]


@pytest.fixture
def subordinate_ids(tmp_path: Path) -> Iterator[None]:
    """Let the user "containers" have ids for `--userns=auto`."""
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("containers:200000:655360\n")
        Path("/etc", name).touch()
        subprocess.run(["mount", "--bind", str(tmp_path / name), f"/etc/{name}"], check=True)
    yield
    for name in ("subuid", "subgid"):
        subprocess.run(["umount", f"/etc/{name}"], check=True)


@pytest.mark.needs("user-namespaces")
@pytest.mark.usefixtures("subordinate_ids")
def test_a_user_namespace_of_podmans_choice(podman: Podman) -> None:
    """`--userns=auto` gives each container other ids of the host."""
    for name in ("c", "d"):
        podman.start("--userns=auto:size=1024", name=name)
    maps = [podman("exec", name, "cat", "/proc/self/uid_map").split() for name in ("c", "d")]

    assert [one[0] for one in maps] == ["0", "0"]
    assert [one[2] for one in maps] == ["1024", "1024"]
    assert maps[0][1] != maps[1][1]
    assert os.stat(f"/proc/{podman.pid()}").st_uid == int(maps[0][1])


@pytest.mark.vm
@pytest.mark.needs("user-namespaces")
def test_a_user_namespace_with_given_ids(podman: Podman, tmp_path: Path) -> None:
    """`--uidmap` maps as said; the image's files are the container's, a volume's the host's."""
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 100005, 100005)
    tmp_path.chmod(0o755)
    shown = podman.run(
        "--cap-add=SYS_ADMIN",
        "--security-opt=apparmor=unconfined",
        "--uidmap=0:100000:5000",
        "--gidmap=0:100000:5000",
        f"-v={tmp_path}:/data",
        "--",
        "sh",
        "-c",
        "stat -c %u:%g /bin/busybox /data/file /proc/1; "
        "cat /proc/self/uid_map; touch /tmp/new && chown 7 /tmp/new && id -u; "
        "mkdir /tmp/m && mount -t tmpfs m /tmp/m",
    )

    assert shown.split() == ["0:0", "5:5", "0:0", "0", "100000", "5000", "0"]


@pytest.mark.needs("user-namespaces")
def test_a_user_namespace_with_everything_else(podman: Podman) -> None:
    """Maps go together with a terminal, tmpfs, devices, sysctls, limits, and exec."""
    podman.start(
        "-t",
        "--uidmap=0:100000:5000",
        "--gidmap=0:100000:5000",
        "--tmpfs=/t",
        "--device=/dev/zero:/dev/nought",
        "--sysctl=net.ipv4.ip_default_ttl=7",
        "--memory=64m",
        "--read-only",
    )
    shown = podman(
        "exec",
        "c",
        "sh",
        "-c",
        "cat /proc/sys/net/ipv4/ip_default_ttl; head -c 2 /dev/nought | wc -c; "
        "touch /t/x && stat -c %u /t/x; touch /x 2>/dev/null || echo read-only; "
        "stat -c %u /dev/pts/0 /dev/console; id -u",
    )

    assert shown.split() == ["7", "2", "0", "read-only", "0", "0", "0"]


def test_a_read_only_root(podman: Podman) -> None:
    """Nothing can be written but what is a volume or a tmpfs."""
    shown = podman.run(
        "--read-only",
        "-v=/data",
        "--",
        "sh",
        "-c",
        "for d in / /bin /data /tmp /run /dev/shm; do"
        " touch $d/x 2>/dev/null && echo $d; done; true",
    )

    assert shown.split() == ["/data", "/tmp", "/run", "/dev/shm"]


def test_a_file_system_in_memory(podman: Podman) -> None:
    """`--tmpfs` has the options that were given."""
    shown = podman.run(
        "--tmpfs=/t:size=1m,mode=1770,noexec,ro", "--", "grep", " /t ", "/proc/mounts"
    )
    _, where, kind, options, *_ = shown.split()

    assert (where, kind) == ("/t", "tmpfs")
    assert {"ro", "noexec", "nosuid", "nodev", "size=1024k", "mode=1770"} <= set(options.split(","))


def test_volumes(podman: Podman, tmp_path: Path) -> None:
    """Folders of the host, named volumes with the image's files, and their options."""
    (tmp_path / "file").write_text("host's\n")
    shown = podman.run(
        f"-v={tmp_path}:/ro:ro,noexec",
        f"-v={tmp_path}/file:/etc/motd",
        "-v=v:/etc",
        "--mount=type=tmpfs,destination=/root,tmpfs-mode=700",
        "--",
        "sh",
        "-c",
        "cat /ro/file /etc/motd; touch /ro/x || echo denied; cp /bin/busybox /etc/; "
        "grep -c . /etc/passwd; grep -o ' /ro .*noexec' /proc/mounts | wc -l; "
        "stat -c %a /root",
    )

    assert shown.split("\n") == ["host's", "host's", "denied", "2", "1", "700"]
    assert podman.run("-v=v:/mnt", "--", "ls", "/mnt").split() == sorted(
        ["busybox", "group", "motd", "passwd", "resolv.conf", *_podmans_own(podman)]
    )


def _podmans_own(podman: Podman) -> list[str]:
    """Return the names that Podman mounts itself into /etc, where a mount leaves an empty file."""
    shown = podman.run("--", "ls", "/etc").split()
    return [name for name in shown if name not in ("group", "passwd", "resolv.conf")]


def test_propagation_into_a_container(podman: Podman, tmp_path: Path) -> None:
    """What the host mounts later appears in a volume that is a slave."""
    subprocess.run(["mount", "-t", "tmpfs", "shared", str(tmp_path)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(tmp_path)], check=True)
        (tmp_path / "later").mkdir()
        podman.start(f"-v={tmp_path}:/data:rslave")
        subprocess.run(["mount", "-t", "tmpfs", "late", f"{tmp_path}/later"], check=True)
        assert "late" in podman("exec", "c", "grep", "/data/later", "/proc/mounts")
    finally:
        podman("rm", "--force", "--time", "0", "c")
        subprocess.run(["umount", "--recursive", str(tmp_path)], check=True)


def test_a_device(podman: Podman) -> None:
    """`--device` brings a node and the right to use it in the way given; others cannot be made."""
    shown = podman.run(
        "--device=/dev/fuse:/dev/fused:r",
        "--cap-add=MKNOD",
        "--",
        "sh",
        "-c",
        "(: </dev/fused) && echo readable; (: >/dev/fused) 2>/dev/null || "
        "echo unwritable; mknod /tmp/m b 8 0 2>/dev/null; (: </tmp/m) "
        "2>/dev/null || echo no disk",
    )

    assert shown.split("\n") == ["readable", "unwritable", "no disk"]


def test_kernel_settings(podman: Podman) -> None:
    """`--sysctl` sets what belongs to a namespace of the container; the rest is refused."""
    shown = podman.run(
        "--sysctl=net.ipv4.ip_default_ttl=42",
        "--sysctl=kernel.msgmax=4096",
        "--",
        "sh",
        "-c",
        "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax",
    )

    assert shown.split() == ["42", "4096"]
    podman.run("--sysctl=vm.swappiness=1", code=125)


def test_limits_of_processes(podman: Podman) -> None:
    """`--ulimit` sets soft and hard limits."""
    shown = podman.run(
        "--ulimit=nofile=100:200",
        "--ulimit=core=0",
        "--ulimit=nproc=500",
        "--",
        "sh",
        "-c",
        "ulimit -Sn; ulimit -Hn; ulimit -c; "
        "sed -n 's/Max processes *\\([0-9]*\\) .*/\\1/p' /proc/1/limits",
    )

    assert shown.split() == ["100", "200", "0", "500"]


def test_capabilities(podman: Podman) -> None:
    """They can be dropped and added; a user has none of them, but what is given as ambient."""
    show = ("--", "sh", "-c", "sed -n 's/^Cap...:.//p' /proc/self/status")
    none, chown = "0" * 16, f"{1:016x}"
    assert podman.run("--cap-drop=ALL", *show).split() == [none] * 5
    assert podman.run("--cap-drop=ALL", "--cap-add=CHOWN", *show).split() == [
        none,
        chown,
        chown,
        chown,
        none,
    ]
    assert podman.run("--user=1000", *show).split()[1:3] == [none, none]
    shown = podman.run("--user=1000", "--cap-add=CHOWN", *show).split()

    assert shown[1] == shown[2] == shown[4] == chown


def test_a_privileged_container(podman: Podman) -> None:
    """It has the host's devices and capabilities, and may mount."""
    shown = podman.run(
        "--privileged",
        "--",
        "sh",
        "-c",
        "mount -t tmpfs t /mnt 2>/dev/null || mount -t tmpfs t /tmp; "
        "ls /dev/mem /dev/kmsg /dev/loop-control 2>/dev/null | wc -l; "
        "grep Seccomp: /proc/self/status; "
        "echo 7 >/proc/sys/net/ipv4/ip_default_ttl && echo set",
    )

    assert shown.split("\n")[1:] == ["Seccomp:\t0", "set"]
    assert int(shown.split("\n")[0]) > 0


def test_privileges_are_not_gained(podman: Podman) -> None:
    """`no-new-privileges` reaches the kernel."""
    shown = podman.run(
        "--security-opt=no-new-privileges", "--", "grep", "NoNewPrivs", "/proc/self/status"
    )

    assert shown.split() == ["NoNewPrivs:", "1"]


def test_what_is_hidden(podman: Podman) -> None:
    """Files can be masked and unmasked."""
    read = (
        "--",
        "sh",
        "-c",
        "cat /proc/version; ls /sys/firmware | wc -l; wc -c </proc/timer_list",
    )
    assert podman.run("--security-opt=mask=/proc/version", *read).split() == ["0", "0"]
    shown = podman.run("--security-opt=unmask=/proc/timer_list", *read)

    assert shown.startswith("Linux version")
    assert int(shown.split()[-1]) > 0


@pytest.mark.vm
@pytest.mark.needs("limits")
def test_resources(podman: Podman) -> None:
    """Memory, processors, shares and processes are limited as asked."""
    podman.start(
        "--memory=64m",
        "--memory-swap=64m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--cpu-shares=256",
        "--cpuset-cpus=0",
        "--pids-limit=20",
    )

    pid = podman.pid()
    assert read_limit(pid, "memory") == 64 << 20
    assert read_limit(pid, "reservation") == 32 << 20
    assert read_limit(pid, "quota") == 50000
    # v2 has weights; runtimes differ in how they make one of shares.
    assert read_limit(pid, "shares") in (256, 10, 35)
    assert read_limit(pid, "cpus") == 0
    assert read_limit(pid, "pids") == 20


@pytest.mark.vm
def test_too_many_processes(podman: Podman) -> None:
    """The limit of processes holds."""
    done = podman.call(
        "run",
        "--rm",
        "--pids-limit=6",
        IMAGE,
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done; wait",
    )

    assert "fork" in done.stderr


@pytest.mark.vm
@pytest.mark.needs("limits")
def test_too_much_memory(podman: Podman) -> None:
    """What uses more than its memory is killed; the container's other processes are not."""
    limits = ("--memory=16m", "--memory-swap=16m")

    podman.run(*limits, "--", "tail", "/dev/zero", code=137)
    assert podman.run(*limits, "--", "sh", "-c", "tail /dev/zero; echo $?").endswith("137")


def test_namespaces_of_the_host(podman: Podman) -> None:
    """Each can be the host's."""
    for kind, name in {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts"}.items():
        inside = podman.run(f"--{kind}=host", "--", "readlink", f"/proc/self/ns/{name}")
        assert inside == os.readlink(f"/proc/self/ns/{name}")
    for kind in ("pid", "ipc", "uts", "mnt", "net"):
        inside = podman.run("--", "readlink", f"/proc/self/ns/{kind}")
        assert inside != os.readlink(f"/proc/self/ns/{kind}")


def test_the_cgroup_tree(podman: Podman) -> None:
    """With a cgroup namespace the container sees its own cgroup as the root."""
    shown = podman.run("--cgroupns=private", "--", "cat", "/proc/self/cgroup")

    assert {line.rpartition(":")[2] for line in shown.split("\n")} == {"/"}


def test_the_score_for_want_of_memory(podman: Podman) -> None:
    """`--oom-score-adj` is set."""
    assert podman.run("--oom-score-adj=321", "--", "cat", "/proc/self/oom_score_adj") == "321"


def test_an_init_process(podman: Podman) -> None:
    """With `--init` the first process reaps the children of others and passes signals on."""
    podman.start("--init", "--", "sh", "-c", "(sleep 0.1 &) ; exec sleep 1000")
    assert podman("exec", "c", "cat", "/proc/1/comm") == "podman-init"
    until(lambda: podman("exec", "c", "ps", "-o", "comm").count("sleep") == 1, "it was reaped")
    podman("kill", "--signal=TERM", "c")

    assert podman("wait", "c") == "143"


def test_a_root_file_system_without_an_image(podman: Podman, store: Store) -> None:
    """`--rootfs` runs what a directory holds, in an overlay of it."""
    assert podman("run", "--rm", "--rootfs", f"{store.rootfs}:O", "echo", "hi") == "hi"


def test_systemds_wishes(podman: Podman) -> None:
    """`--systemd=always` gives the container what an init system wants to find."""
    shown = podman.run(
        "--systemd=always",
        "--",
        "sh",
        "-c",
        "grep -cE ' (/run|/tmp|/var/log/journal) tmpfs' /proc/mounts; "
        "echo $container; test -d /sys/fs/cgroup/systemd && echo cgroup",
    )

    assert shown.split() == ["3", "podman", "cgroup"]
