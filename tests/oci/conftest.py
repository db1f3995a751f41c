"""Tests of a runtime by its command line alone; ``OCI_RUNTIME`` names another one than ours.

That the same tests pass on runc and crun shows that they test the specification, not our habits.
What only ours promises is marked ``ours``.
"""

import ctypes
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rootfs import busybox
from runtimes import NAME, RUNTIME, Config, ConsoleSocket, Failed, Runtime

PR_SET_CHILD_SUBREAPER = 36


# Where the versions of Debian 12 (runc 1.1.5, crun 1.8.1) answer otherwise, and how. A name
# without brackets stands for all of its parameters.
WORDS = "fails as it should, in other words"
LATE = "lets the process fail by itself: 1, and 0 when detached"
DIFFERENT = {
    "runc": {
        "test_a_limit_reaches_the_kernel[shares]": "stretches shares in another way (crun 1.20)",
        "test_a_limit_reaches_the_kernel[burst]": "is older than cpu.burst",
        "test_a_limit_reaches_the_kernel[huge pages reserved]": "limits only those in use",
        "test_a_limit_that_cannot_be_is_an_error[swap below memory]": WORDS,
        "test_a_limit_that_cannot_be_is_an_error[swap without memory]": WORDS,
        "test_a_limit_that_cannot_be_is_an_error[a burst above the quota]":
            "is older than cpu.burst",
        "test_a_limit_of_no_process_lets_the_first_one_be": "takes 0 for none",
        "test_a_limit_reaches_the_kernel[idle]": "is older than cpu.idle",
        "test_a_container_manages_the_cgroups_it_was_given": "delegates only what systemd made",
        "test_only_what_is_safe_changes_its_owner": "delegates only what systemd made",
        "test_an_executed_process_is_in_the_user_namespace[maps2-7]": "must have a root inside",
        "test_a_joined_user_namespace_is_joined_by_exec_too": "wants mappings of one that exists",
        "test_the_umask_is_that_of_the_object": "knows no umask for exec",
        "test_a_program_that_cannot_be_run_is_an_error[False-/bad-exec format error]": LATE,
        "test_a_program_that_cannot_be_run_is_an_error[True-/bad-exec format error]": LATE,
        "test_a_program_that_cannot_be_run_is_an_error[False-/script-no such file or directory]":
            LATE,
        "test_a_program_that_cannot_be_run_is_an_error[True-/script-no such file or directory]":
            LATE,
        "test_sockets_of_the_caller_are_passed_on": "tells an executed program nothing of them",
        "test_the_order_of_all_hooks": "runs poststart hooks in create",
        "test_the_status_that_a_hook_is_told[prestart-created]": "says creating",
        "test_the_status_that_a_hook_is_told[poststart-running]": "runs them in create",
        "test_run_runs_all_hooks": "runs poststart hooks in create",
        "test_the_v1_list_begins_with_the_rules_of_the_bundle": "lists the default devices first",
        "test_a_container_need_not_have_a_root": "wants a root in the container",
        "test_maps_have_as_many_ranges_as_the_kernel_takes": "does not join neighbours",
        "test_a_user_namespace_is_joined": "wants maps for a joined one, too",
        "test_the_pid_namespace_of_a_pod_is_joined": "wants maps for a joined one, too",
        "test_a_namespace_of_the_host_is_joined_from_a_new_user_namespace": "mounts no sysfs then",
        "test_a_root_that_only_the_host_can_reach": "needs a way to the root",
        "test_a_listed_default_device_is_no_clash": "its own device rules keep it from its node",
        "test_propagation_of_the_root[rshared-shared:]": "leaves the root private",
        "test_the_program_finds_the_socket": "waits until the ended program was reaped, too",
        "test_delete_removes_the_socket": "waits until the ended program was reaped, too",
        "test_the_personality_is_set[LINUX32-i686]": "is older than linux.personality",
        "test_hooks_of_one_list_run_in_its_order": "does not wait for startContainer hooks",
        "test_a_failing_hook_stops_the_container[startContainer]":
            "does not wait for startContainer hooks",
        "test_a_failing_hook_stops_the_container[poststart]": "runs poststart hooks in create",
        "test_a_hook_that_takes_too_long_stops_the_container[poststart]":
            "runs poststart hooks in create",
        "test_a_failing_poststop_hook_is_a_warning": "leaves out the hooks after it",
        "test_a_tmpfs_has_the_mode_of_what_it_covers": "lets the directory's mode win",
        "test_a_bundle_that_its_root_cannot_reach_works": "needs a way to the bundle",
        "test_devices_are_there_in_a_user_namespace": "binds the host's, and finds no fifo there",
        "test_sysfs_of_the_host_serves_where_none_can_be_mounted": "fails",
        "test_cgroups_can_be_mounted_in_a_user_namespace[False]": "leaves them writable",
    },
    "crun": {
        "test_a_limit_reaches_the_kernel[shares]": "stretches shares in another way (crun 1.20)",
        "test_a_limit_reaches_the_kernel[burst]": "is older than cpu.burst",
        "test_a_limit_reaches_the_kernel[huge pages reserved]": "limits only those in use",
        "test_a_limit_that_cannot_be_is_an_error[swap below memory]": WORDS,
        "test_a_limit_that_cannot_be_is_an_error[swap without memory]": WORDS,
        "test_a_limit_that_cannot_be_is_an_error[a burst above the quota]":
            "is older than cpu.burst",
        "test_a_limit_of_no_process_lets_the_first_one_be": "takes 0 for none",
        "test_a_limit_that_cannot_be_is_an_error[a period beyond a second]": WORDS,
        "test_a_limit_that_cannot_be_is_an_error[a device that is not there]": WORDS,
        "test_what_changes_nothing_is_taken": "refuses an empty network",
        "test_only_what_is_safe_changes_its_owner[1000]": "delegates to root, whoever runs there",
        "test_a_cgroup_is_not_given_away_for_nothing": "delegates to whoever has a user namespace",
        "test_what_a_container_without_limits_uses_is_counted": "has no events",
        "test_an_executed_process_is_in_the_user_namespace": "sets no groups, and ids of its own",
        "test_an_executed_process_gets_a_terminal_of_its_user": "leaves it to root",
        "test_options_vary_the_containers_process": "leaves the limits of the caller",
        "test_groups_can_be_added": "has no such option",
        "test_variables_can_be_added": "then forgets those of the container",
        "test_a_variable_is_replaced": "then forgets those of the container",
        "test_a_user_is_numbers": "reads numbers in part, or answers 1",
        "test_a_capability_can_be_added": "then forgets those of the container",
        "test_a_program_that_cannot_be_run_is_an_error": WORDS,
        "test_a_command_is_needed": WORDS,
        "test_an_unknown_container_is_said_to_be": WORDS,
        "test_a_stopped_container_is_refused": WORDS,
        "test_a_paused_container_is_refused": WORDS,
        "test_a_pid_file_that_cannot_be_written_is_an_error": "leaves the process running",
        "test_a_detached_terminal_needs_a_console_socket": WORDS,
        "test_a_console_socket_that_nobody_listens_at_is_an_error": "answers 1",
        "test_sockets_of_the_caller_are_passed_on": "tells an executed program nothing of them",
        "test_a_caller_may_ignore_the_end_of_children": "waits for ever",
        "test_the_order_of_all_hooks": "start does not wait for startContainer hooks",
        "test_run_runs_all_hooks": "start does not wait for startContainer hooks",
        "test_the_status_that_a_hook_is_told[createRuntime-creating]": "says created",
        "test_the_status_that_a_hook_is_told[createContainer-creating]": "says created",
        "test_the_status_that_a_hook_is_told[startContainer-created]": "says starting",
        "test_maps_have_as_many_ranges_as_the_kernel_takes": "does not join neighbours",
        "test_a_root_that_only_the_host_can_reach": "needs a way to the root",
        "test_a_bind_keeps_the_flags_of_its_source": "clears them, as mount(8) does",
        "test_symbolic_links_are_not_followed_with_nosymfollow": "does not know the option",
        "test_a_tmpfs_has_the_mode_of_what_it_covers": "leaves it to the kernel, which says 1777",
        "test_a_bundle_that_its_root_cannot_reach_works": "needs a way to the bundle",
        "test_devices_are_there_in_a_user_namespace": "shows the default ones as nobody's",
        "test_sysfs_of_the_host_serves_where_none_can_be_mounted": "leaves it writable",
        "test_mounts_of_a_user_namespace_do_not_reach_the_host": "lets them reach the host",
        "test_cgroups_can_be_mounted_in_a_user_namespace[False]": "leaves them writable",
        "test_a_missing_source_is_refused": WORDS,
        "test_a_link_at_a_mounts_place_stays_inside": "follows no dangling link",
        "test_proc_and_sys_must_not_be_links": WORDS,
        "test_proc_cannot_be_mounted_over": "lets a bundle mount over procfs",
        "test_propagation_of_the_root[rslave-master:]": "makes the copy private first",
        "test_a_new_file_is_no_more_than_a_file": "makes directories for everybody (1755)",
        "test_the_cgroups_can_be_mounted": "shows a file system that can be written to",
        "test_the_state_is_what_clients_read": "shows root.path as it is in config.json",
        "test_signals_have_names_and_numbers[sigterm]": "knows capitals only",
        "test_start_is_for_created_containers": WORDS,
        "test_delete_wants_a_stopped_container": WORDS,
        "test_an_unknown_container_is_an_error": WORDS,
        "test_a_signal_for_a_stopped_container_is_an_error": WORDS,
        "test_an_id_is_taken_once": WORDS,
        "test_list_names_all_containers": "its table has other columns",
        "test_errors_go_to_the_log_too": WORDS,
        "test_a_program_that_cannot_be_run_fails_the_create[/etc-permission denied|is a directory]":
            WORDS,
        "test_a_console_socket_needs_a_terminal": "ignores the socket",
        "test_the_session_keyring_is_new": "names it otherwise",
        "test_the_state_is_on_stdin[createContainer]": "tells no pid, and / for the bundle",
        "test_the_state_is_on_stdin[startContainer]": "tells no pid, and / for the bundle",
        "test_hooks_of_one_list_run_in_its_order": "does not wait for startContainer hooks",
        "test_a_failing_hook_fails_the_create[prestart]": "fails with another exit code",
        "test_a_failing_hook_fails_the_create[createRuntime]": "fails with another exit code",
        "test_a_hook_that_is_missing_fails_the_create[prestart]": "fails with another exit code",
        "test_a_hook_that_is_missing_fails_the_create[createRuntime]":
            "fails with another exit code",
        "test_a_failing_hook_stops_the_container": "succeeds in spite of it",
        "test_pause_and_resume_want_the_other_state": "answers 0 whatever the state is",
        "test_commands_want_a_container_that_exists": WORDS,
        "test_ps_shows_the_lines_about_the_container": "its table has pids only",
        "test_ps_of_a_stopped_container_is_empty": "crashes",
        "test_statistics_are_what_the_shim_decodes": "has no events",
        "test_events_come_at_intervals_until_the_end": "has no events",
        "test_a_kill_for_want_of_memory_is_an_event": "has no events",
        "test_features_are_json": "has no features before 1.9",
        "test_the_first_config_of_a_user_has_a_user_namespace": "writes no mappings",
        "test_the_program_finds_the_socket": "puts the socket at the supervisor's own path",
    },
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of this tier."""
    config.addinivalue_line("markers", "ours: only our runtime promises this")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, for other runtimes, what only ours promises and what they do otherwise."""
    different = DIFFERENT.get(NAME, {})
    for item in items:
        if NAME != "uxc-runtime" and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason=f"{NAME} does not promise this"))
        reason = different.get(item.name) or different.get(item.name.partition("[")[0])
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"{NAME} {reason}"))


