//! The shell around the ledger.
//!
//! ```text
//!  holders, workers ──Event──▶ driver (owns the ledger) ──calls──▶ workers
//!         ▲                      │   ▲                               │
//!         └── replies, outcomes ─┘   └──────────── results ──────────┘
//! ```
//!
//! One task owns the ledger; everything else posts events to it, over a queue of bounded length.

mod calls;
mod claims;
mod driver;
mod event;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::HolderId;
use hearth_protocol::placement::{
    ClaimOutcome, ClaimRequest, FleetWorker, Grant, ReleaseRequest, RenewRequest, RenewResponse, ReportAck,
    WorkerReport,
};
use hearth_protocol::{Unreachable, WorkerDirectory};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, InvalidConfig};
use driver::Driver;
use event::{Event, Reply};
use metrics::Metrics;

/// What placement needs from others.
pub struct Deps {
    /// Finds workers.
    pub workers: Arc<dyn WorkerDirectory>,
}

/// The role.
#[derive(Debug)]
pub struct Placement {
    events: mpsc::Sender<Event>,
    tasks: Tasks,
    /// The grace is over: the driver ends whatever it does.
    abandon: CancellationToken,
}

/// Why placement could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't work.
    #[error("placement can't be configured so: {0:?}")]
    Config(Vec<InvalidConfig>),
    /// A metric of this name is there already.
    #[error("placement's metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
}

impl Placement {
    /// Starts with an empty ledger; what workers report fills it.
    pub fn start(config: Config, deps: Deps, registry: &Registry) -> Result<Arc<Self>, StartError> {
        config.check().map_err(StartError::Config)?;
        let metrics = Metrics::register(registry)?;
        let (events, inbox) = mpsc::channel(config.queue);
        let (tasks, abandon) = (Tasks::new(), CancellationToken::new());
        let driver = Driver::new(config, deps.workers, metrics, events.downgrade(), tasks.clone());
        tasks.spawn("ledger", OnFailure::EndRole, driver.run(inbox, tasks.stop_token(), abandon.clone()));
        Ok(Arc::new(Self { events, tasks, abandon }))
    }

    /// Its background tasks, to be told when one that it needs has failed.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Takes no new claims, lets open ones finish within `grace`, then stops. Slots and their leases stay with workers and
    /// holders: the next placement finds them there.
    pub async fn shutdown(&self, grace: Duration) {
        let finished = self.tasks.stop(grace).await;
        self.abandon.cancel();
        if !finished {
            tracing::warn!(?grace, "claims were still open when the grace was over");
        }
    }

    async fn ask<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, Unreachable> {
        let (reply, answer) = oneshot::channel();
        self.events.send(event(reply)).await.map_err(|_| stopped(true))?;
        answer.await.unwrap_or_else(|_| Err(stopped(false)))
    }
}

#[async_trait]
impl hearth_protocol::Placement for Placement {
    async fn claim(&self, request: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable> {
        let outcomes = self.ask(|reply| Event::Claim { request, reply }).await?;
        Ok(Box::pin(outcomes))
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, Unreachable> {
        self.ask(|reply| Event::Renew { request, reply }).await
    }

    async fn release(&self, request: ReleaseRequest) -> Result<(), Unreachable> {
        self.ask(|reply| Event::Release { request, reply }).await
    }

    async fn recover(&self, holder: HolderId) -> Result<Vec<Grant>, Unreachable> {
        self.ask(|reply| Event::Recover { holder, reply }).await
    }

    async fn report(&self, report: WorkerReport) -> Result<ReportAck, Unreachable> {
        self.ask(|reply| Event::Report { report: Box::new(report), reply }).await
    }

    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable> {
        self.ask(|reply| Event::Fleet { reply }).await
    }
}

fn stopped(not_sent: bool) -> Unreachable {
    refusal("it has stopped", not_sent)
}

/// Placement's own "no" to a request that the protocol can only answer so.
fn refusal(reason: impl ToString, not_sent: bool) -> Unreachable {
    Unreachable { role: "placement".to_owned(), reason: reason.to_string(), not_sent }
}

#[cfg(test)]
mod tests;
