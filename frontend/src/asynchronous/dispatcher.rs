//! The shell around the schedule: takes due events, runs them, settles them.
//!
//! Waits for what can make an event due (the time of the next one, a change of the queue, an event of this process that
//! ended), never by looking again and again. Once it is asked to stop it takes no more events; those that run may
//! finish, the others stay in the queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_store::StoreFailure;
use hearth_store::event::{DeadLetter, Event, EventId, PushError};
use prometheus::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::asynchronous::destination::{self, FORWARDS_MAX, FunctionTarget};
use crate::asynchronous::metrics::Metrics;
use crate::asynchronous::schedule::{Condition, Decision};
use crate::asynchronous::{Config, Deps, FailedRun, Outcome};

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
    let runner = Arc::new(EventRunner { config, deps, metrics, stop: tasks.stop_token() });
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
        if self.config.retry.is_expired(&event, (self.deps.now_unix_ms)()) {
            return self.give_up(id, event, Condition::EventAgeExceeded, None).await;
        }
        let outcome = self.deps.invoker.invoke_event(&event).await;
        if let Outcome::Deferred { reason } = &outcome {
            debug!(request_id = %event.request_id, function = %event.name, %reason, "event deferred");
        }
        match self.config.retry.on_outcome(event, &outcome, (self.deps.now_unix_ms)()) {
            Decision::Done => {
                self.metrics.handled("succeeded");
                self.insist("settle event", || self.deps.events.settle(id, None)).await;
            }
            Decision::Again(event) => {
                let deferred = matches!(outcome, Outcome::Deferred { .. });
                self.metrics.handled(if deferred { "deferred" } else { "retried" });
                self.insist("reschedule event", || self.deps.events.reschedule(id, event.clone())).await;
            }
            Decision::GiveUp(event, condition) => {
                let last_run = if let Outcome::FunctionError(run) = outcome { Some(run) } else { None };
                self.give_up(id, event, condition, last_run).await;
            }
        }
    }

    async fn give_up(&self, id: EventId, event: Event, condition: Condition, last_run: Option<FailedRun>) {
        let (request_id, function) = (event.request_id.clone(), event.name.clone());
        info!(%request_id, %function, condition = condition.name(), attempts = event.failed_attempts, "event given up");
        let forwarded = self.forward(&event, condition, last_run.as_ref()).await;
        let dead_letter = (!forwarded).then(|| DeadLetter {
            event,
            condition: condition.name().to_owned(),
            error: last_run.map(|run| String::from_utf8_lossy(&run.document).into_owned()),
            unix_ms: (self.deps.now_unix_ms)(),
        });
        self.metrics.handled(if forwarded { "forwarded" } else { "dead_lettered" });
        self.insist("settle event", || self.deps.events.settle(id, dead_letter.clone())).await;
    }

    /// Sends the record of a failure to the function's `OnFailure` function. Says no if there is none, or none that
    /// can take it.
    async fn forward(&self, event: &Event, condition: Condition, last_run: Option<&FailedRun>) -> bool {
        let Some(target) = self.target(event).await else { return false };
        let now_unix_ms = (self.deps.now_unix_ms)();
        let (request_id, arn) = (&event.request_id, &target.arn);
        if event.forwards >= FORWARDS_MAX {
            warn!(%request_id, %arn, "failures of failures: the record becomes a dead letter");
            return false;
        }
        let Some(payload) = destination::record(event, condition, last_run, now_unix_ms) else {
            warn!(%request_id, %arn, "the record of the failure is too large for an event and becomes a dead letter");
            return false;
        };
        let record = Event {
            request_id: fresh_request_id(),
            account: event.account.clone(),
            name: target.name,
            version: target.version,
            alias: None,
            invoked_arn: target.arn.clone(),
            payload,
            accepted_unix_ms: now_unix_ms,
            due_unix_ms: now_unix_ms,
            failed_attempts: 0,
            deferrals: 0,
            forwards: event.forwards + 1,
        };
        match self.deps.events.push(record).await {
            Ok(_) => true,
            Err(failure @ (PushError::Full { .. } | PushError::Store(_))) => {
                warn!(%request_id, %arn, %failure, "the record of the failure becomes a dead letter");
                false
            }
        }
    }

    /// The function that gets the records of this event's function, if there is one and it exists.
    async fn target(&self, event: &Event) -> Option<FunctionTarget> {
        let failed = |failure: StoreFailure| error!(%failure, request_id = %event.request_id, "no OnFailure target");
        let catalog = &self.deps.catalog;
        let source = catalog.get(&event.account, &event.name, event.version).await.map_err(failed).ok()??;
        let target = FunctionTarget::read(source.dead_letter_target.as_deref()?, &event.account)?;
        let found = catalog.get(&event.account, &target.name, target.version).await.map_err(failed).ok()?;
        found.is_some().then_some(target)
    }

    /// Does what must be written down, again and again while the store fails. Given up only when the process stops: the
    /// event is still stored then and runs again after the next start.
    async fn insist<F>(&self, operation: &str, mut write: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), StoreFailure>>,
    {
        let mut pause = STORE_PAUSE_MIN;
        while let Err(failure) = write().await {
            error!(%failure, operation, "the queue of events can't be written");
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(STORE_PAUSE_MAX),
            }
        }
    }
}

fn fresh_request_id() -> hearth_domain::RequestId {
    let id = Uuid::new_v4().to_string();
    hearth_domain::RequestId::new(&id).unwrap_or_else(|_| unreachable!("a UUID is a request id"))
}
