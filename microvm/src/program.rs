//! What every program needs that this crate starts, jailed or not: the common steps of a child's script.

use std::ffi::{CString, OsStr, c_int, c_long};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use libc::{MNT_DETACH, SYS_chdir, SYS_dup2, SYS_mount, SYS_pivot_root, SYS_prctl, SYS_prlimit64, SYS_umount2};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::sandbox::BootSpec;
use crate::sys::script::{Arg, Script};

/// Sets a soft and hard resource limit.
pub(crate) fn limit(script: &mut Script, name: &'static str, resource: u64, value: u64) {
    let args = [Arg::Number(0), Arg::Number(resource), Arg::Words(vec![value, value]), Arg::Number(0)];
    script.step(name, SYS_prlimit64, args);
}

/// Sets how many files a process, and those it starts later, may have open; as many as this process may give.
pub(crate) fn limit_open_files(pid: Pid, files: u64) -> io::Result<()> {
    let set = |files| prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) });
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(files);
    match set(files) {
        Err(rustix::io::Errno::PERM) if most < files => set(most)?,
        // It ended in the meantime.
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other?,
    };
    Ok(())
}

/// 0, 1 and 2 lead nowhere; 3 is the channel. All else is closed by exec.
pub(crate) fn take_descriptors(script: &mut Script, channel: OwnedFd, null: OwnedFd) {
    script.step("null as 0", SYS_dup2, [Arg::Fd(null), Arg::Number(0)]);
    script.step("null as 1", SYS_dup2, [Arg::Number(0), Arg::Number(1)]);
    script.step("null as 2", SYS_dup2, [Arg::Number(0), Arg::Number(2)]);
    script.step("channel as 3", SYS_dup2, [Arg::Fd(channel), Arg::Number(3)]);
}

/// What the launcher's process ignores (a Rust program ignores broken pipes) a new program must not inherit.
pub(crate) fn default_signals(script: &mut Script) {
    const SIGNAL_SET_BYTES: u64 = 8;
    let default = || Arg::Words(vec![0; 4]);
    let args = [Arg::Number(libc::SIGPIPE as u64), default(), Arg::Number(0), Arg::Number(SIGNAL_SET_BYTES)];
    script.step("default signals", libc::SYS_rt_sigaction, args);
    let how = Arg::Number(libc::SIG_SETMASK as u64);
    let args = [how, Arg::Words(vec![0]), Arg::Number(0), Arg::Number(SIGNAL_SET_BYTES)];
    script.step("unblock signals", libc::SYS_rt_sigprocmask, args);
}

/// The parent is the launcher's thread, which lives as long as the launcher and its sandboxes.
pub(crate) fn die_with_parent(script: &mut Script) {
    prctl(script, "die with the parent", libc::PR_SET_PDEATHSIG, [libc::SIGKILL as u64, 0]);
}

/// Executes a program with the arguments and the environment of `spec`.
pub(crate) fn execute(script: &mut Script, program: impl AsRef<OsStr>, spec: &BootSpec) -> io::Result<()> {
    let program = program.as_ref();
    let mut arguments = vec![text(program)?];
    for argument in &spec.args {
        arguments.push(text(argument)?);
    }
    let mut environment = Vec::with_capacity(spec.env.len());
    for (name, value) in &spec.env {
        environment.push(CString::new([name.as_bytes(), value.as_bytes()].join(&b'='))?);
    }
    let args = [Arg::Text(text(program)?), Arg::Texts(arguments), Arg::Texts(environment)];
    script.step(format!("execute {}", spec.init.display()), libc::SYS_execve, args);
    Ok(())
}

/// Mounts, as mount(2).
pub(crate) fn mount(
    script: &mut Script,
    name: &str,
    source: Option<impl AsRef<OsStr>>,
    target: impl AsRef<OsStr>,
    kind: Option<&str>,
    flags: u64,
    options: Option<&str>,
) -> io::Result<()> {
    let pointer = |value: Option<CString>| value.map_or(Arg::Number(0), Arg::Text);
    let args = [
        pointer(source.map(|source| text(source.as_ref())).transpose()?),
        Arg::Text(text(target.as_ref())?),
        pointer(kind.map(text).transpose()?),
        Arg::Number(flags),
        pointer(options.map(text).transpose()?),
    ];
    script.step(name, SYS_mount, args);
    Ok(())
}

/// Makes the working directory, a mount, the root, and leaves every other mount behind.
pub(crate) fn leave_old_root(script: &mut Script) -> io::Result<()> {
    script.step("pivot_root", SYS_pivot_root, [Arg::Text(text(".")?), Arg::Text(text(".")?)]);
    script.step("leave the old root", SYS_umount2, [Arg::Text(text(".")?), Arg::Number(MNT_DETACH as u64)]);
    script.step("chdir /", SYS_chdir, [Arg::Text(text("/")?)]);
    Ok(())
}

/// A process control call with two arguments.
pub(crate) fn prctl(script: &mut Script, name: &'static str, option: c_int, args: [u64; 2]) {
    let [first, second] = args.map(Arg::Number);
    let args = [Arg::Number(option as u64), first, second, Arg::Number(0), Arg::Number(0)];
    script.step(name, SYS_prctl as c_long, args);
}

/// As the kernel takes it; refuses a zero byte.
pub(crate) fn text(value: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(value.as_ref().as_bytes())?)
}
