//! Removes snapshots of function versions whose code the store has no more: nobody can call them. Those of versions that
//! were deleted while others share their code go when the disk's bound makes them go: they are not used any more.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_store::BundleStore;

use super::Snapshots;
use crate::pool::VersionKey;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(600);

/// Looks at the start, and then again and again.
pub(crate) struct Cleanup {
    /// What to look through.
    pub(crate) snapshots: Arc<Snapshots>,
    /// What knows whether code is there.
    pub(crate) bundles: Arc<dyn BundleStore>,
}

impl Cleanup {
    /// Cleans until the tasks are asked to stop.
    pub(crate) fn start(self, tasks: &Tasks) {
        let stop = tasks.clone();
        tasks.spawn("snapshot cleanup", OnFailure::Log, async move {
            tokio::select! {
                never = self.run() => match never {},
                () = stop.stopping() => Ok::<(), Infallible>(()),
            }
        });
    }

    async fn run(self) -> Infallible {
        loop {
            let mut gone = Vec::new();
            for key in self.snapshots.keys() {
                if let Some(bundle) = VersionKey::bundle(&key)
                    && matches!(self.bundles.fetch(bundle).await, Ok(None))
                {
                    gone.push(key);
                }
            }
            if !gone.is_empty() {
                self.snapshots.remove(&gone);
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
