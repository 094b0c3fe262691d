//! The shim as the first process of a microVM: from the kernel's hand-over to the channel, and what a guest's kernel, being the
//! function's own, leaves the shim to do.
//!
//! ```text
//! initramfs: /init (this program), /dev/null, /modules/order and its files, what is to be seen inside at its path
//!   modules ─▶ /dev/vda ─▶ mounts ─▶ switch of the root ─▶ cgroup, lo, host name ─▶ vsock ─▶ supervisor, as in a jail
//! ```
//!
//! Compared with the jail: the same root (read-only, only `/tmp` and `/dev/shm` can be written to), the same user without
//! capabilities or a way to regain any, the same limits. Absent on purpose: a seccomp filter and masks over `/proc`.
//! There, they protect a kernel that others run on; here it is the function's own, and the wall is the VMM. What is left
//! to protect from user code is this process, and for that its user, `hidepid` and `PR_SET_DUMPABLE` are enough.
//! A kernel without console starts the first process without descriptors, and Rust's start code then wants `/dev/null`:
//! therefore it is in the initramfs.

mod cgroup;
mod clock;
mod devices;
mod identity;
mod modules;
mod reporting;
mod root;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use hearth_guest_protocol::{BootPhase, CHANNEL_VSOCK_PORT, Init, Restore, Stats, guest_message};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};
use rustix::time::ClockId;

use crate::sys;
use cgroup::Cgroup;

/// As in the jail, until the worker names another.
const HOST_NAME: &[u8] = b"sandbox";
/// Locked memory of a process, bytes: as in the jail.
const MEMLOCK_BYTES: u64 = 64 * 1024;
/// How far the clock is ahead while a runtime starts that will be part of a snapshot, seconds: ten years, more than any
/// snapshot is used for.
const AHEAD_S: i64 = 10 * 365 * 24 * 60 * 60;
/// In the kernel's way of giving or taking memory, this process is the last: without it the sandbox is of no use.
const OOM_SCORE_ADJ: &str = "-1000";
/// Address space is given as asked for, as on a large host: what counts is the memory that is used. By its own judgement
/// a small machine's kernel would refuse what the same function gets in a jail.
const OVERCOMMIT: &str = "1";

/// The guest is not what it has to be.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct SetupError {
    /// Which step failed, with what it needs where that is somebody's to give.
    pub step: String,
    /// The operating system's word.
    pub source: io::Error,
}

impl SetupError {
    fn at(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self { step, source }
    }
}

/// A microVM whose root and channel are there.
#[derive(Debug)]
pub struct Guest {
    /// What it took, in order.
    pub(crate) phases: Vec<BootPhase>,
    /// Where the runtime runs and is counted.
    cgroup: Cgroup,
    /// Whether the function is stopped.
    is_frozen: bool,
    /// Whether the wall clock is [`AHEAD_S`] ahead.
    is_ahead: bool,
}

impl Guest {
    /// The list of members of the runtime's control group.
    pub(crate) fn members(&self) -> io::Result<OwnedFd> {
        self.cgroup.members().try_clone()
    }

    /// Puts the function's code where it is expected, and its limits in force. The code's drive may still be on its way:
    /// that is waited for.
    pub(crate) fn admit(&mut self, init: &Init) -> Result<(), SetupError> {
        root::mount_code(Path::new(&init.task_root), init.layers_in_code)?;
        let Some(limits) = &init.limits else { return Ok(()) };
        root::resize_tmp(limits.tmp_bytes)?;
        self.cgroup.limit(limits).map_err(SetupError::at("set the limits"))
    }

    /// Sets the wall clock ahead while a runtime starts that will be part of a snapshot.
    ///
    /// OpenSSL's generators take new entropy when the clock stands before their last seed (`reseed_time` in
    /// providers/implementations/rands/drbg.c), and Node.js has no way to ask them to. With the clock ahead at their
    /// first seed and right from then on, each takes new entropy at its first use in each clone, and is as ever after.
    pub(crate) fn set_clock_ahead(&mut self) -> io::Result<()> {
        self.is_ahead = true;
        clock::step(AHEAD_S)
    }

