//! What a sandbox's first process does before it becomes its program: the list of system calls that builds the walls
//! from inside, in the order in which each is still permitted.
//!
//! The child is born in all its namespaces and in its cgroup, with every capability *over those namespaces* and none
//! over the host. By the last step it has three capabilities left (set user, set group, kill), can't regain others,
//! and is under the filter.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use libc::{
    MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_NPROC, SYS_chdir,
    SYS_close_range, SYS_ioctl, SYS_move_mount, SYS_sethostname, SYS_setsid, SYS_socket, SYS_unshare,
};
use seccompiler::BpfProgram;

use super::root;
use crate::privileges::{become_root_inside, drop_privileges};
use crate::program::{default_signals, die_with_parent, execute, leave_old_root, limit, mount, take_descriptors, text};
use crate::sandbox::{BootSpec, Limits};
use crate::sys::script::{Arg, Script};

/// All the namespaces a sandbox has for itself, but its cgroup's: that one is entered when it is in its cgroup.
pub(crate) const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWUSER) as u64;

const CAP_KILL: u64 = 5;
const CAP_SETGID: u64 = 6;
const CAP_SETUID: u64 = 7;
/// What the first process keeps: enough to start others under another user and to end them.
const KEPT_CAPABILITIES: [u64; 3] = [CAP_KILL, CAP_SETGID, CAP_SETUID];

/// What the host's kernel tells in `/proc` about more than the sandbox, or could be told through it. All of `/proc` is
/// read-only and belongs to a user that is not in the sandbox; this hides it as well.
const MASKED: [&str; 9] =
    ["kcore", "keys", "key-users", "kmsg", "kallsyms", "sched_debug", "sysrq-trigger", "timer_list", "kpagecount"];
/// Bytes of a page, for the number of files a tmpfs may hold.
const TMP_BYTES_PER_FILE: u64 = 4_096;
/// Files that even the smallest `/tmp` may hold.
const TMP_MIN_FILES: u64 = 1_024;
/// Locked memory of a process, bytes; counted as its memory anyhow.
const MEMLOCK_BYTES: u64 = 64 * 1024;

/// What the child is given.
pub(super) struct Entry<'a> {
    pub(super) spec: &'a BootSpec,
    /// Trees to attach, and where (absolute, inside); the program is one of them.
    pub(super) trees: Vec<(OwnedFd, &'a Path)>,
    pub(super) channel: OwnedFd,
    pub(super) null: OwnedFd,
    pub(super) shm_bytes: u64,
    pub(super) filters: &'a [BpfProgram],
    /// Whether the user and group 0 of the sandbox are to be taken on: they are others than the launcher's.
    pub(super) change_user: bool,
    /// Whether the number of processes is limited here, there being no control group that does it.
    pub(super) limit_processes: bool,
}

/// The script that ends in the program.
pub(super) fn script(entry: Entry<'_>) -> io::Result<Script> {
    let mut script = Script::default();
    let Entry { spec, trees, channel, null, shm_bytes, filters, change_user, limit_processes } = entry;
    if change_user {
        become_root_inside(&mut script);
    }
    script.step("unshare cgroup namespace", SYS_unshare, [flags(libc::CLONE_NEWCGROUP as u64)]);
    enter_root(&mut script, trees, &spec.limits, shm_bytes)?;
    bring_up_loopback(&mut script);
    let host_name = text("sandbox")?;
    script.step("sethostname", SYS_sethostname, [Arg::Text(host_name), Arg::Number("sandbox".len() as u64)]);
    set_resource_limits(&mut script);
    if limit_processes {
        limit(&mut script, "limit processes", u64::from(RLIMIT_NPROC), u64::from(spec.limits.max_processes));
    }
    take_descriptors(&mut script, channel, null);
    script.step("setsid", SYS_setsid, []);
    script.step("umask", libc::SYS_umask, [Arg::Number(0o022)]);
    default_signals(&mut script);
    die_with_parent(&mut script);
    drop_privileges(&mut script, &KEPT_CAPABILITIES, filters);
    execute(&mut script, root::INIT, spec)?;
    Ok(script)
}

