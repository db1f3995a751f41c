"""An attack on the interpreter of the host, done inside a container by that very interpreter."""

import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = Path("/usr/bin/python3").resolve()

# Run by whatever interpreter /proc/self/exe is, inside the container: tries to write to that file
# by every name it has, then to make its mount writable again.
ATTACK = """\
import ctypes, os, sys
exe = os.open('/proc/self/exe', os.O_PATH)
def attempt(what, call):
    try:
        call()
        print('BROKEN', what)
    except OSError as error:
        print('refused', what, error.errno)
attempt('write', lambda: os.open('/proc/self/exe', os.O_WRONLY))
attempt('write by fd', lambda: os.open(f'/proc/self/fd/{exe}', os.O_WRONLY))
attempt('truncate', lambda: os.truncate('/proc/self/exe', 0))
attempt('chmod', lambda: os.chmod('/proc/self/exe', 0o777))
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), '')
MOUNT_SETATTR, MS_REMOUNT_BIND = 442, 4096 | 32
clear = (ctypes.c_uint64 * 4)(0, 1, 0, 0)
attempt('mount_setattr', lambda: checked(
    libc.syscall(MOUNT_SETATTR, exe, b'', 0x1000, ctypes.byref(clear), 32)))
attempt('remount', lambda: checked(
    libc.mount(None, b'/proc/self/exe', None, MS_REMOUNT_BIND, None)))
if os.fork() == 0:
    os._exit(0)
os.wait()
print('done')
"""


def add_python(rootfs: Path) -> None:
    """Make the host's interpreter able to run inside: its libraries, not the program itself."""
    done = subprocess.run(["ldd", str(PYTHON)], capture_output=True, text=True, check=True)
    for word in done.stdout.split():
        if word.startswith("/"):
            target = rootfs / word[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, target)
    ffi = Path("/usr/lib/x86_64-linux-gnu/libffi.so.8")
    if ffi.exists():
        (rootfs / "usr/lib/x86_64-linux-gnu").mkdir(parents=True, exist_ok=True)
        shutil.copy(ffi, rootfs / "usr/lib/x86_64-linux-gnu")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    ignore = shutil.ignore_patterns("test", "__pycache__", "idlelib", "dist-packages", "config-*")
    shutil.copytree(f"/usr/lib/{version}", rootfs / "usr/lib" / version, ignore=ignore)
