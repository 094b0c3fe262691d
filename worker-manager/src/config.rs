//! What a worker manager is started with.

use std::sync::Arc;
use std::time::Duration;

use hearth_domain::HolderId;
use hearth_protocol::Placement;

use crate::router::{InvalidRouterConfig, RouterConfig};

/// The settings of a worker manager.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Under which name it holds leases: unique in the fleet and stable over restarts, so that it gets back what an
    /// earlier life held.
    pub holder: HolderId,
    /// Bounds and times of routing.
    pub router: RouterConfig,
    /// Longest time placement may take to answer a renewal, a release or a recovery.
    pub placement_timeout: Duration,
    /// First pause before asking placement again what an earlier life held.
    pub recover_retry_min: Duration,
    /// Longest such pause; each failure in a row doubles it up to here.
    pub recover_retry_max: Duration,
}

impl Config {
    /// The defaults for this holder.
    #[must_use]
    pub fn new(holder: HolderId) -> Self {
        Self {
            holder,
            router: RouterConfig::default(),
            placement_timeout: Duration::from_secs(5),
            recover_retry_min: Duration::from_millis(50),
            recover_retry_max: Duration::from_secs(1),
        }
    }
}

/// What a worker manager needs of others.
#[derive(Clone)]
pub struct Deps {
    /// Who grants it leases.
    pub placement: Arc<dyn Placement>,
}

/// Why a worker manager could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings don't make sense.
    #[error(transparent)]
    Config(#[from] InvalidRouterConfig),
    /// Its metrics could not be registered.
    #[error("worker manager: its metrics could not be registered")]
    Metrics(#[from] prometheus::Error),
}
