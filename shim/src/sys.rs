//! Where the shim talks to the kernel in ways the type system can't vouch for: descriptors it inherited, what happens
//! between fork and exec, signals to everybody.
#![expect(unsafe_code, reason = "fork and exec, inherited descriptors and kill(-1) have no safe interface")]

pub(crate) mod guest;
pub(crate) mod identity;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::config::User;

/// First descriptor after standard input, output and error.
const FIRST_OTHER_FD: libc::c_uint = 3;

/// Makes the kernel kill user code before anything else in the sandbox when memory runs out (proc(5), oom_score_adj).
const OOM_SCORE_ADJ: &[u8] = b"1000";

/// Takes over a descriptor that this process was started with, and hides it from programs it executes.
///
/// Call it once for each descriptor, before any other is opened.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is only looked at, and only here; if it is not open the kernel says EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: the call above proved it open. It was handed to this process to own (the launcher's contract), and main
    // calls this before it opens anything, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What user code gets besides its command.
#[derive(Debug, Clone, Copy, Default)]
pub struct Confinement<'a> {
    /// Who it runs as; unchanged if absent.
    pub user: Option<User>,
    /// The one descriptor, besides standard input, output and error, that it keeps.
    pub kept: Option<&'a OwnedFd>,
    /// The list of members of a control group (v2) that it is to be in from its start.
    pub cgroup: Option<&'a OwnedFd>,
    /// Open files that it may have; as this process if absent.
    pub open_files: Option<u64>,
}

/// Starts `command` as user code: own session, the given user without supplementary groups, no capabilities, no way to
/// regain any, and of all descriptors only standard input, output, error and the one that is kept.
///
/// A program given with a path is executed as it is: what is no program is an error (`ENOEXEC`), where execvp(3) would
/// feed it to a shell.
pub fn spawn_confined(mut command: Command, confinement: Confinement<'_>) -> io::Result<Child> {
    let confinement = Confined {
        user: confinement.user,
        groups_may_change: groups_may_change(),
        kept: confinement.kept.map(AsRawFd::as_raw_fd),
        cgroup: confinement.cgroup.map(AsRawFd::as_raw_fd),
        open_files: confinement.open_files,
    };
    let image = Image::of(&command)?;
    let confine = move || {
        confine(&confinement)?;
        if image.has_path { Err(image.execute()) } else { Ok(()) }
    };
    // SAFETY: this process has one thread, so no lock can be held by another at the fork and the child may do whatever
    // the parent might. It is needed because the order matters: descriptors, then user, then privileges, and std offers
    // neither groups, capabilities nor no_new_privs.
    unsafe { command.pre_exec(confine) };
    command.spawn()
}

/// What execve(2) takes, ready before the fork.
struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    has_path: bool,
}

impl Image {
    fn of(command: &Command) -> io::Result<Self> {
        let program = CString::new(command.get_program().as_bytes())?;
        let has_path = program.as_bytes().contains(&b'/');
        let mut arguments = vec![program.clone()];
        for argument in command.get_args() {
            arguments.push(CString::new(argument.as_bytes())?);
        }
        let mut environment = Vec::new();
        for (name, value) in command.get_envs() {
            let variable = [name.as_bytes(), b"=", value.unwrap_or_default().as_bytes()].concat();
            environment.push(CString::new(variable)?);
        }
        Ok(Self { program, arguments, environment, has_path })
    }

    /// Returns only if it can't be executed.
    fn execute(&self) -> io::Error {
        let pointers =
            |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // SAFETY: both lists end with a null pointer, and they and their texts live until the call returns, if it does.
        // std offers execvp(3) only.
        unsafe { libc::execve(self.program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// [`Confinement`], ready for the child.
struct Confined {
    user: Option<User>,
    groups_may_change: bool,
    kept: Option<RawFd>,
    cgroup: Option<RawFd>,
    open_files: Option<u64>,
}

/// Runs in the child between fork and exec.
fn confine(confined: &Confined) -> io::Result<()> {
    let Confined { user, groups_may_change, kept, cgroup, open_files } = *confined;
    rustix::process::setsid()?;
    prefer_as_oom_victim();
    if let Some(fd) = cgroup {
        // SAFETY: the parent holds the descriptor open over the fork, and the child has a copy until it executes.
        rustix::io::write(unsafe { BorrowedFd::borrow_raw(fd) }, b"0")?;
    }
    if let Some(most) = open_files {
        let most = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(Resource::Nofile, most)?;
    }
    close_all_on_exec()?;
    if let Some(fd) = kept {
        // SAFETY: the parent holds the descriptor open over the fork, and the flag of the child's copy is its own.
        rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::empty())?;
    }
    if let Some(User { uid, gid }) = user {
        if groups_may_change {
            rustix::thread::set_thread_groups(&[])?;
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none)?;
    Ok(())
}

fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: marks descriptors of this process; closes none, touches no memory. rustix and libc have no wrapper.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER_FD, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match done {
        0 => Ok(()),
        _ => close_each_on_exec(),
    }
}

/// For kernels before 5.11, which can't do it at once. Descriptors above the limit can't exist.
fn close_each_on_exec() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u16::MAX));
    for fd in FIRST_OTHER_FD as RawFd..RawFd::try_from(limit).unwrap_or(RawFd::MAX) {
        // SAFETY: a descriptor that is not open answers EBADF; one that is open is only marked.
        let _ = rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Where /proc is missing or read-only, as in a jail, the kernel takes the largest process, which the shim is not.
/// In a microVM the shim itself has the least of scores; this replaces it.
fn prefer_as_oom_victim() {
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = file.and_then(|file| rustix::io::write(file, OOM_SCORE_ADJ));
}

/// A user namespace made by an ordinary user forbids setgroups(2); there are no foreign groups to drop there
/// (user_namespaces(7)).
fn groups_may_change() -> bool {
    !std::fs::read("/proc/self/setgroups").is_ok_and(|policy| policy.starts_with(b"deny"))
}

/// Sends `signal` to every process of the PID namespace but this one. Only for its first process.
pub fn signal_everybody(signal: libc::c_int) {
    // SAFETY: a plain system call; -1 names all processes this one may signal except itself. rustix takes positive
    // process ids only. ESRCH (nobody there) is what is wanted.
    unsafe { libc::kill(-1, signal) };
}

/// Makes the allocator give large buffers back to the kernel as soon as they are free: glibc otherwise raises its
/// threshold with each large buffer and keeps up to twice 32 MB (mallopt(3), M_MMAP_THRESHOLD).
pub fn return_large_buffers() {
    const THRESHOLD_BYTES: libc::c_int = 128 * 1024;
    // SAFETY: sets a parameter of the allocator; called first in main, on the only thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD_BYTES) };
}
