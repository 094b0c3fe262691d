//! Everybody in the sandbox: reaping the dead, ending the living.
//!
//! As PID 1 of a PID namespace this process inherits every orphan; elsewhere it asks to (`PR_SET_CHILD_SUBREAPER`), so
//! that what a function leaves running is found there as well.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::signal::unix::Signal as SignalStream;

use crate::lifecycle::Exit;
use crate::sys;

/// Longest time that killed processes get to be gone. They can only be late in the kernel.
const DEATH_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes orphans this process's children, and keeps user code from looking into it (ptrace, `/proc/PID/fd`, `/mem`).
pub(crate) fn take_charge() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    if !is_first() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    }
    Ok(())
}

/// A child that has ended, if one has.
pub(crate) fn reap() -> Option<(Pid, Exit)> {
    loop {
        let (pid, status) = rustix::process::wait(WaitOptions::NOHANG).ok()??;
        if let Some(status) = status.exit_status() {
            return Some((pid, Exit::Status(status)));
        }
        if let Some(signal) = status.terminating_signal() {
            return Some((pid, Exit::Signal(signal)));
        }
    }
}

/// Kills everybody but this process.
pub(crate) fn kill_everybody() {
    if is_first() {
        sys::signal_everybody(libc::SIGKILL);
        return;
    }
    for child in children() {
        // Its group too, while it is there to name it. Who is in neither becomes our child as soon as this one is dead.
        let _ = rustix::process::kill_process_group(child, Signal::KILL);
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
}

/// Kills everybody but this process and waits until they are gone. `deaths` tells of children that ended.
pub(crate) async fn end_everybody(deaths: &mut SignalStream) {
    let all_gone = async {
        loop {
            kill_everybody();
            while reap().is_some() {}
            if !has_children() {
                return;
            }
            deaths.recv().await;
        }
    };
    let _ = tokio::time::timeout(DEATH_TIMEOUT, all_gone).await;
}

fn is_first() -> bool {
    rustix::process::getpid() == Pid::INIT
}

/// Looks without reaping, so that no end is missed.
fn has_children() -> bool {
    let options = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::All, options).is_ok()
}

fn children() -> Vec<Pid> {
    let listed = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
