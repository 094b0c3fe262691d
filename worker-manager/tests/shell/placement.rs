//! A placement with one worker of a given size, which can be switched off and told to misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{FencingToken, FunctionRef, HolderId, SlotId, WorkerId};
use hearth_protocol::placement::{
    ClaimOutcome, ClaimRequest, FleetWorker, Grant, Placement, ReleaseRequest, RenewRequest, RenewResponse, ReportAck,
    WorkerReport,
};
use hearth_protocol::{Unreachable, WorkerEndpoint};
use tokio::time::sleep;

pub(crate) struct TestPlacement {
    state: Mutex<State>,
}

pub(crate) struct State {
    /// Nobody answers.
    pub(crate) down: bool,
    /// How long a slot's init takes.
    pub(crate) init: Duration,
    /// How many slots there is room for.
    pub(crate) room: usize,
    /// The next claims' streams end before their first outcome.
    pub(crate) cut_claims: u32,
    /// What is leased.
    pub(crate) leased: BTreeMap<SlotId, (FencingToken, FunctionRef)>,
    /// The count of every claim so far.
    pub(crate) claims: Vec<u32>,
    /// Every slot given back so far.
    pub(crate) released: Vec<SlotId>,
    /// Renewals so far.
    pub(crate) renewals: u32,
    last: u64,
}

impl TestPlacement {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            down: false,
            init: Duration::from_millis(100),
            room: usize::MAX,
            cut_claims: 0,
            leased: BTreeMap::new(),
            claims: Vec::new(),
            released: Vec::new(),
            renewals: 0,
            last: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn up(&self) -> Result<MutexGuard<'_, State>, Unreachable> {
        let state = self.state();
        if state.down {
            return Err(Unreachable { role: "placement".into(), reason: "it is down".into(), not_sent: true });
        }
        Ok(state)
    }
}

impl State {
    fn grant(&mut self, function: &FunctionRef) -> ClaimOutcome {
        if self.leased.len() >= self.room {
            return ClaimOutcome::NoCapacity { reason: "the worker is full".into(), full: true };
        }
        self.last += 1;
        let (slot, token) = (SlotId(self.last), FencingToken(self.last));
        self.leased.insert(slot, (token, function.clone()));
        ClaimOutcome::Granted(grant(slot, token, function.clone()))
    }
}

pub(crate) fn grant(slot: SlotId, token: FencingToken, function: FunctionRef) -> Grant {
    let worker = WorkerEndpoint { id: WorkerId::new("worker-1").unwrap(), url: "".into() };
    Grant { slot, token, terms: LEASE_TERMS, worker, function, start: None }
}

#[async_trait]
impl Placement for TestPlacement {
    async fn claim(&self, request: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable> {
        let (init, outcomes) = {
            let mut state = self.up()?;
            state.claims.push(request.count);
            if state.cut_claims > 0 {
                state.cut_claims -= 1;
                return Ok(futures::stream::empty().boxed());
            }
            let outcomes: Vec<_> = (0..request.count).map(|_| state.grant(&request.function.function)).collect();
            (state.init, outcomes)
        };
        // Refusals are known at once, slots after their init, all inits at the same time.
        let known = move |outcome: ClaimOutcome| async move {
            if matches!(outcome, ClaimOutcome::Granted(_)) {
                sleep(init).await;
            }
            outcome
        };
        Ok(futures::stream::iter(outcomes).map(known).buffer_unordered(usize::MAX).boxed())
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, Unreachable> {
        let mut state = self.up()?;
        state.renewals += 1;
        let held = |(slot, token): &(SlotId, FencingToken)| {
            state.leased.get(slot).is_some_and(|(newest, _)| newest == token).then_some(LEASE_TERMS)
        };
        let renewed = request.leases.iter().map(held).collect();
        Ok(RenewResponse { renewed, give_back_mb: 0 })
    }

    async fn release(&self, request: ReleaseRequest) -> Result<(), Unreachable> {
        let mut state = self.up()?;
        for (slot, _) in request.leases {
            state.leased.remove(&slot);
            state.released.push(slot);
        }
        Ok(())
    }

    async fn recover(&self, _: HolderId) -> Result<Vec<Grant>, Unreachable> {
        let mut state = self.up()?;
        let mut grants = Vec::new();
        for (slot, (token, function)) in &mut state.leased {
            token.0 += 1_000;
            grants.push(grant(*slot, *token, function.clone()));
        }
        Ok(grants)
    }

    async fn report(&self, _: WorkerReport) -> Result<ReportAck, Unreachable> {
        Ok(ReportAck::default())
    }

    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable> {
        self.up().map(|_| Vec::new())
    }
}
