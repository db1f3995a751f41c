"""A program that looks into every process it sees, done inside a container that waits for ours."""

# Looks at every process that appears in its /proc, by every name that leads into it. What it says
# is BROKEN was the runtime's or the host's; a program that was executed may be looked at.
SPY = """\
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, WALL = 0x4206, 0x40000000
place, admin = sys.argv[1], len(sys.argv) > 2
def look(pid, name):
    try:
        return os.readlink(f'/proc/{pid}/{name}')
    except PermissionError:
        denied.add(comm(pid))
    except OSError:
        pass
    return ''
def comm(pid):
    try:
        return open(f'/proc/{pid}/comm').read().strip()
    except OSError:
        return ''
def read(pid, name):
    try:
        return open(f'/proc/{pid}/{name}', 'rb').read()
    except OSError:
        return b''
denied, allowed, broken, lines = set(), set(), set(), set()
print('ready', flush=True)
while not os.path.exists('/stop'):
    try:
        os.waitpid(-1, os.WNOHANG | WALL)
    except OSError:
        pass
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        # What is open stays that process's, also when it executes something in between.
        if not admin and b'python' in read(pid, 'maps'):
            broken.add('maps')
        if b'of-the-host' in read(pid, 'environ'):
            broken.add('environ')
        exe = look(pid, 'exe')
        if exe:
            allowed.add(exe)
        try:
            exe = os.open(f'/proc/{pid}/exe', os.O_PATH)
            if 'python' in os.readlink(f'/proc/self/fd/{exe}'):
                broken.add('exe')
            os.close(exe)
        except OSError:
            pass
        for name in ('root', 'cwd'):
            if os.path.exists(f'/proc/{pid}/{name}{place}'):
                broken.add(name)
        try:
            for fd in os.listdir(f'/proc/{pid}/fd'):
                to = look(pid, f'fd/{fd}')
                if to and not to.startswith(('pipe:', '/dev/null', '/dev/pts/', 'socket:[')):
                    broken.add(f'fd {fd} {to}')
                if os.path.exists(f'/proc/{pid}/fd/{fd}{place}'):
                    broken.add(f'fd {fd}')
        except OSError:
            pass
        lines.add(read(pid, 'cmdline').replace(b'\\0', b' ').decode(errors='replace'))
        if libc.ptrace(SEIZE, int(pid), 0, 0) == 0 and 'python' in look(pid, 'exe'):
            broken.add('ptrace')
for what in sorted(broken):
    print('BROKEN', what)
print('denied', *sorted(denied))
print('allowed', *sorted(allowed))
for line in sorted(lines):
    print('line', line)
print('done', flush=True)
"""
