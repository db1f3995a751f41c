"""apparmorProfile and selinuxLabel: applied where the kernel has the module, refused elsewhere."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs import process
from runtimes import Config, Runtime

Bundle = Callable[..., Path]
Sh = Callable[..., str]
Refusal = Callable[..., str]

PROFILE = "uxc-test"
RULES = f"""
profile {PROFILE} flags=(attach_disconnected) {{
  file,
  capability,
  mount,
  signal,
  deny /etc/passwd r,
}}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """Load a profile that forbids one file, for the length of a test."""
    place = tmp_path / "securityfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "securityfs", "none", str(place)], check=True)
    command = ["apparmor_parser", "--subdomainfs", f"{place}/apparmor", "--skip-cache"]
    try:
        subprocess.run([*command, "--replace"], input=RULES, text=True, check=True)
        yield PROFILE
        # The kernel's own file: the parser wants more to be mounted for it.
        (place / "apparmor/.remove").write_text(PROFILE)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.ours
@pytest.mark.skipif(Path("/sys/module/apparmor").exists(), reason="the kernel has AppArmor")
def test_a_profile_without_apparmor_is_an_error(refusal: Refusal) -> None:
    """A bundle that counts on a confinement is not run without it."""
    said = refusal(process(apparmorProfile=PROFILE))

    assert "config.json: process.apparmorProfile: AppArmor is not active in this kernel" in said


@pytest.mark.ours
@pytest.mark.skipif(Path("/sys/fs/selinux").exists(), reason="the kernel has SELinux")
def test_a_label_without_selinux_is_an_error(refusal: Refusal) -> None:
    """A bundle that counts on a confinement is not run without it."""
    said = refusal(process(selinuxLabel="system_u:system_r:container_t:s0"))

    assert "config.json: process.selinuxLabel: SELinux is not active in this kernel" in said


@pytest.mark.ours  # The others want a loaded policy as well.
@pytest.mark.needs("selinux")
def test_the_label_waits_for_the_program(runtime: Runtime, bundle: Bundle) -> None:
    """Before start, the process that will become the program is told to take the label then."""
    label = Path("/proc/self/attr/current").read_text().rstrip("\0\n")

    pid = runtime.created(bundle("true", edit=process(selinuxLabel=label)))

    assert Path(f"/proc/{pid}/attr/exec").read_text().rstrip("\0\n") == label


@pytest.mark.vm
@pytest.mark.needs("apparmor")
@pytest.mark.parametrize("user", [0, 1000])
def test_the_profile_confines_the_program(sh: Sh, profile: str, user: int) -> None:
    """The program runs under the profile, and what that denies is denied to root, too."""
    edit = process(apparmorProfile=profile, user={"uid": user, "gid": user})

    said = sh("cat /proc/self/attr/current /etc/group; cat /etc/passwd 2>&1 || true", edit=edit)

    assert said.startswith(f"{profile} (enforce)\n")
    assert "root:x:0" in said
    assert "Permission denied" in said


@pytest.mark.vm
@pytest.mark.needs("apparmor")
def test_the_profile_holds_without_new_privileges(sh: Sh, profile: str) -> None:
    """no_new_privs keeps nobody from being confined."""
    edit = process(apparmorProfile=profile, noNewPrivileges=True)

    assert sh("cat /proc/self/attr/current", edit=edit) == f"{profile} (enforce)\n"


@pytest.mark.ours
@pytest.mark.vm
@pytest.mark.needs("apparmor")
def test_a_profile_that_is_not_loaded_is_an_error(refusal: Refusal) -> None:
    """Its name is told."""
    said = refusal(process(apparmorProfile="uxc-nobody-loaded-this"))

    assert "the profile uxc-nobody-loaded-this is not loaded" in said


@pytest.mark.vm
@pytest.mark.needs("apparmor")
def test_a_container_cannot_catch_the_label(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    """What a bundle mounts at /proc does not get the write that is meant for the kernel."""

    def edit(config: Config) -> None:
        config["process"]["apparmorProfile"] = profile
        config["process"]["args"] = ["cat", "/real/self/attr/current"]
        config["mounts"] = [
            {"destination": "/real", "type": "proc", "source": "proc"},
            {"destination": "/proc", "type": "tmpfs", "source": "tmpfs"},
        ]

    done = runtime.run(bundle("true", edit=edit))

    # Refused as a whole, or confined: never run free.
    assert done.returncode or done.stdout == f"{profile} (enforce)\n"
