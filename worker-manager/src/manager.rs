//! The shell around the router: one lock, one driver, and a task for each thing asked of placement.
//!
//! ```text
//!  reserve, complete ─▶ lock ─▶ router ─▶ answer                    (a warm call ends here)
//!                                 │ deadline came nearer
//!                                 ▼
//!                               driver ── on_tick ─▶ claims, renewals, releases ─▶ placement
//!                                 ▲                                                   │
//!                                 └────────── sleeps until the next deadline   lock ◀─┘ outcomes
//! ```
//!
//! The lock is held for single synchronous steps of the router only, never across an await; a step is well under a
//! microsecond. What a step decided for placement is sent by the driver at the end of the turn, so that calls
//! that come together are claimed together.

mod driver;
mod metrics;
mod shared;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_daemon::{Clock, OnFailure, Tasks};
use hearth_protocol::Unreachable;
use hearth_protocol::worker_manager::{
    Completion, Fleet, Provision, ProvisionReport, Reservation, ReserveError, ReserveRequest, RetireRequest,
};
use prometheus::Registry;

use crate::config::{Config, Deps, StartError};
use crate::router::Reserved;

use metrics::Metrics;
use shared::Shared;
use wait::Wait;

/// A running worker manager.
pub struct WorkerManager {
    shared: Arc<Shared>,
    tasks: Tasks,
}

impl WorkerManager {
    /// Starts it: asks placement for what an earlier life held, in the background, and takes calls at once. Must be
    /// called within a tokio runtime.
    pub fn start(config: Config, deps: Deps, registry: &Registry) -> Result<Arc<Self>, StartError> {
        config.router.check()?;
        let tasks = Tasks::new();
        let shared = Arc::new(Shared::new(config, deps.placement, Clock::start()));
        Metrics::register(&shared, registry)?;
        tasks.spawn("worker-manager-driver", OnFailure::EndRole, driver::drive(shared.clone(), tasks.clone()));
        tasks.spawn("worker-manager-recovery", OnFailure::EndRole, driver::recover(shared.clone(), tasks.clone()));
        Ok(Arc::new(Self { shared, tasks }))
    }

    /// Ends it: takes no new calls, gives back what is idle, lets calls that wait or run come to their end, at most for
    /// `grace`. Then whoever still waits is told; slots still busy are left to their calls and their leases.
    pub async fn shutdown(&self, grace: Duration) {
        self.shared.step(|router, _, now| router.on_drain(now));
        // On timeout there is nothing more to do than to go on with ending.
        let _ = tokio::time::timeout(grace, self.shared.quiet()).await;
        self.shared.step(|router, outbox, now| router.on_stop(now, outbox));
        if !self.tasks.stop(self.shared.config.placement_timeout).await {
            tracing::warn!("placement did not take back every lease in time; they run out by themselves");
        }
    }

    /// The tasks behind it, to hear of their failure.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

/// [`Reserved`], with somebody listening.
enum Outcome {
    Now(Reservation),
    Later(Wait),
}

#[async_trait]
impl hearth_protocol::WorkerManager for WorkerManager {
    async fn reserve(&self, request: ReserveRequest) -> Result<Reservation, ReserveError> {
        let request_id = request.request_id.clone();
        let reserved = self.shared.step(|router, outbox, now| {
            Ok::<_, ReserveError>(match router.on_reserve(now, request, outbox)? {
                Reserved::Now(reservation) => Outcome::Now(reservation),
                Reserved::Waits(waiter) => Outcome::Later(Wait::new(&self.shared, outbox, waiter, request_id)),
            })
        });
        match reserved? {
            Outcome::Now(reservation) => Ok(reservation),
            Outcome::Later(wait) => wait.answer().await,
        }
    }

    async fn complete(&self, completion: Completion) -> Result<(), Unreachable> {
        let known = self.shared.step(|router, outbox, now| router.on_complete(now, &completion, outbox));
        if !known {
            tracing::debug!(request = %completion.request_id, slot = %completion.slot, "completion of no reservation");
        }
        Ok(())
    }

    async fn retire(&self, request: RetireRequest) -> Result<(), Unreachable> {
        self.shared.step(|router, _, now| router.on_retire(now, &request));
        Ok(())
    }

    async fn provision(&self, provision: Provision) -> Result<ProvisionReport, Unreachable> {
        Ok(self.shared.step(|router, _, now| router.on_provision(now, &provision)))
    }

    async fn fleet(&self) -> Result<Fleet, Unreachable> {
        let workers = self.shared.placement.fleet().await?;
        Ok(self.shared.step(|router, _, now| Fleet {
            workers,
            slots: router.held_slots(now),
            waiting: router.waiting(),
        }))
    }
}
