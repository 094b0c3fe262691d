"""What Hearth might leave on a machine."""

import os
import subprocess
from pathlib import Path


def processes(roots):
    """Process ids of all descendants of `roots`: sandboxes are children of their worker."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, open_ = set(), list(roots)
    while open_:
        for child in children.get(open_.pop(), []):
            found.add(child)
            open_.append(child)
    return found


def alive(pids):
    """Those of `pids` that still run; a zombie does not."""
    running = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            running.add(pid)
    return running


def cgroups(pids):
    """Control groups that the hearth processes `pids` made: their names begin with the process id."""
    out = subprocess.run(["find", "/sys/fs/cgroup", "-type", "d", "-path", "*/hearth-*"], capture_output=True, text=True)
    own = tuple(f"/hearth-{pid}-" for pid in pids)
    return [path for path in out.stdout.split() if any(name in path for name in own)]


def mounts(directory):
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