fn enter_root(script: &mut Script, trees: Vec<(OwnedFd, &Path)>, limits: &Limits, shm_bytes: u64) -> io::Result<()> {
    // Mounts that came with a namespace of another owner are locked together and can't become a root; a copy can.
    mount(script, "bind the root", Some(root::TREE), root::TREE, None, MS_BIND | MS_REC, None)?;
    script.step("enter the root", SYS_chdir, [Arg::Text(text(root::TREE)?)]);
    // While the host's /proc is still in sight: the kernel gives a new one only to who can see one.
    let quiet = MS_NOSUID | MS_NODEV;
    mount(script, "mount /proc", Some("proc"), "proc", Some("proc"), quiet | MS_NOEXEC | MS_RDONLY, Some("hidepid=2"))?;
    let tmp = tmp_options(limits.tmp_bytes);
    mount(script, "mount /tmp", Some("tmpfs"), "tmp", Some("tmpfs"), quiet, Some(&tmp))?;
    let shm = tmp_options(shm_bytes);
    mount(script, "mount /dev/shm", Some("tmpfs"), "dev/shm", Some("tmpfs"), quiet | MS_NOEXEC, Some(&shm))?;
    for (tree, at) in trees {
        let name = format!("attach {}", at.display());
        let at = Arg::Text(text(at.strip_prefix("/").unwrap_or(at))?);
        let here = Arg::Number(libc::AT_FDCWD as u64);
        let args = [Arg::Fd(tree), Arg::Text(text("")?), here, at, flags(MOVE_MOUNT_F_EMPTY_PATH)];
        script.step(name, SYS_move_mount, args);
    }
    for name in MASKED.into_iter().filter(|name| root::proc_has(name)) {
        let hidden = format!("proc/{name}");
        mount(script, &format!("hide /proc/{name}"), Some("dev/null"), &hidden, None, MS_BIND, None)?;
    }
    leave_old_root(script)
}

/// `MOVE_MOUNT_F_EMPTY_PATH`: the tree is what the descriptor stands for.
const MOVE_MOUNT_F_EMPTY_PATH: u64 = 0x4;

/// Options of a bounded, world-writable file system in memory.
pub(super) fn tmp_options(bytes: u64) -> String {
    let files = (bytes / TMP_BYTES_PER_FILE).max(TMP_MIN_FILES);
    format!("size={bytes},nr_inodes={files},mode=1777")
}

fn bring_up_loopback(script: &mut Script) {
    // struct ifreq: sixteen bytes of name, then the flags.
    let up = (libc::IFF_UP | libc::IFF_RUNNING) as u64;
    let request = vec![u64::from_ne_bytes(*b"lo\0\0\0\0\0\0"), 0, up, 0, 0];
    let kind = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as u64;
    // A launcher of many sandboxes has more files open than a sandbox may: below that limit there is no number left until
    // one is given up, and 0 is given anew later.
    script.step("make room for a socket", SYS_close_range, [Arg::Number(0), Arg::Number(0), Arg::Number(0)]);
    script.step("socket", SYS_socket, [Arg::Number(libc::AF_INET as u64), Arg::Number(kind), Arg::Number(0)]);
    let args = [Arg::Previous, Arg::Number(libc::SIOCSIFFLAGS), Arg::Words(request)];
    script.step("bring up lo", SYS_ioctl, args);
}

fn set_resource_limits(script: &mut Script) {
    // Open files are limited from outside, where there may be a right to give more than we have.
    limit(script, "limit core files", u64::from(RLIMIT_CORE), 0);
    limit(script, "limit locked memory", u64::from(RLIMIT_MEMLOCK), MEMLOCK_BYTES);
}

fn flags(value: u64) -> Arg {
    Arg::Number(value)
}
