"""From inside a function, none of this works."""

import socket

import pytest

import bundles
from conftest import enforced, invoke

pytestmark = pytest.mark.jail

PROBE = bundles.python(
    r"""
import ctypes, glob, os, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, call):
    try:
        return call()
    except Exception as error:
        return f"refused: {type(error).__name__}: {error}"

def check(result):
    if result == -1: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"WORKED: {result}"

def processes():
    return [open(f"/proc/{p}/cmdline", "rb").read().replace(b"\0", b" ").decode() for p in os.listdir("/proc") if p.isdigit()]

def writable():
    found = []
    for top, dirs, _ in os.walk("/"):
        dirs[:] = [d for d in dirs if os.path.join(top, d) not in ("/proc", "/sys", "/tmp", "/usr")]
        probe = os.path.join(top, ".probe")
        try:
            open(probe, "w").close(); os.unlink(probe); found.append(top)
        except OSError: pass
    return found

def connect(host, port):
    with socket.create_connection((host, port), timeout=2): return "WORKED: connected"

def handler(event, context):
    do = event["do"]
    if do == "read": return attempt(do, lambda: "WORKED: " + open(event["path"]).read()[:100])
    if do == "connect": return attempt(do, lambda: connect(event["host"], event["port"]))
    if do == "write": return attempt(do, lambda: f"WORKED: {open(event['path'], 'w').write('x')}")
    if do == "processes": return processes()
    if do == "writable": return writable()
    if do in ("identity", "identity-of-child"):
        cat = lambda: subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True).stdout
        lines = (cat() if do == "identity-of-child" else open("/proc/self/status").read()).splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        return {k: status[k].strip() for k in ("Uid", "Gid", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")}
    if do == "interfaces": return [name for _, name in socket.if_nameindex()]
    if do == "home": return sorted(os.listdir("/"))
    if do == "shim": return attempt(do, lambda: check(libc.ptrace(16, 1, 0, 0)))
    if do == "shim-fds": return attempt(do, lambda: "WORKED: " + str(os.listdir("/proc/1/fd")))
    if do == "shim-memory": return attempt(do, lambda: "WORKED: " + str(open("/proc/1/mem", "rb").read(1)))
    if do == "kill-shim": return attempt(do, lambda: os.kill(1, 9) or "WORKED")
    calls = {
        "mount": lambda: check(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
        "umount": lambda: check(libc.umount2(b"/proc", 2)),
        "unshare-user": lambda: check(libc.unshare(0x10000000)),
        "unshare-mount": lambda: check(libc.unshare(0x00020000)),
        "setuid": lambda: check(libc.setuid(0 if os.getuid() else 1)),
        "chroot": lambda: check(libc.chroot(b"/tmp")),
        "init-module": lambda: check(libc.syscall(175, None, 0, None)),
        "bpf": lambda: check(libc.syscall(321, 0, None, 0)),
        "perf": lambda: check(libc.syscall(298, None, 0, -1, -1, 0)),
        "keyctl": lambda: check(libc.syscall(250, 0, 0)),
        "io-uring": lambda: check(libc.syscall(425, 1, None)),
        "userfaultfd": lambda: check(libc.syscall(323, 0)),
        "raw-socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and "WORKED",
        "packet-socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) and "WORKED",
        "mknod": lambda: os.mknod("/tmp/disk", 0o660 | 0o060000, os.makedev(8, 0)) or "WORKED",
        "sethostname": lambda: socket.sethostname("evil") or "WORKED",
        "reboot": lambda: check(libc.reboot(0)),
        "swapon": lambda: check(libc.swapon(b"/tmp/x", 0)),
        "settime": lambda: __import__("time").clock_settime(0, 0.0) or "WORKED",
        "nice": lambda: check(libc.setpriority(0, 0, -20)),
        "sysctl": lambda: open("/proc/sys/kernel/hostname", "w").write("evil") and "WORKED",
        "sysrq": lambda: open("/proc/sysrq-trigger", "w").write("b") and "WORKED",
        "setns": lambda: check(libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0)),
        "open-by-handle": lambda: check(libc.syscall(304, -100, b"\0" * 64, 0)),
    }
    if do == "all": return {name: attempt(name, call) for name, call in calls.items()}
"""
)


