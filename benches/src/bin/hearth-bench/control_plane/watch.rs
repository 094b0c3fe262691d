//! How far the job is, and whether anybody still wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use hearth_benches::progress::Progress;

/// What runs between two looks is short.
#[derive(Debug)]
pub(super) struct Watch {
    progress: Progress,
    abandoned: Arc<AtomicBool>,
}

/// Kept by who waits for the job: when dropped, the job ends at its next look.
#[derive(Debug)]
pub(super) struct Wanted(Arc<AtomicBool>);

impl Watch {
    /// Of a job of so many parts.
    pub(super) fn of(what: &str, parts: u64) -> (Self, Wanted) {
        let abandoned = Arc::new(AtomicBool::new(false));
        (Self { progress: Progress::of(what, parts), abandoned: abandoned.clone() }, Wanted(abandoned))
    }

    /// The next part begins.
    pub(super) fn part(&self, what: impl Into<String>) -> Result<()> {
        self.progress.step();
        self.progress.detail(what);
        self.look()
    }

    /// An error if nobody waits any more.
    pub(super) fn look(&self) -> Result<()> {
        ensure!(!self.abandoned.load(Ordering::Relaxed), "nobody waits for it any more");
        Ok(())
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