@pytest.fixture(scope="module", autouse=True)
def _runtime_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give our runtime a prefix, and crun a machine without the v2 tree, which it refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prefix = tmp_path_factory.mktemp("prefix")
    os.environ["UXC_PREFIX"] = str(prefix)
    hidden = Path("/sys/fs/cgroup/unified")
    if NAME == "crun" and hidden.is_dir():
        subprocess.run(["mount", "-t", "tmpfs", "none", str(hidden)], check=True)
    # The first create prepares the interpreter's mount, which stays; it is no leftover of a test.
    empty = prefix / "empty"
    empty.mkdir()
    subprocess.run(
        [RUNTIME, "--root", str(prefix / "root"), "create", "--bundle", str(empty), "none"],
        capture_output=True,
        check=False,
    )
    yield
    subprocess.run(["umount", f"{prefix}/var/run/uxc/interp/python3"], check=False)
    if NAME == "crun" and hidden.is_dir():
        subprocess.run(["umount", str(hidden)], check=True)
    del os.environ["UXC_PREFIX"]
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """Return the runtime under test; its containers are deleted after the test."""
    made = Runtime(tmp_path)
    yield made
    made.tidy()


@pytest.fixture(scope="session")
def _rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox.make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture
def bundle(tmp_path: Path, _rootfs: Path) -> Callable[..., Path]:
    """Return a function that makes a bundle: its program's words, and a change of its config."""

    def make(*args: str, edit: Callable[[Config], object] | None = None, name: str = "b") -> Path:
        directory = tmp_path / name
        directory.mkdir()
        # Links to one busybox: a root of its own for every test, at no cost.
        shutil.copytree(_rootfs, directory / "rootfs", symlinks=True, copy_function=os.link)
        config = busybox.make_config(*args)
        if edit is not None:
            edit(config)
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    return make


