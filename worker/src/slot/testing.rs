//! What tests of slots share.

use std::collections::BTreeMap;

use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FunctionName, FunctionRef, FunctionSpec, MemorySize, RevisionId,
    Timeout, Version,
};

/// A small function on `runtime`, 3 seconds long.
pub(crate) fn function(runtime: &str) -> FunctionSpec {
    FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new("hello").unwrap(),
            version: Version::Latest,
            revision: RevisionId::new("rev-1").unwrap(),
        },
        region: "us-east-1".into(),
        runtime: runtime.parse().unwrap(),
        handler: "index.handler".into(),
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
    }
}
