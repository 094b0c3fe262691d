//! The shell around the schedule: takes due events, runs them, settles them.
//!
//! Waits for what can make an event due (the time of the next one, a change of the queue, an event of this process that
//! ended), never by looking again and again. Once it is asked to stop it takes no more events; those that run may
//! finish, the others stay in the queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::limits::RECURSIVE_INVOCATIONS_MAX;
use hearth_store::event::{Event, EventId, PushError, Settlement};
use hearth_store::{Collection, StoreFailure};
use prometheus::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::api::function_settings::RecursionConfig;
use crate::asynchronous::channels::Channels;
use crate::asynchronous::configuration::EventInvokeConfig;
use crate::asynchronous::delivery::{Delivery, Leaves};
use crate::asynchronous::destination::Ending;
use crate::asynchronous::metrics::Metrics;
use crate::asynchronous::schedule::{Condition, Decision};
use crate::asynchronous::{Config, Deps, Outcome, Run};
use crate::resolution::Resolver;

/// Pause after the store failed, before it is asked again.
const STORE_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest such pause.
const STORE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Longest sleep until the next due event: the wall clock may have been set meanwhile.
const WALL_CLOCK_TRUSTED_FOR: Duration = Duration::from_secs(60);

/// Starts the dispatcher. It and the events it runs are `tasks`: stopping those with a grace period drains them.
pub fn start(config: Config, deps: Deps, tasks: &Tasks, registry: &Registry) -> Result<(), prometheus::Error> {
    let running = Arc::new(Semaphore::new(config.max_running));
    let metrics = Metrics::register(registry)?;
    let delivery = Delivery {
        region: deps.region.clone(),
        catalog: deps.catalog.clone(),
        resolver: Resolver::new(deps.catalog.clone(), deps.documents.clone()),
        channels: Channels::new(deps.documents.clone()),
    };
    let configs = Collection::new(deps.documents.clone());
    let recursion = Collection::new(deps.documents.clone());
    let runner =
        Arc::new(EventRunner { config, deps, configs, recursion, delivery, metrics, stop: tasks.stop_token() });
    let attempts = tasks.clone();
    tasks.spawn("event dispatcher", OnFailure::EndRole, async move {
        while let Some(permits) = runner.wait_for_work(&running).await {
            runner.start_due(permits, &attempts).await;
        }
        Ok::<(), Infallible>(())
    });
    Ok(())
}

struct EventRunner {
    config: Config,
    deps: Deps,
    configs: Collection<EventInvokeConfig>,
    recursion: Collection<RecursionConfig>,
    delivery: Delivery,
    metrics: Metrics,
    stop: CancellationToken,
}

impl EventRunner {
    /// Returns when an event is due and at least one may run: as many permits as there are. `None` when it is time to
    /// stop.
    async fn wait_for_work(&self, running: &Arc<Semaphore>) -> Option<Vec<OwnedSemaphorePermit>> {
        let until_due = async {
            let first = running.clone().acquire_owned().await.ok()?;
            self.until_due().await;
            let more = std::iter::from_fn(|| running.clone().try_acquire_owned().ok());
            Some(std::iter::once(first).chain(more).collect())
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            permits = until_due => permits,
        }
    }

    async fn until_due(&self) {
        loop {
            let wait = match self.deps.events.next_due().await {
                Ok(Some(due_unix_ms)) => Duration::from_millis(due_unix_ms.saturating_sub((self.deps.now_unix_ms)())),
                Ok(None) => WALL_CLOCK_TRUSTED_FOR,
                Err(failure) => {
                    error!(%failure, "the queue of events can't be read");
                    STORE_PAUSE_MIN
                }
            };
            if wait.is_zero() {
                return;
            }
            tokio::select! {
                () = self.deps.events.changed() => {}
                () = tokio::time::sleep(wait.min(WALL_CLOCK_TRUSTED_FOR)) => {}
            }
        }
    }