@pytest.fixture
def sh(runtime: Runtime, bundle: Callable[..., Path]) -> Callable[..., str]:
    """Return a function that runs a shell script in a container and returns what it printed."""

    def run(script: str, edit: Callable[[Config], object] | None = None) -> str:
        done = runtime.run(bundle("sh", "-c", script, edit=edit))
        if done.returncode:
            raise Failed(f"{done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    return run


@pytest.fixture
def refusal(runtime: Runtime, bundle: Callable[..., Path]) -> Callable[..., str]:
    """Return a function that creates what must be refused and returns what was said."""

    def refuse(edit: Callable[[Config], object], *args: str) -> str:
        directory = bundle(*(args or ("true",)), edit=edit)
        done = runtime.create(directory)
        assert done.returncode == 1
        assert not list(runtime.root.glob("*")), "a failed create left its state"
        assert not runtime.pid_file("c").exists()
        return runtime.output()

    return refuse


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleSocket]:
    """Return a console socket."""
    made = ConsoleSocket(tmp_path / "console")
    yield made
    made.close()


@pytest.fixture
def running(runtime: Runtime, bundle: Callable[..., Path]) -> Callable[..., int]:
    """Return a function that starts a container, ``c``, and returns its first process's pid."""

    def start(
        edit: Callable[[Config], object] | None = None,
        *words: str,
        options: tuple[str, ...] = (),
        name: str = "b",
    ) -> int:
        def changed(config: Config) -> None:
            # Other sessions of these tests may run containers of the same name.
            config["linux"]["cgroupsPath"] = f"/exec-{uuid.uuid4().hex[:12]}"
            if edit is not None:
                edit(config)

        where = bundle(*(words or ("sleep", "1000")), edit=changed, name=name)
        pid = runtime.created(where, "c", *options)
        runtime.ok("start", "c")
        return pid

    return start


@pytest.fixture
def process_file(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a process.json and returns its path."""

    def write(*args: str, **values: Any) -> str:
        document = {
            "args": list(args),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            **values,
        }
        path = tmp_path / "process.json"
        path.write_text(json.dumps(document))
        return str(path)

    return write