    /// Sets the wall clock right again, if it is ahead.
    pub(crate) fn set_clock_right(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_ahead) { clock::step(-AHEAD_S) } else { Ok(()) }
    }

    /// Sets the wall clock to the host's if it is off by more than messages take. Not while it is ahead on purpose.
    pub(crate) fn keep_time(&mut self, unix_ms: u64) -> io::Result<()> {
        if self.is_ahead { Ok(()) } else { clock::keep(unix_ms) }
    }

    /// Stops everything the function does. Until [`Self::become_another`] none of it runs: it would run in the clones, too,
    /// before they are anything else than clones.
    pub(crate) fn freeze(&mut self) -> Result<(), SetupError> {
        self.is_frozen = true;
        self.cgroup.freeze().map_err(SetupError::at("freeze the function"))
    }

    /// Makes this another sandbox than all that were restored from the same snapshot, and lets the function go on.
    pub(crate) fn become_another(&mut self, restore: &Restore) -> Result<(), SetupError> {
        identity::assume(restore)?;
        if std::mem::take(&mut self.is_frozen) {
            self.cgroup.thaw().map_err(SetupError::at("let the function go on"))?;
        }
        Ok(())
    }

    /// What was used until now, if this message is one that the worker wants it with.
    pub(crate) fn stats_before(&self, message: &guest_message::Kind) -> Option<Stats> {
        use guest_message::Kind::{InitDone, Response, ResponseEnd, RuntimeExit};
        let gone = matches!(message, RuntimeExit(_));
        // Counting is not what a sandbox dies of.
        if gone || matches!(message, InitDone(_) | Response(_) | ResponseEnd(_)) {
            self.cgroup.stats(gone).ok()
        } else {
            None
        }
    }
}

/// Makes what the kernel has started into a sandbox: returns with the channel to the worker.
pub fn boot() -> Result<(Guest, OwnedFd), SetupError> {
    let mut phases = Phases::default();
    phases.over("kernel");
    root::mount_devices()?;
    modules::load()?;
    phases.over("modules");
    root::switch()?;
    phases.over("root");
    let cgroup = Cgroup::make().map_err(SetupError::at("control group"))?;
    settle()?;
    phases.over("settings");
    let channel = sys::guest::connect_vsock(CHANNEL_VSOCK_PORT).map_err(SetupError::at("vsock to the host"))?;
    phases.over("channel");
    Ok((Guest { phases: phases.0, cgroup, is_frozen: false, is_ahead: false }, channel))
}

/// Ends the machine: the VMM sees the reset. Returns only if the kernel refuses, which it does to nobody but
/// processes without the right to.
pub fn reset() {
    rustix::fs::sync();
    let _ = rustix::system::reboot(rustix::system::RebootCommand::Restart);
}

/// Everything a jail's launcher would have set from outside.
fn settle() -> Result<(), SetupError> {
    let lo = || -> io::Result<()> {
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        sys::guest::bring_up(socket, "lo")
    };
    lo().map_err(SetupError::at("bring up lo"))?;
    let host_name = rustix::system::sethostname(HOST_NAME);
    host_name.map_err(|error| SetupError { step: "host name".to_owned(), source: error.into() })?;
    // A kernel that reports nothing has no such setting, and needs none.
    let _ = reporting::refine();
    for (file, value) in [("/proc/self/oom_score_adj", OOM_SCORE_ADJ), ("/proc/sys/vm/overcommit_memory", OVERCOMMIT)] {
        std::fs::write(file, value).map_err(SetupError::at(file))?;
    }
    // Processes are limited by the control group; the kernel's own limit follows from the size of the machine.
    for (resource, most) in
        [(Resource::Core, Some(0)), (Resource::Memlock, Some(MEMLOCK_BYTES)), (Resource::Nproc, None)]
    {
        let limit = rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most });
        limit.map_err(|error| SetupError { step: format!("limit {resource:?}"), source: error.into() })?;
    }
    Ok(())
}

/// What the boot consisted of so far.
#[derive(Debug, Default)]
struct Phases(Vec<BootPhase>);

impl Phases {
    /// This phase is over now. The clock starts with the kernel and is not moved by anybody.
    fn over(&mut self, name: &str) {
        let now = rustix::time::clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
        let at_us = seconds.unwrap_or(0) * 1_000_000 + nanos.unwrap_or(0) / 1_000;
        self.0.push(BootPhase { name: name.to_owned(), at_us });
    }
}