@pytest.fixture(scope="module")
def probe(shared):
    from conftest import Deployer

    deployer = Deployer(shared.client())
    yield deployer(PROBE, Timeout=60, MemorySize=512)
    deployer.clean()


@pytest.fixture
def ask(client, probe):
    def asked(do, **more):
        got, answer = invoke(client, probe, {"do": do, **more})
        assert "FunctionError" not in answer, got
        return got

    return asked


def test_forbidden_system_calls(ask):
    worked = {name: result for name, result in ask("all").items() if not str(result).startswith("refused")}
    assert worked == {}


@pytest.mark.parametrize("do", ["identity", "identity-of-child"])
def test_unprivileged_identity(ask, do):
    identity = ask(do)
    # A user without subordinate ids has but one to give, which is called 0 inside; it is as powerless as any other.
    ids = ("993", "990") if enforced("users of its own for each sandbox") else ("0", "0")
    assert (set(identity["Uid"].split()), set(identity["Gid"].split())) == ({ids[0]}, {ids[1]})
    assert {int(identity[k], 16) for k in ("CapPrm", "CapEff", "CapAmb")} == {0}
    assert identity["NoNewPrivs"] == "1" and identity["Seccomp"] == "2"


def test_own_processes_only(ask):
    seen = ask("processes")
    assert len(seen) <= 3, seen
    assert not [command for command in seen if "hearth up" in command or "pytest" in command]


@pytest.mark.parametrize("do", ["shim", "shim-fds", "shim-memory", "kill-shim"])
def test_the_shim_is_out_of_reach(ask, do):
    result = ask(do)
    # A signal from inside the PID namespace to its init is dropped by the kernel: the call returns, nothing dies.
    assert str(result).startswith("refused") or do == "kill-shim", result
    assert ask("home")


def test_host_files_are_not_there(shared, ask):
    secret = shared.directory / "secret.txt"
    secret.write_text("host secret")
    for path in (secret, shared.credentials, "/root/.bashrc", "/etc/shadow", "/proc/kcore", f"/proc/1/root{secret}", f"/var/task/../..{secret}"):
        assert ask("read", path=str(path)).startswith("refused"), path
    assert set(ask("home")) <= {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr", "var", "opt", "sys", "run", "home", "root", "mnt"}


def test_only_tmp_is_writable(ask):
    assert set(ask("writable")) <= {"/dev/shm", "/tmp"}
    for path in ("/var/task/x", "/usr/x", "/etc/passwd", "/x", "/var/runtime/x"):
        assert ask("write", path=path).startswith("refused"), path
    assert ask("write", path="/tmp/x").startswith("WORKED")


def test_no_network_beyond_loopback(shared, ask):
    assert ask("interfaces") == ["lo"]
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "192.0.2.1", "10.0.0.1"):
            assert ask("connect", host=host, port=port).startswith("refused"), host
    assert ask("connect", host="127.0.0.1", port=shared.port).startswith("refused")


def test_another_function_is_not_there(client, deploy, ask):
    listening = bundles.python(
        "import socket\nserver = socket.create_server(('127.0.0.1', 8088))\nopen('/tmp/mine', 'w').write('mine')\ndef handler(e, c): return 'listening'\n"
    )
    name = deploy(listening)
    assert invoke(client, name, {})[0] == "listening"
    assert ask("connect", host="127.0.0.1", port=8088).startswith("refused")
    assert ask("read", path="/tmp/mine").startswith("refused")
    assert not [command for command in ask("processes") if "8088" in command]
