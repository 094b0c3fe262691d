//! The functions that are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_domain::runtime::ProvidedOs;
use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FunctionName, FunctionRef, FunctionSpec, MemorySize, RevisionId,
    Runtime, Timeout, Version,
};

/// The only runtime there is.
pub(super) const RUNTIME: Runtime = Runtime::Provided(ProvidedOs::Al2023);
/// Longest run of a call, seconds: short, so that a run holds many.
pub(super) const TIMEOUT_S: u32 = 1;

/// Function number `index`.
pub(super) fn function(index: usize, memory_mb: u32) -> Arc<FunctionSpec> {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(index as u64).to_le_bytes());
    Arc::new(FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").expect("twelve digits"),
            name: FunctionName::new(&format!("function-{index}")).expect("a valid name"),
            version: Version::Latest,
            revision: RevisionId::new("r1").expect("a valid revision"),
        },
        region: "us-east-1".to_owned(),
        runtime: RUNTIME,
        handler: String::new(),
        memory: MemorySize::new(memory_mb).expect("within bounds"),
        timeout: Timeout::new(TIMEOUT_S).expect("within bounds"),
        ephemeral_storage: EphemeralStorage::new(512).expect("within bounds"),
        environment: BTreeMap::new(),
        bundle: BundleDigest(digest),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    })
}
