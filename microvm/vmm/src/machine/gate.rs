//! The handshake by which the main thread starts, rests and stops the vCPU threads.
//!
//! ```text
//!  main:  open() ─▶ Open                 close() ─▶ Closed, raise flags, signal, wait until none is inside
//!  vCPU:  enter() waits for Open, inside += 1 ──▶ KVM_RUN … EINTR: lower flag, is it closed? ──▶ leave(), inside -= 1
//! ```
//!
//! A vCPU lowers its flag before it asks whether the gate is closed, and main closes the gate before it raises the
//! flags: so no order of the two loses a stop. It only leaves when `KVM_RUN` was interrupted, so the exit before is
//! complete and the vCPU's state can be read.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One for all vCPUs of a machine.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    has_ended: bool,
    inside: usize,
}

impl Gate {
    /// Lets vCPUs run.
    pub(super) fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_all();
    }

    /// Lets none run any more; those inside have yet to be made to leave.
    pub(super) fn close(&self) {
        self.lock().is_open = false;
    }

    /// Tells the threads to end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        (state.is_open, state.has_ended) = (false, true);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns when no vCPU is inside.
    pub(super) fn wait_until_empty(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |state| state.inside > 0).unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.lock().is_open
    }

    /// A vCPU waits until it may run; `false` if it is to end instead.
    pub(super) fn enter(&self) -> bool {
        let state = self.lock();
        let waiting = |state: &mut State| !state.is_open && !state.has_ended;
        let mut state = self.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        state.inside += usize::from(!state.has_ended);
        !state.has_ended
    }

    /// A vCPU does not run any more.
    pub(super) fn leave(&self) {
        self.lock().inside -= 1;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
