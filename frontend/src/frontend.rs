//! The role: what it is made of, how it starts and how it ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hearth_daemon::{Clock, Tasks};
use hearth_protocol::{WorkerDirectory, WorkerManager};
use hearth_store::{BundleStore, Catalog, Documents, EventQueue, MessageStore, StoreFailure, UsageStore};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::Config;
use crate::activation::Activator;
use crate::api::{Api, Works};
use crate::asynchronous;
use crate::bundle_cleanup;
use crate::change_locks::ChangeLocks;
use crate::concurrency::Concurrency;
use crate::identity::Identities;
use crate::invocation::{EventRuns, Invoker};
use crate::layers::Layers;
use crate::metering::Metering;
use crate::metrics::Metrics;
use crate::provisioning::Provisioner;
use crate::resolution::Resolver;
use crate::server;
use crate::specs::Specs;

/// What a frontend works with.
#[derive(Clone)]
pub struct Deps {
    /// Functions, versions, credentials.
    pub catalog: Arc<dyn Catalog>,
    /// What stands beside functions: aliases, policies, users, ….
    pub documents: Arc<dyn Documents>,
    /// Their code.
    pub bundles: Arc<dyn BundleStore>,
    /// Asynchronous invocations.
    pub events: Arc<dyn EventQueue>,
    /// Messages in the stand-ins of queues, topics and buses.
    pub messages: Arc<dyn MessageStore>,
    /// Usage counters.
    pub usage: Arc<dyn UsageStore>,
    /// Gives slots.
    pub manager: Arc<dyn WorkerManager>,
    /// Finds the worker of a slot.
    pub workers: Arc<dyn WorkerDirectory>,
}

/// The HTTP edge of the platform.
pub struct Frontend {
    api: Arc<Api>,
    metrics: Metrics,
    metering: Arc<Metering>,
    /// The dispatcher of events and the events it runs: they stop first.
    events: Tasks,
    tasks: Tasks,
    connections: TaskTracker,
    stop_serving: CancellationToken,
}

/// Why a frontend did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its metrics clash with others.
    #[error("the frontend's metrics can't be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The catalog can't be read.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl Frontend {
    /// Starts the background work: unfinished changes of functions are taken up again.
    pub async fn start(config: Config, deps: Deps, registry: &Registry) -> Result<Arc<Self>, StartError> {
        let metrics = Metrics::register(registry)?;
        let tasks = Tasks::new();
        let metering = Metering::start(deps.usage.clone(), &tasks, registry)?;
        let identities = Arc::new(Identities::open(deps.catalog.clone(), deps.documents.clone()).await?);
        let specs = Arc::new(Specs::new(identities.clone()));
        let concurrency = Concurrency::new(deps.documents.clone(), config.account_concurrency);
        let invoker = Invoker::new(deps.manager.clone(), deps.workers.clone(), metering.clone());
        let invoker = Arc::new(invoker.with_concurrency(concurrency.clone()));
        let events = Tasks::new();
        asynchronous::start(config.events.clone(), event_deps(&config, &deps, &specs, &invoker), &events, registry)?;
        let changes = Arc::new(ChangeLocks::default());
        let activator = Activator::new(deps.catalog.clone(), deps.manager.clone(), changes.clone(), tasks.clone());
        activator.resume().await?;
        bundle_cleanup::start(deps.catalog.clone(), Layers::new(deps.documents.clone()), deps.bundles.clone(), &tasks);
        let resolver = Resolver::new(deps.catalog.clone(), deps.documents.clone());
        let provisioner =
            Provisioner::start(concurrency.clone(), resolver, specs.clone(), deps.manager.clone(), &tasks);
        let (connections, stop_serving) = (TaskTracker::new(), CancellationToken::new());
        let works = Works {
            invoker,
            identities,
            metering: metering.clone(),
            activator,
            metrics: metrics.clone(),
            changes,
            concurrency,
            provisioner,
            specs,
            stopping: stop_serving.clone(),
        };
        let api = Arc::new(Api::new(config, deps, works));
        Ok(Arc::new(Self { api, metrics, metering, events, tasks, connections, stop_serving }))
    }

    /// Serves the API on `listener` until [`Self::shutdown`].
    pub async fn serve(&self, listener: TcpListener) {
        let (connections, stop) = (self.connections.clone(), self.stop_serving.clone());
        server::serve(listener, self.router(), &self.api.config, self.metrics.clone(), connections, stop).await;
    }

    /// The background tasks, to be told when one that the frontend needs has failed.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The API as a service, for tests that need no socket.
    pub fn router(&self) -> Router {
        self.api.clone().router()
    }

    /// Stops accepting requests and taking events, lets running ones finish, ends the background work and writes the
    /// last usage; at most `grace`. Tells whether all was done in time. Events that did not finish stay in the queue.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        self.stop_serving.cancel();
        self.connections.close();
        let (served, events) = tokio::join!(timeout_at(deadline, self.connections.wait()), self.events.stop(grace));
        let changed = timeout_at(deadline, self.api.drain_changes()).await.is_ok();
        let ran = timeout_at(deadline, self.api.invoker.drain()).await.is_ok();
        let stopped = self.tasks.stop(deadline.saturating_duration_since(Instant::now())).await;
        let metered = self.metering.flush().await;
        if let Err(failure) = &metered {
            error!(%failure, "the last usage was not written");
        }
        served.is_ok() && events && changed && ran && stopped && metered.is_ok()
    }
}

fn event_deps(config: &Config, deps: &Deps, specs: &Arc<Specs>, invoker: &Arc<Invoker>) -> asynchronous::Deps {
    let resolver = Resolver::new(deps.catalog.clone(), deps.documents.clone());
    let concurrency = Concurrency::new(deps.documents.clone(), config.account_concurrency);
    let (specs, invoker) = (specs.clone(), invoker.clone());
    let runs = EventRuns { resolver, concurrency, specs, invoker, capacity_wait: config.capacity_wait };
    asynchronous::Deps {
        events: deps.events.clone(),
        region: config.region.clone(),
        catalog: deps.catalog.clone(),
        documents: deps.documents.clone(),
        invoker: Arc::new(runs),
        now_unix_ms: Arc::new(Clock::unix_ms),
    }
}
