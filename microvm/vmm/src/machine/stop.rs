//! How a machine comes to its end: the first reason any thread gives, and an event that wakes the main thread.

use std::io;
use std::sync::OnceLock;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::control::StopReason;

/// One for each machine.
#[derive(Debug)]
pub struct Stop {
    reason: OnceLock<StopReason>,
    event: EventFd,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { reason: OnceLock::new(), event: EventFd::new(EFD_NONBLOCK)? })
    }

    /// Ends the machine, for the first reason that is given.
    pub fn because(&self, reason: StopReason) {
        if self.reason.set(reason).is_ok() {
            // An eventfd fails only when its counter is full, and this is its only write.
            let _ = self.event.write(1);
        }
    }

    /// Why it ended, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<&StopReason> {
        self.reason.get()
    }

    /// Readable once there is a reason; never to be read.
    #[must_use]
    pub fn event(&self) -> &EventFd {
        &self.event
    }
}