    async fn start_due(self: &Arc<Self>, permits: Vec<OwnedSemaphorePermit>, attempts: &Tasks) {
        match self.deps.events.take_due((self.deps.now_unix_ms)(), permits.len()).await {
            Ok(due) => {
                for ((id, event), permit) in due.into_iter().zip(permits) {
                    let runner = self.clone();
                    attempts.spawn("event", OnFailure::Log, async move {
                        runner.metrics.running.inc();
                        runner.run(id, event).await;
                        runner.metrics.running.dec();
                        drop(permit);
                        Ok::<(), Infallible>(())
                    });
                }
            }
            Err(failure) => {
                error!(%failure, "due events can't be read");
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(STORE_PAUSE_MIN) => {}
                }
            }
        }
    }

    async fn run(&self, id: EventId, event: Event) {
        let config = self.config_of(&event).await;
        let retry = self.config.retry.for_function(config.as_ref());
        let started_unix_ms = (self.deps.now_unix_ms)();
        if event.forwards >= RECURSIVE_INVOCATIONS_MAX && !self.may_recur(&event).await {
            return self.end(id, event, Condition::RecursiveLoop, None, config).await;
        }
        if retry.is_expired(&event, started_unix_ms) {
            return self.end(id, event, Condition::EventAgeExceeded, None, config).await;
        }
        self.metrics.started(started_unix_ms.saturating_sub(event.accepted_unix_ms));
        let outcome = self.deps.invoker.invoke_event(&event).await;
        if let Outcome::Deferred { reason } = &outcome {
            debug!(request_id = %event.request_id, function = %event.name, %reason, "event deferred");
        }
        let decision = retry.on_outcome(event, &outcome, (self.deps.now_unix_ms)());
        let deferred = matches!(outcome, Outcome::Deferred { .. });
        let last_run = match outcome {
            Outcome::Succeeded(run) | Outcome::FunctionError(run) => Some(run),
            Outcome::Deferred { .. } | Outcome::NoConcurrency | Outcome::NoFunction => None,
        };
        match decision {
            Decision::Done(event) => self.end(id, event, Condition::Success, last_run, config).await,
            Decision::Again(event) => {
                self.metrics.handled(if deferred { "deferred" } else { "retried" });
                self.insist("reschedule event", || self.deps.events.reschedule(id, event.clone())).await;
            }
            Decision::GiveUp(event, condition) => self.end(id, event, condition, last_run, config).await,
        }
    }

    /// The configuration that holds for an event; the platform's defaults if it can't be read.
    async fn config_of(&self, event: &Event) -> Option<EventInvokeConfig> {
        match self.configs.get(&EventInvokeConfig::path_for(event)).await {
            Ok(found) => found.map(|found| EventInvokeConfig::clone(&found.value)),
            Err(failure) => {
                error!(%failure, request_id = %event.request_id, "the event-invoke configuration can't be read");
                None
            }
        }
    }

    /// Whether the event's function may be one of many that follow from each other; not, if nobody can say.
    async fn may_recur(&self, event: &Event) -> bool {
        let found = self.recursion.get(&RecursionConfig::path(&event.account, &event.name)).await;
        found.is_ok_and(|found| found.is_some_and(|found| found.value.is_allowed()))
    }

    /// Takes an event out of the queue, and stores what it leaves behind.
    async fn end(
        &self,
        id: EventId,
        event: Event,
        condition: Condition,
        last_run: Option<Run>,
        config: Option<EventInvokeConfig>,
    ) {
        if condition != Condition::Success {
            let (request_id, function, attempts) = (&event.request_id, &event.name, event.failed_attempts);
            info!(%request_id, %function, condition = condition.name(), attempts, "event given up");
        }
        let unix_ms = (self.deps.now_unix_ms)();
        let ending = Ending { event: &event, condition, last_run: last_run.as_ref(), unix_ms };
        let Leaves { settlement, without_events, mut undelivered, delivered } =
            self.delivery.leaves(ending, config.as_ref()).await;
        let dropped = settlement.events.len() as u64;
        let mut kept = settlement.dead_letter.is_some();
        if !self.settle(id, settlement).await {
            warn!(request_id = %event.request_id, "no room in the queue of events for the record of this one");
            undelivered += dropped;
            kept = without_events.dead_letter.is_some();
            self.settle(id, without_events).await;
        }
        self.metrics.ended(condition, unix_ms.saturating_sub(event.accepted_unix_ms));
        self.metrics.delivered(&delivered, undelivered);
        self.metrics.handled(match (condition, kept) {
            (Condition::Success, _) => "succeeded",
            (_, true) => "dead_lettered",
            (_, false) => "forwarded",
        });
    }

    /// Settles, whatever it takes; says no if what the event leaves behind has no room.
    async fn settle(&self, id: EventId, leaves: Settlement) -> bool {
        let settled = self.insist("settle event", || async {
            match self.deps.events.settle(id, leaves.clone()).await {
                Ok(()) => Ok(true),
                Err(PushError::Full { .. }) => Ok(false),
                Err(PushError::Store(failure)) => Err(failure),
            }
        });
        settled.await.unwrap_or(true)
    }

    /// Does what must be written down, again and again while the store fails. Given up only when the process stops: the
    /// event is still stored then and runs again after the next start.
    async fn insist<T, F>(&self, operation: &str, mut write: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreFailure>>,
    {
        let mut pause = STORE_PAUSE_MIN;
        loop {
            match write().await {
                Ok(done) => return Some(done),
                Err(failure) => error!(%failure, operation, "the queue of events can't be written"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(STORE_PAUSE_MAX),
            }
        }
    }
}
