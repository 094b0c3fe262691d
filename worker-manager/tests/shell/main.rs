//! The worker manager as a whole, against a placement of the test's own, in paused time.
#![forbid(unsafe_code)]

mod calls;
mod crowd;
mod outages;
mod placement;
mod start_stop;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FunctionName, FunctionRef, FunctionSpec, HolderId, MemorySize,
    RequestId, RevisionId, Runtime, SlotOutcome, Timeout, Version,
};
use hearth_protocol::WorkerManager as _;
use hearth_protocol::worker_manager::{Completion, ConcurrencyLimits, Reservation, ReserveError, ReserveRequest};
use hearth_worker_manager::{Config, Deps, WorkerManager};
use prometheus::Registry;

use placement::TestPlacement;

const WAIT: Duration = Duration::from_secs(10);

/// A manager, its placement and its metrics.
struct Cluster {
    placement: Arc<TestPlacement>,
    manager: Arc<WorkerManager>,
    registry: Registry,
}

impl Cluster {
    fn start() -> Self {
        Self::on(TestPlacement::new())
    }

    fn on(placement: Arc<TestPlacement>) -> Self {
        let registry = Registry::new();
        let config = Config::new(HolderId::new("manager-1").unwrap());
        let deps = Deps { placement: placement.clone() };
        let manager = WorkerManager::start(config, deps, &registry).unwrap();
        Self { placement, manager, registry }
    }

    async fn reserve(&self, spec: &Arc<FunctionSpec>, request: &str) -> Result<Reservation, ReserveError> {
        let request = ReserveRequest {
            request_id: id(request),
            function: spec.clone(),
            wait: WAIT,
            limits: ConcurrencyLimits::default(),
        };
        self.manager.reserve(request).await
    }

    async fn complete(&self, request: &str, reservation: &Reservation) {
        self.manager.complete(completion(request, reservation, SlotOutcome::Reusable)).await.unwrap();
    }

    /// A call from its beginning to its end.
    async fn call(&self, spec: &Arc<FunctionSpec>, request: &str) -> Result<Reservation, ReserveError> {
        let reservation = self.reserve(spec, request).await?;
        self.complete(request, &reservation).await;
        Ok(reservation)
    }

    fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("no such metric");
        let metric = family.get_metric().iter().find(|metric| metric.get_label().iter().any(|l| l.value() == label));
        let metric = metric.expect("no such label");
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }
}

fn completion(request: &str, reservation: &Reservation, outcome: SlotOutcome) -> Completion {
    Completion { request_id: id(request), slot: reservation.slot, token: reservation.token, outcome }
}

fn id(request: &str) -> RequestId {
    RequestId::new(request).unwrap()
}

/// A function of 128 MB with a timeout of 3 seconds.
fn function(name: &str) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new(name).unwrap(),
            version: Version::Latest,
            revision: RevisionId::new("1").unwrap(),
        },
        region: "us-east-1".into(),
        runtime: "python3.12".parse::<Runtime>().unwrap(),
        handler: "app.handler".into(),
        memory: MemorySize::new(128).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: BTreeMap::new(),
        bundle: BundleDigest([7; 32]),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    })
}
