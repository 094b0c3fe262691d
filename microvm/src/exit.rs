//! The end of a child process, as an event.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// How a process ended: exit status or signal; neither if somebody else has collected it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExitStatus {
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// A child, from its start until it has been collected. Collects it exactly once.
pub(crate) struct Child {
    pidfd: AsyncFd<OwnedFd>,
    status: Mutex<Option<ExitStatus>>,
}

impl Child {
    /// Needs a tokio runtime with I/O.
    pub(crate) fn new(pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self { pidfd: sys::event::watch(pidfd)?, status: Mutex::new(None) })
    }

    /// Ends it at once. Does nothing after its end.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A process that is gone has nothing left to be told.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.collect() {
                return status;
            }
            match self.pidfd.readable().await {
                Ok(mut ready) => {
                    if let Some(status) = self.collect() {
                        return status;
                    }
                    ready.clear_ready();
                }
                // The runtime is shutting down: nobody can wait any more.
                Err(_) => return ExitStatus::default(),
            }
        }
    }

    /// Waits for its end on this thread, at most so long; whether it has ended.
    pub(crate) fn wait_blocking(&self, at_most: Duration) -> bool {
        let timeout = Timespec { tv_sec: at_most.as_secs().cast_signed(), tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)], Some(&timeout));
        self.collect().is_some()
    }

    /// Whether its end has been seen: from then on its number may be another process's.
    pub(crate) fn is_collected(&self) -> bool {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn collect(&self) -> Option<ExitStatus> {
        let mut known = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let id = WaitId::PidFd(self.pidfd.get_ref().as_fd());
            *known = match waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(None) | Err(rustix::io::Errno::INTR) => None,
                Ok(Some(end)) => Some(ExitStatus { status: end.exit_status(), signal: end.terminating_signal() }),
                Err(_) => Some(ExitStatus::default()),
            };
        }
        *known
    }
}
