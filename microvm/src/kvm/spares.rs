//! `hearth-vmm` processes that wait for a machine, a bounded number of them, and the thread that makes them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::starter::{Starter, Vmm};
use crate::state::State;
use crate::sys::spawn::SpawnError;
use crate::thread::Thread;

/// Most processes that wait at a time, whatever is configured; each is a few hundred KB.
pub const SPARES_MAX: usize = 64;

/// The processes that wait.
pub(super) struct Spares {
    waiting: Arc<Mutex<VecDeque<Vmm>>>,
    count: usize,
    state: Arc<State>,
    /// The parent of all: they die with it.
    starter: Arc<Thread<Starter>>,
}

impl Spares {
    /// Starts the thread, with the starter that `make` makes on it, and a first process. `count` are kept ready from the
    /// first [`Self::refill`] on.
    pub(super) fn start(
        make: impl FnOnce() -> Result<Starter, SpawnError> + Send + 'static,
        state: Arc<State>,
        count: usize,
    ) -> Result<Self, SpawnError> {
        let waiting: Arc<Mutex<VecDeque<Vmm>>> = Arc::default();
        let first = Arc::clone(&waiting);
        let starter = Thread::start("vmm-starter", move || {
            let mut starter = make()?;
            let vmm = starter.start()?;
            lock(&first).push_back(vmm);
            Ok::<_, SpawnError>(starter)
        })?;
        Ok(Self { waiting, count: count.min(SPARES_MAX), state, starter: Arc::new(starter) })
    }

    /// What must live as long as any of the processes.
    pub(super) fn parent(&self) -> Arc<Thread<Starter>> {
        Arc::clone(&self.starter)
    }

    /// A process that lives: one that waits, or a new one. Call [`Self::refill`] when the haste is over.
    pub(super) async fn take(&self) -> Result<Vmm, SpawnError> {
        while let Some(vmm) = self.pop() {
            if vmm.is_alive() {
                return Ok(vmm);
            }
            bury(vmm, &self.state);
        }
        let lost = |error| SpawnError::new("start hearth-vmm", error);
        let (waiting, state) = (Arc::clone(&self.waiting), Arc::clone(&self.state));
        let starting = self.starter.run(move |starter| {
            // One may have been made since it was asked for.
            let vmm = loop {
                match lock(&waiting).pop_front() {
                    Some(vmm) if vmm.is_alive() => break vmm,
                    Some(vmm) => bury(vmm, &state),
                    None => break starter.start()?,
                }
            };
            Ok::<_, SpawnError>(Unclaimed { vmm: Some(vmm), state })
        });
        let mut started = starting.await.map_err(lost)??;
        started.vmm.take().ok_or_else(|| lost(io::ErrorKind::NotFound.into()))
    }

    /// Has the thread start what is missing, and make groups for the next.
    pub(super) fn refill(&self) {
        let (waiting, count) = (Arc::clone(&self.waiting), self.count);
        self.starter.post(move |starter| {
            while lock(&waiting).len() < count {
                match starter.start() {
                    Ok(vmm) => lock(&waiting).push_back(vmm),
                    Err(error) => {
                        return tracing::warn!(step = error.step, error = %error.source, "no hearth-vmm in reserve");
                    }
                }
            }
            if let Err(error) = starter.prepare_berth() {
                tracing::warn!(%error, "no control groups for the next machine as yet");
            }
        });
    }

    fn pop(&self) -> Option<Vmm> {
        lock(&self.waiting).pop_front()
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.starter.settle();
        while let Some(vmm) = self.pop() {
            bury(vmm, &self.state);
        }
    }
}

/// A process on its way to who asked for it; ended if nobody takes it.
struct Unclaimed {
    vmm: Option<Vmm>,
    state: Arc<State>,
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(vmm) = self.vmm.take() {
            bury(vmm, &self.state);
        }
    }
}

fn bury(vmm: Vmm, state: &State) {
    if let Err(error) = vmm.destroy(state) {
        tracing::warn!(%error, "something of a hearth-vmm stays until the next clean-up");
    }
}

fn lock(waiting: &Mutex<VecDeque<Vmm>>) -> std::sync::MutexGuard<'_, VecDeque<Vmm>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
