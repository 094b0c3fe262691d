//! Removes code that no function and no layer version refers to any more: at start and every hour.
//!
//! The store keeps what was uploaded lately, so that an upload whose function is not stored yet is safe.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_store::{BundleStore, Catalog, StoreFailure};
use tracing::{info, warn};

use crate::layers::Layers;

/// Time between two cleanups.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// Starts the task.
pub(crate) fn start(catalog: Arc<dyn Catalog>, layers: Layers, bundles: Arc<dyn BundleStore>, tasks: &Tasks) {
    let stop = tasks.stop_token();
    tasks.spawn("bundle cleanup", OnFailure::Log, async move {
        stop.run_until_cancelled(clean_forever(&*catalog, &layers, &*bundles)).await;
        Ok::<(), Infallible>(())
    });
}

async fn clean_forever(catalog: &dyn Catalog, layers: &Layers, bundles: &dyn BundleStore) {
    loop {
        match clean(catalog, layers, bundles).await {
            Ok(0) => {}
            Ok(removed) => info!(removed, "code that no function refers to was removed"),
            // Nothing depends on it: the next round tries again.
            Err(failure) => warn!(%failure, "unused code was not removed"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn clean(catalog: &dyn Catalog, layers: &Layers, bundles: &dyn BundleStore) -> Result<usize, StoreFailure> {
    // Layers first: what a function takes of a version that is deleted meanwhile is its own by the time functions are read.
    let mut referenced = layers.bundles().await?;
    referenced.extend(catalog.referenced_bundles().await?);
    bundles.retain(&referenced).await
}
