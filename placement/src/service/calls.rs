//! Calls to workers: bounded in number per worker and in time.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::timing::INIT_TIMEOUT;
use hearth_domain::{FencingToken, SlotId, WorkerId};
use hearth_protocol::worker::{FenceRequest, InitSlot, InitSlotError, Worker};
use hearth_protocol::{Unreachable, WorkerDirectory, WorkerEndpoint};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::event::{Event, InitResult};
use crate::config::Config;

/// Makes calls in tasks of their own and posts their results as events.
pub(super) struct Calls {
    config: Config,
    workers: Arc<dyn WorkerDirectory>,
    lanes: HashMap<WorkerId, Lane>,
    /// Gathered per worker, so that many ends are one call.
    reclaims: BTreeMap<WorkerId, (WorkerEndpoint, Vec<(SlotId, FencingToken)>)>,
    events: mpsc::WeakSender<Event>,
    tasks: Tasks,
}

/// What may be under way to one worker. Short calls don't wait behind inits.
#[derive(Debug, Clone)]
struct Lane {
    inits: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Calls {
    pub(super) fn new(
        config: Config,
        workers: Arc<dyn WorkerDirectory>,
        events: mpsc::WeakSender<Event>,
        tasks: Tasks,
    ) -> Self {
        Self { config, workers, lanes: HashMap::new(), reclaims: BTreeMap::new(), events, tasks }
    }

    /// Has a worker make a slot.
    pub(super) fn init_slot(&mut self, endpoint: &WorkerEndpoint, request: InitSlot) {
        let (worker, lane) = self.reach(endpoint);
        // One try, and within the call a second one limited by the function's timeout.
        let longest = INIT_TIMEOUT + request.function.timeout.duration() + self.config.init_margin;
        let (slot, token) = (request.slot, request.token);
        let endpoint = endpoint.clone();
        self.spawn("init slot", async move {
            let _place = lane.inits.acquire().await;
            let started = Instant::now();
            let result = match timeout(longest, worker.init_slot(request)).await {
                Ok(result) => result,
                Err(_) => Err(InitSlotError::Unreachable(too_slow(&endpoint, longest))),
            };
            Some(Event::Init(InitResult { worker: endpoint, slot, token, took: started.elapsed(), result }))
        });
    }

    /// Has a worker give a slot a new token.
    pub(super) fn fence(&mut self, endpoint: &WorkerEndpoint, request: FenceRequest) {
        let (worker, lane) = self.reach(endpoint);
        let longest = self.config.call_timeout;
        let (slot, token) = (request.slot, request.token);
        let endpoint = endpoint.clone();
        self.spawn("fence slot", async move {
            let call = within(&lane.calls, longest, worker.fence(request));
            let result = call.await.unwrap_or_else(|TooSlow| Err(too_slow(&endpoint, longest)));
            Some(Event::Fence { slot, token, result })
        });
    }

    /// Has a worker end a slot, at the next [`Self::flush`].
    pub(super) fn reclaim(&mut self, endpoint: &WorkerEndpoint, slot: SlotId, token: FencingToken) {
        let (_, slots) = self.reclaims.entry(endpoint.id.clone()).or_insert_with(|| (endpoint.clone(), Vec::new()));
        slots.push((slot, token));
    }

    /// Sends what was gathered.
    pub(super) fn flush(&mut self) {
        for (endpoint, slots) in std::mem::take(&mut self.reclaims).into_values() {
            let (worker, lane) = self.reach(&endpoint);
            let longest = self.config.call_timeout;
            self.spawn("reclaim slots", async move {
                let failure = match within(&lane.calls, longest, worker.reclaim(slots)).await {
                    Ok(result) => result.err(),
                    Err(TooSlow) => Some(too_slow(&endpoint, longest)),
                };
                if let Some(failure) = failure {
                    // Not lost: the answer to the worker's next report asks again.
                    tracing::debug!(worker = %endpoint.id, %failure, "reclaim did not arrive");
                }
                None
            });
        }
    }

    /// Forgets workers that the ledger has forgotten.
    pub(super) fn keep(&mut self, known: impl Fn(&WorkerId) -> bool) {
        self.lanes.retain(|worker, _| known(worker));
    }

    fn reach(&mut self, endpoint: &WorkerEndpoint) -> (Arc<dyn Worker>, Lane) {
        let config = &self.config;
        let lane = self.lanes.entry(endpoint.id.clone()).or_insert_with(|| Lane {
            inits: Arc::new(Semaphore::new(config.inits_per_worker)),
            calls: Arc::new(Semaphore::new(config.calls_per_worker)),
        });
        (self.workers.worker(endpoint), lane.clone())
    }

    fn spawn(&self, name: &'static str, call: impl Future<Output = Option<Event>> + Send + 'static) {
        let events = self.events.clone();
        self.tasks.spawn(name, OnFailure::Log, async move {
            let event = call.await;
            if let (Some(event), Some(events)) = (event, events.upgrade()) {
                // Fails only if the ledger's owner has stopped; nobody waits for the result then.
                let _ = events.send(event).await;
            }
            Ok::<(), Infallible>(())
        });
    }
}

/// A call did not end in time.
struct TooSlow;

/// The wait for a place in the lane counts as part of the call.
async fn within<T>(lane: &Semaphore, longest: Duration, call: impl Future<Output = T>) -> Result<T, TooSlow> {
    let placed = async {
        let _place = lane.acquire().await;
        call.await
    };
    timeout(longest, placed).await.map_err(|_| TooSlow)
}

fn too_slow(endpoint: &WorkerEndpoint, longest: Duration) -> Unreachable {
    Unreachable {
        role: format!("worker {}", endpoint.id),
        reason: format!("no answer within {longest:?}"),
        not_sent: false,
    }
}
