//! Records to store.

use std::collections::BTreeMap;

use bytes::Bytes;
use hearth_domain::{AccountId, BundleDigest, EphemeralStorage, FunctionRef, MemorySize, RevisionId, Timeout, Version};
use hearth_store::catalog::{FunctionRecord, FunctionState, UpdateStatus};
use hearth_store::event::Event;
use hearth_store::message::Message;

pub(crate) fn account() -> AccountId {
    AccountId::new("000000000000").unwrap()
}

pub(crate) fn record(name: &str, revision: &str) -> FunctionRecord {
    FunctionRecord {
        function: FunctionRef {
            account: account(),
            name: name.parse().unwrap(),
            version: Version::Latest,
            revision: RevisionId::new(revision).unwrap(),
        },
        region: "us-east-1".into(),
        runtime: "python3.11".parse().unwrap(),
        role: "arn:aws:iam::000000000000:role/r".into(),
        handler: "index.handler".into(),
        description: String::new(),
        memory: MemorySize::new(128).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: Some(BTreeMap::from([("KEY".into(), "välue".into())])),
        bundle: BundleDigest([7; 32]),
        code_size: 123,
        unzipped_bytes: 0,
        last_modified_unix_ms: 1,
        dead_letter_target: None,
        tags: BTreeMap::new(),
        snap_start: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        state: FunctionState::Failed { reason: "none".into() },
        last_update: UpdateStatus::Successful,
        revision_id: None,
    }
}

pub(crate) fn event(request_id: &str, due_unix_ms: u64, payload: &[u8]) -> Event {
    Event {
        request_id: request_id.parse().unwrap(),
        account: account(),
        name: "f".parse().unwrap(),
        version: Version::Latest,
        alias: None,
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        payload: Bytes::copy_from_slice(payload),
        accepted_unix_ms: 1,
        due_unix_ms,
        failed_attempts: 0,
        deferrals: 0,
        forwards: 0,
    }
}

pub(crate) fn message(channel: &str, id: &str, body: &[u8]) -> Message {
    Message {
        channel: channel.into(),
        id: id.into(),
        body: Bytes::copy_from_slice(body),
        attributes: BTreeMap::new(),
        sent_unix_ms: 1,
        visible_unix_ms: 0,
    }
}
