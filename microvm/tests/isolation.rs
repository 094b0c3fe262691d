//! The walls of a jail, tried from inside: as its first process (which has the most rights there) and as the user
//! that function code runs as. Needs root (as an ordinary user: `rootless.rs`).

#[path = "support/agent.rs"]
mod agent;
#[path = "support/host.rs"]
mod host;

use std::time::Duration;

use agent::{Agent, Host, launcher, spec};
use serde_json::json;

const EPERM: i64 = libc::EPERM as i64;
const EROFS: i64 = libc::EROFS as i64;
const EACCES: i64 = libc::EACCES as i64;
const ENOENT: i64 = libc::ENOENT as i64;
const ENOSYS: i64 = libc::ENOSYS as i64;

/// Takes on the user of function code, without a capability.
const BECOME_USER: &str = "os.setgroups([]); os.setresgid(990, 990, 990); os.setresuid(993, 993, 993)";
/// Raw system calls from Python.
const CTYPES: &str = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    args = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    if libc.syscall(ctypes.c_long(number), *args) < 0:
        raise OSError(ctypes.get_errno(), 'refused')";

/// One agent as the first process and one as the unprivileged user.
async fn both(host: &Host, name: &str) -> [Agent; 2] {
    let mut first = Agent::boot(&**host, spec(&format!("{name}-root"))).await;
    let mut user = Agent::boot(&**host, spec(&format!("{name}-user"))).await;
    user.ask(BECOME_USER).await;
    for agent in [&mut first, &mut user] {
        agent.ask(CTYPES).await;
    }
    [first, user]
}

