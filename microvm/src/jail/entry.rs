//! What a sandbox's first process does before it becomes its program: the list of system calls that builds the walls
//! from inside, in the order in which each is still permitted.
//!
//! The child is born in all its namespaces and in its cgroup, with every capability *over those namespaces* and none
//! over the host. By the last step it has three capabilities left (set user, set group, kill), can't regain others,
//! and is under the filter.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use libc::{
    MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_NPROC,
    SYS_chdir, SYS_ioctl, SYS_mount, SYS_move_mount, SYS_pivot_root, SYS_seccomp, SYS_setgroups, SYS_sethostname,
    SYS_setresgid, SYS_setresuid, SYS_setsid, SYS_socket, SYS_umount2, SYS_unshare,
};
use seccompiler::{BpfProgram, sock_filter};

use super::root;
use crate::program::{default_signals, die_with_parent, execute, limit, prctl, take_descriptors, text};
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
/// One bit for each capability in the kernel's structure.
const MAX_CAPABILITIES: u64 = 64;
/// `CAP_CHECKPOINT_RESTORE`, the last as of Linux 6.18; for hosts that hide the number.
const LAST_KNOWN_CAPABILITY: u64 = 40;
const CAPABILITY_VERSION_3: u64 = 0x2008_0522;

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
    drop_privileges(&mut script, filters);
    execute(&mut script, root::INIT, spec)?;
    Ok(script)
}

/// Changing the user also forgets who asked to be told of the parent's death: that is asked for later.
fn become_root_inside(script: &mut Script) {
    let zero = || Arg::Number(0);
    script.step("setgroups", SYS_setgroups, [zero(), zero()]);
    script.step("setresgid", SYS_setresgid, [zero(), zero(), zero()]);
    script.step("setresuid", SYS_setresuid, [zero(), zero(), zero()]);
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
    script.step("pivot_root", SYS_pivot_root, [Arg::Text(text(".")?), Arg::Text(text(".")?)]);
    script.step("leave the old root", SYS_umount2, [Arg::Text(text(".")?), flags(MNT_DETACH as u64)]);
    script.step("chdir /", SYS_chdir, [Arg::Text(text("/")?)]);
    Ok(())
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
    script.step("socket", SYS_socket, [Arg::Number(libc::AF_INET as u64), Arg::Number(kind), Arg::Number(0)]);
    let args = [Arg::Previous, Arg::Number(libc::SIOCSIFFLAGS), Arg::Words(request)];
    script.step("bring up lo", SYS_ioctl, args);
}

fn set_resource_limits(script: &mut Script) {
    // Open files are limited from outside, where there may be a right to give more than we have.
    limit(script, "limit core files", u64::from(RLIMIT_CORE), 0);
    limit(script, "limit locked memory", u64::from(RLIMIT_MEMLOCK), MEMLOCK_BYTES);
}

fn drop_privileges(script: &mut Script, filters: &[BpfProgram]) {
    let last = last_capability();
    for capability in (0..=last).filter(|capability| !KEPT_CAPABILITIES.contains(capability)) {
        prctl(script, "drop a capability for good", libc::PR_CAPBSET_DROP, [capability, 0]);
    }
    prctl(script, "clear ambient capabilities", libc::PR_CAP_AMBIENT, [libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0]);
    prctl(script, "no new privileges", libc::PR_SET_NO_NEW_PRIVS, [1, 0]);
    let kept = KEPT_CAPABILITIES.iter().fold(0_u64, |set, capability| set | 1 << capability);
    // struct __user_cap_data_struct [2]: effective, permitted, inheritable; all three kept ones are in the low word.
    let header = Arg::Words(vec![CAPABILITY_VERSION_3]);
    let data = Arg::Words(vec![kept | kept << 32, 0, 0]);
    script.step("drop capabilities", libc::SYS_capset, [header, data]);
    for filter in filters {
        install_filter(script, filter);
    }
}

fn install_filter(script: &mut Script, filter: &BpfProgram) {
    let words = filter.iter().map(as_word).collect::<Vec<u64>>();
    // struct sock_fprog: a 16-bit count, then a pointer. The pointer is to memory of the script.
    let pointer = script.keep(words);
    let program = Arg::Words(vec![filter.len() as u64, pointer]);
    let mode = Arg::Number(u64::from(libc::SECCOMP_SET_MODE_FILTER));
    script.step("seccomp", SYS_seccomp, [mode, Arg::Number(0), program]);
}

/// One instruction as it lies in memory.
fn as_word(instruction: &sock_filter) -> u64 {
    let [code_low, code_high] = instruction.code.to_ne_bytes();
    let [a, b, c, d] = instruction.k.to_ne_bytes();
    u64::from_ne_bytes([code_low, code_high, instruction.jt, instruction.jf, a, b, c, d])
}

fn mount(
    script: &mut Script,
    name: &str,
    source: Option<impl AsRef<OsStr>>,
    target: impl AsRef<OsStr>,
    kind: Option<&str>,
    mount_flags: u64,
    options: Option<&str>,
) -> io::Result<()> {
    let pointer = |value: Option<CString>| value.map_or(Arg::Number(0), Arg::Text);
    let args = [
        pointer(source.map(|source| text(source.as_ref())).transpose()?),
        Arg::Text(text(target.as_ref())?),
        pointer(kind.map(text).transpose()?),
        flags(mount_flags),
        pointer(options.map(text).transpose()?),
    ];
    script.step(name, SYS_mount, args);
    Ok(())
}

/// The highest capability of this kernel.
fn last_capability() -> u64 {
    let known = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    known.ok().and_then(|number| number.trim().parse().ok()).unwrap_or(LAST_KNOWN_CAPABILITY).min(MAX_CAPABILITIES - 1)
}

fn flags(value: u64) -> Arg {
    Arg::Number(value)
}
