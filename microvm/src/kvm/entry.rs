//! What a `hearth-vmm` process does before it becomes its program: the list of system calls that builds its jail from
//! inside. Beside the sandboxes of [`crate::jail`] it has less of everything: an empty root, no capability, and no
//! file but those it is sent.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use libc::{
    MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NPROC,
    SYS_chdir, SYS_dup2, SYS_execveat, SYS_sethostname, SYS_setsid, SYS_unshare,
};
use rustix::mount::{MountFlags, MountPropagationFlags, mount as mount_now, mount_change};
use rustix::thread::UnshareFlags;
use seccompiler::BpfProgram;

use crate::privileges::{become_root_inside, drop_privileges};
use crate::program::{default_signals, die_with_parent, leave_old_root, limit, mount, take_descriptors, text};
use crate::sys;
use crate::sys::script::{Arg, Script};
use crate::sys::spawn::out_of_the_way;

/// Threads of one process at most: its own, a vCPU's each, and what a library may start for a moment.
pub(super) const THREADS_MAX: u32 = 12;
/// Open files at most: descriptors it is sent, KVM's, events.
pub(super) const OPEN_FILES_MAX: u64 = 128;
/// What it may write of any file, bytes: the state of a snapshot, a console's output. Memory that is a file is mapped
/// and no matter of this.
pub(super) const FILE_MAX_BYTES: u64 = 64 << 20;
/// Its name among processes.
const NAME: &str = "hearth-vmm";
/// The empty root, seen from the working directory of the thread that starts processes.
const EMPTY: &str = "empty";

/// What the child is given.
pub(super) struct Entry<'a> {
    /// The static program.
    pub(super) program: &'a OwnedFd,
    /// Its end of the control socket, which becomes descriptor 3.
    pub(super) control: OwnedFd,
    /// Where its last words go.
    pub(super) words: OwnedFd,
    pub(super) filter: &'a BpfProgram,
    /// Whether the user and group 0 of its namespace are to be taken on: they are others than the launcher's.
    pub(super) change_user: bool,
    /// Whether the number of threads is limited here, there being no control group that does it.
    pub(super) limit_threads: bool,
}

/// Prepares the empty root below `directory`, for children of the calling thread, which gets a mount namespace and a
/// working directory of its own.
pub(super) fn prepare_root(directory: &Path) -> io::Result<()> {
    sys::identity::unshare(UnshareFlags::FS | UnshareFlags::NEWNS)?;
    // Mounts made here stay here; what the host mounts later is not held on to.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // The directory may lie where only the launcher's user may look, and the child is somebody else by then: it gets
    // there without a walk along the host's paths.
    mount_now("tmpfs", directory, "tmpfs", flags, Some(c"size=4k,nr_inodes=4,mode=755"))?;
    mount_change(directory, MountPropagationFlags::PRIVATE)?;
    rustix::process::chdir(directory)?;
    std::fs::create_dir(EMPTY)?;
    mount_now("tmpfs", EMPTY, "tmpfs", flags | MountFlags::RDONLY, Some(c"size=4k,nr_inodes=1,mode=555"))?;
    Ok(mount_change(EMPTY, MountPropagationFlags::PRIVATE)?)
}

/// The script that ends in the program.
pub(super) fn script(entry: Entry<'_>) -> io::Result<Script> {
    let Entry { program, control, words, filter, change_user, limit_threads } = entry;
    let mut script = Script::default();
    if change_user {
        become_root_inside(&mut script);
    }
    script.step("unshare cgroup namespace", SYS_unshare, [Arg::Number(libc::CLONE_NEWCGROUP as u64)]);
    enter_root(&mut script)?;
    let host_name = [Arg::Text(text("vmm")?), Arg::Number("vmm".len() as u64)];
    script.step("sethostname", SYS_sethostname, host_name);
    limit(&mut script, "limit core files", u64::from(RLIMIT_CORE), 0);
    limit(&mut script, "limit locked memory", u64::from(RLIMIT_MEMLOCK), 0);
    limit(&mut script, "limit file size", u64::from(RLIMIT_FSIZE), FILE_MAX_BYTES);
    if limit_threads {
        limit(&mut script, "limit threads", u64::from(RLIMIT_NPROC), u64::from(THREADS_MAX));
    }
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    take_descriptors(&mut script, control, out_of_the_way(null)?);
    script.step("words as 2", SYS_dup2, [Arg::Fd(words), Arg::Number(2)]);
    script.step("setsid", SYS_setsid, []);
    default_signals(&mut script);
    die_with_parent(&mut script);
    drop_privileges(&mut script, &[], std::slice::from_ref(filter));
    execute(&mut script, program)?;
    Ok(script)
}

fn enter_root(script: &mut Script) -> io::Result<()> {
    let flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    // Mounts that came with a namespace of another owner are locked together and can't become a root; a copy can.
    mount(script, "bind the root", Some(EMPTY), EMPTY, None, MS_BIND | flags, None)?;
    script.step("enter the root", SYS_chdir, [Arg::Text(text(EMPTY)?)]);
    leave_old_root(script)
}

/// By descriptor: there is no path to the program from where the child is.
fn execute(script: &mut Script, program: &OwnedFd) -> io::Result<()> {
    let number = Arg::Number(program.as_fd().as_raw_fd() as u64);
    let args = [
        number,
        Arg::Text(CString::default()),
        Arg::Texts(vec![text(NAME)?]),
        Arg::Texts(Vec::new()),
        Arg::Number(libc::AT_EMPTY_PATH as u64),
    ];
    script.step("execute hearth-vmm", SYS_execveat, args);
    Ok(())
}