/// A system call by its number, which must answer with this error.
async fn refuses(agent: &mut Agent, what: &str, number: i64, args: &str, errno: i64) {
    let got = agent.refused(&format!("call({number}, {args})")).await;
    assert_eq!(got, errno, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_of_the_host_is_seen() {
    let Some(host) = launcher() else { return };
    let [mut first, mut user] = both(&host, "seen").await;
    let processes = "answer = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())";
    assert_eq!(first.ask(processes).await, json!([1]));
    assert_eq!(user.ask(processes).await, json!([1]));
    let own = std::process::id();
    assert_eq!(user.refused(&format!("os.kill({own}, 0)")).await, i64::from(libc::ESRCH));
    assert_eq!(first.ask("answer = open('/proc/self/cgroup').read().count('hearth')").await, json!(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_of_the_host_is_seen_or_changed() {
    let Some(host) = launcher() else { return };
    let secret = host.directory.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    for mut agent in both(&host, "files").await {
        assert_eq!(agent.refused(&format!("open({secret:?})")).await, ENOENT);
        let names = agent.ask("answer = sorted(os.listdir('/'))").await;
        let expected =
            ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "tmp", "usr", "var"];
        let unexpected = |name: &serde_json::Value| !expected.contains(&name.as_str().unwrap());
        assert!(!names.as_array().unwrap().iter().any(unexpected), "{names}");
        assert_eq!(
            agent
                .ask("answer = sorted(os.listdir('/etc') + os.listdir('/var') + os.listdir('/run'))")
                .await
                .as_array()
                .unwrap()
                .iter()
                .filter(|name| ["shadow", "docker.sock", "log", "lib"].contains(&name.as_str().unwrap()))
                .count(),
            0
        );
        for place in ["/", "/usr", "/etc", "/var/task", "/var", "/run", "/dev", "/proc", "/opt", "/run/hearth"] {
            let errno = agent.refused(&format!("open('{place}/new', 'w')")).await;
            assert!([EROFS, EACCES, ENOENT].contains(&errno), "{place}: {errno}");
        }
        agent.ask("open('/tmp/new', 'w').close(); open('/dev/shm/new', 'w').close()").await;
        // Not even to root's own files by another way: through the descriptor of the program, or /proc.
        for path in ["/proc/1/exe", "/proc/self/exe", "/run/hearth/init"] {
            let errno = agent.refused(&format!("open('{path}', 'r+b')")).await;
            assert!([EROFS, EACCES, libc::ETXTBSY.into()].contains(&errno), "{path}: {errno}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_writable_mount_but_the_bounded_ones_and_nothing_set_user_id() {
    let Some(host) = launcher() else { return };
    let mut agent = Agent::boot(&*host, spec("mounts")).await;
    let mounts = agent.ask("answer = open('/proc/self/mountinfo').read()").await;
    for line in mounts.as_str().unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (at, options) = (fields[4], fields[5]);
        assert!(options.contains("nosuid"), "{line}");
        let writable = options.split(',').any(|option| option == "rw");
        assert_eq!(writable, ["/tmp", "/dev/shm"].contains(&at), "{line}");
        let device = at.starts_with("/dev/") && at != "/dev/shm" || at.starts_with("/proc/");
        assert!(device || options.contains("nodev"), "{line}");
        // No path of the host is told.
        assert!(!line.contains(host.directory.path().to_str().unwrap()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_descriptor_of_the_host_is_open() {
    let Some(host) = launcher() else { return };
    let mut agent = Agent::boot(&*host, spec("descriptors")).await;
    let code = "answer = {name: os.readlink('/proc/self/fd/' + name).split(':')[0] for name in os.listdir('/proc/self/fd') \
                if os.path.exists('/proc/self/fd/' + name) or int(name) < 4}";
    let open = agent.ask(code).await;
    assert_eq!(open, json!({"0": "/dev/null", "1": "/dev/null", "2": "/dev/null", "3": "socket"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn privileges_are_gone_for_good() {
    let Some(host) = launcher() else { return };
    let [mut first, mut user] = both(&host, "privileges").await;
    let status = "answer = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if line[:3] in ('Cap', 'NoN', 'Sec'))";
    let root = first.ask(status).await;
    let kept = "00000000000000e0";
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(root[set], json!(kept), "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(root[set], json!("0000000000000000"), "{set}");
    }
    let user = user.ask(status).await;
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(user[set], json!("0000000000000000"), "{set}");
    }
    for process in [root, user] {
        assert_eq!((&process["NoNewPrivs"], &process["Seccomp"]), (&json!("1"), &json!("2")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dangerous_system_calls_are_refused() {
    let Some(host) = launcher() else { return };
    for mut agent in both(&host, "calls").await {
        let agent = &mut agent;
        refuses(agent, "mount", libc::SYS_mount, "b'none', b'/tmp', b'tmpfs', 0, 0", EPERM).await;
        refuses(agent, "umount", libc::SYS_umount2, "b'/proc', 2", EPERM).await;
        refuses(agent, "bind", libc::SYS_mount, "b'/tmp', b'/usr', 0, 4096, 0", EPERM).await;
        refuses(agent, "open_tree", libc::SYS_open_tree, "-100, b'/', 1", EPERM).await;
        refuses(agent, "fsopen", libc::SYS_fsopen, "b'tmpfs', 0", EPERM).await;
        refuses(agent, "pivot_root", libc::SYS_pivot_root, "b'/', b'/tmp'", EPERM).await;
        refuses(agent, "chroot", libc::SYS_chroot, "b'/tmp'", EPERM).await;
        refuses(agent, "ptrace", libc::SYS_ptrace, "0, 0, 0, 0", EPERM).await;
        refuses(agent, "init_module", libc::SYS_init_module, "b'', 0, b''", EPERM).await;
        refuses(agent, "finit_module", libc::SYS_finit_module, "0, b'', 0", EPERM).await;
        refuses(agent, "kexec", libc::SYS_kexec_load, "0, 0, 0, 0", EPERM).await;
        refuses(agent, "bpf", libc::SYS_bpf, "0, 0, 0", EPERM).await;
        refuses(agent, "perf", libc::SYS_perf_event_open, "0, 0, 0, 0, 0", EPERM).await;
        refuses(agent, "keyctl", libc::SYS_keyctl, "0, 0", EPERM).await;
        refuses(agent, "add_key", libc::SYS_add_key, "b'user', b'a', b'b', 1, -3", EPERM).await;
        refuses(agent, "userfaultfd", libc::SYS_userfaultfd, "1", EPERM).await;
        refuses(agent, "io_uring", libc::SYS_io_uring_setup, "8, 0", EPERM).await;
        refuses(agent, "open_by_handle_at", libc::SYS_open_by_handle_at, "-100, 0, 0", EPERM).await;
        refuses(agent, "unshare", libc::SYS_unshare, "0x10000000", EPERM).await;
        refuses(agent, "setns", libc::SYS_setns, "0, 0", EPERM).await;
        refuses(agent, "clone in a user namespace", libc::SYS_clone, "0x10000011, 0, 0, 0, 0", EPERM).await;
        refuses(agent, "clone3, so that libc takes clone", libc::SYS_clone3, "0, 0", ENOSYS).await;
        refuses(agent, "reboot", libc::SYS_reboot, "0, 0, 0, 0", EPERM).await;
        refuses(agent, "syslog", libc::SYS_syslog, "3, 0, 0", EPERM).await;
        refuses(agent, "set the clock", libc::SYS_clock_settime, "0, 0", EPERM).await;
        refuses(agent, "process_vm_readv", libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0", EPERM).await;
        assert_eq!(agent.refused("os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))").await, EPERM);
        agent.ask("os.mkfifo('/tmp/fifo')").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_network_but_loopback() {
    let Some(host) = launcher() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for mut agent in both(&host, "network").await {
        assert_eq!(agent.ask("answer = [name for _, name in socket.if_nameindex()]").await, json!(["lo"]));
        // Loopback is its own: what listens on the host's is not there.
        let refused = agent.refused(&format!("socket.create_connection(('127.0.0.1', {port}), 5)")).await;
        assert_eq!(refused, i64::from(libc::ECONNREFUSED));
        let unreachable = agent.refused("socket.create_connection(('192.0.2.1', 80), 5)").await;
        assert_eq!(unreachable, i64::from(libc::ENETUNREACH));
        assert_eq!(agent.refused("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)").await, EPERM);
        assert_eq!(agent.refused("socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)").await, EPERM);
        assert_eq!(agent.refused("socket.socket(40, socket.SOCK_STREAM, 0)").await, EPERM);
        // Abstract sockets belong to the network namespace: the host's are not there.
        agent.ask("socket.socket(socket.AF_UNIX)").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_kernel_tells_is_hidden() {
    let Some(host) = launcher() else { return };
    for mut agent in both(&host, "proc").await {
        for name in ["sys/kernel/core_pattern", "sys/vm/drop_caches", "self/oom_score_adj", "self/uid_map"] {
            let errno = agent.refused(&format!("open('/proc/{name}', 'w').write('1')")).await;
            assert!([EROFS, EACCES, EPERM, ENOENT].contains(&errno), "{name}: {errno}");
        }
        for name in ["kcore", "kmsg", "keys", "timer_list"] {
            let read = agent.tell(&format!("answer = len(open('/proc/{name}', 'rb').read(100))")).await;
            assert!(read["ok"] == json!(0) || read["error"].is_string(), "{name}: {read}");
        }
        // Hidden behind /dev/null, or not there.
        let hidden =
            "os.path.exists('/proc/sysrq-trigger') and os.stat('/proc/sysrq-trigger').st_rdev != os.makedev(1, 3)";
        assert_eq!(agent.ask(&format!("answer = {hidden}")).await, json!(false));
        for escape in ["/proc/1/root/home", "/proc/1/cwd/home", "/sys", "/proc/self/root/root", "/../../home"] {
            assert_eq!(agent.refused(&format!("os.stat('{escape}')")).await, ENOENT, "{escape}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_beyond_the_limit_kills_inside_only_and_is_told() {
    let Some(host) = launcher() else { return };
    let mut hungry = Agent::boot(&*host, spec("hungry")).await;
    let mut other = Agent::boot(&*host, spec("other")).await;
    hungry.leave("held = bytearray(400 << 20)").await;
    let ended = hungry.sandbox.ended().await;
    assert!(ended.out_of_memory, "{ended:?}");
    assert_eq!(ended.signal, Some(libc::SIGKILL));
    assert!(hungry.sandbox.kill().await.unwrap().out_of_memory);
    assert_eq!(other.ask("answer = 1").await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_beyond_the_memory_limit_is_counted() {
    let Some(host) = launcher() else { return };
    let mut agent = Agent::boot(&*host, spec("parent")).await;
    let code = "
child = os.fork()
if child == 0:
    held = bytearray(400 << 20)
    os._exit(0)
answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])";
    assert_eq!(agent.ask(code).await, json!(-9));
    let usage = agent.sandbox.usage().unwrap();
    assert!(usage.oom_kills >= 1 && usage.memory_peak_bytes > 100 << 20, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_tmp_are_bounded_by_its_size_and_by_memory() {
    let Some(host) = launcher() else { return };
    for mut agent in both(&host, "full").await {
        let fill = "file = open('/tmp/full', 'wb', 0)\nfor _ in range(64): file.write(bytes(1 << 20))";
        assert_eq!(agent.refused(fill).await, i64::from(libc::ENOSPC));
        let many = "for index in range(100000): open(f'/tmp/{index}', 'w').close()";
        assert_eq!(agent.refused(many).await, i64::from(libc::ENOSPC));
        assert_eq!(agent.ask("answer = 1").await, json!(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_and_files_are_bounded() {
    let Some(host) = launcher() else { return };
    for mut agent in both(&host, "bomb").await {
        let code = "
import time
count, pids = 0, []
try:
    while True:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        pids.append(child)
except OSError as error:
    answer = [len(pids), error.errno]";
        let answer = agent.ask(code).await;
        assert!(answer[0].as_u64().unwrap() < 64, "{answer}");
        assert_eq!(answer[1], json!(libc::EAGAIN));
        let files = "held = [open('/dev/null') for _ in range(1000)]";
        assert_eq!(agent.refused(files).await, i64::from(libc::EMFILE));
        let raised = agent.tell("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))").await;
        assert_eq!(raised["text"], json!("not allowed to raise maximum limit"));
        agent.sandbox.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_fork_bomb_ends_with_its_sandbox() {
    let Some(host) = launcher() else { return };
    let mut agent = Agent::boot(&*host, spec("real-bomb")).await;
    let code = "
while True:
    try: os.fork()
    except OSError: pass";
    agent.leave(code).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = std::time::Instant::now();
    agent.sandbox.kill().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sandboxes_do_not_see_each_other() {
    let Some(host) = launcher() else { return };
    let mut one = Agent::boot(&*host, spec("one")).await;
    let mut two = Agent::boot(&*host, spec("two")).await;
    one.ask("open('/tmp/mine', 'w').write('x'); listener = socket.socket(socket.AF_UNIX); listener.bind('\\0mine'); listener.listen()").await;
    one.ask("tcp = socket.socket(); tcp.bind(('127.0.0.1', 9001)); tcp.listen()").await;
    assert_eq!(two.refused("open('/tmp/mine')").await, ENOENT);
    assert_eq!(two.refused("socket.socket(socket.AF_UNIX).connect('\\0mine')").await, i64::from(libc::ECONNREFUSED));
    assert_eq!(two.refused("socket.create_connection(('127.0.0.1', 9001), 5)").await, i64::from(libc::ECONNREFUSED));
    // Also on the host their users are not the same.
    let map = "answer = open('/proc/self/uid_map').read().split()";
    let (one, two) = (one.ask(map).await, two.ask(map).await);
    assert_eq!((&one[0], &one[2]), (&json!("0"), &json!("65536")));
    assert!(one[1] != two[1] && one[1].as_str().unwrap().parse::<u32>().unwrap() >= 2_000_000, "{one} {two}");
}
