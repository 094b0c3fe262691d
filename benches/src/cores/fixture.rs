//! What the cores are told of: functions, workers, grants.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_domain::runtime::ProvidedOs;
use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FencingToken, FunctionName, FunctionRef, FunctionSpec, HolderId,
    Isolation, Logging, MemorySize, RequestId, RevisionId, Runtime, SlotId, Timeout, Version, WorkerId,
};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{Capacity, Grant, Load, PooledCount, WorkerReport};

/// What all functions run on.
pub const RUNTIME: Runtime = Runtime::Provided(ProvidedOs::Al2023);
/// Memory of a function where nothing else is said, MB.
pub const MEMORY_MB: u32 = 128;

/// The worker manager.
#[must_use]
pub fn holder() -> HolderId {
    HolderId::new("manager-1").expect("a valid id")
}

/// Function number `n`.
#[must_use]
pub fn function(n: usize, memory_mb: u32, timeout_s: u32) -> Arc<FunctionSpec> {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(n as u64).to_le_bytes());
    Arc::new(FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").expect("twelve digits"),
            name: FunctionName::new(&format!("function-{n}")).expect("a valid name"),
            version: Version::Latest,
            revision: RevisionId::new(&format!("0b6c2f54-9d4e-4a53-8b6e-{n:012}")).expect("a valid id"),
        },
        region: "us-east-1".to_owned(),
        runtime: RUNTIME,
        handler: String::new(),
        memory: MemorySize::new(memory_mb).expect("within bounds"),
        timeout: Timeout::new(timeout_s).expect("within bounds"),
        ephemeral_storage: EphemeralStorage::new(512).expect("within bounds"),
        environment: BTreeMap::new(),
        bundle: BundleDigest(digest),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: Logging::default(),
        credentials: None,
    })
}

/// Where worker number `n` is. [`worker_number`] reads it back.
#[must_use]
pub fn endpoint(n: usize) -> WorkerEndpoint {
    WorkerEndpoint { id: WorkerId::new(&format!("worker-{n}")).expect("a valid id"), url: "".into() }
}

/// The number of a worker of [`endpoint`].
#[must_use]
pub fn worker_number(id: &WorkerId) -> Option<usize> {
    id.as_str().strip_prefix("worker-")?.parse().ok()
}

/// The first report of worker number `n`.
#[must_use]
pub fn first_report(n: usize, capacity: Capacity) -> WorkerReport {
    WorkerReport {
        worker: endpoint(n),
        incarnation: 1,
        sequence: 1,
        capacity,
        load: Load::default(),
        runtimes: vec![RUNTIME],
        isolation: Isolation::Jail,
        pooled: vec![PooledCount { runtime: RUNTIME, memory_mb: MEMORY_MB, ready: 2 }],
        cached_bundles: Vec::new(),
        slots: Vec::new(),
        draining: false,
    }
}

/// A worker with room for so many slots of [`MEMORY_MB`].
#[must_use]
pub fn room_for(slots: u32) -> Capacity {
    let memory_mb = u64::from(slots) * u64::from(MEMORY_MB);
    Capacity { memory_mb, promised_memory_mb: memory_mb, milli_cpus: memory_mb, max_slots: 2 * slots }
}

/// A slot of a function on worker 1, under the usual terms.
#[must_use]
pub fn grant(slot: u64, function: &FunctionSpec) -> Grant {
    Grant {
        slot: SlotId(slot),
        token: FencingToken(slot),
        terms: LEASE_TERMS,
        worker: endpoint(1),
        function: function.function.clone(),
        start: None,
    }
}

/// Request number `n`, as long as real ones.
#[must_use]
pub fn request_id(n: u64) -> RequestId {
    RequestId::new(&format!("6f1c8e0a-3f0b-4e55-9a55-{n:012}")).expect("a valid id")
}
