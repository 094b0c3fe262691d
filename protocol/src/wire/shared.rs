//! What several arrows share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_domain::limits::{ENVIRONMENT_MAX_BYTES, LAYERS_MAX};
use hearth_domain::{
    BundleDigest, FencingToken, FunctionCredentials, FunctionRef, FunctionSpec, InitFailure, LeaseTerms, Logging,
    SlotId, SlotOutcome, StartTimes,
};

use super::{Malformed, TEXT_MAX_BYTES, bounded, missing, nested, ns, parsed, required, text};
use crate::generated::v1 as pb;
use crate::{Unreachable, WorkerEndpoint};

/// Longest URL of a worker, bytes.
const URL_MAX_BYTES: usize = 512;

impl From<&FunctionRef> for pb::FunctionRef {
    fn from(function: &FunctionRef) -> Self {
        Self {
            account: function.account.to_string(),
            name: function.name.to_string(),
            version: function.version.to_string(),
            revision: function.revision.to_string(),
        }
    }
}

impl TryFrom<pb::FunctionRef> for FunctionRef {
    type Error = Malformed;

    fn try_from(wire: pb::FunctionRef) -> Result<Self, Malformed> {
        Ok(Self {
            account: parsed("account", &wire.account)?,
            name: parsed("name", &wire.name)?,
            version: parsed("version", &wire.version)?,
            revision: parsed("revision", &wire.revision)?,
        })
    }
}

impl From<&FunctionSpec> for pb::FunctionSpec {
    fn from(spec: &FunctionSpec) -> Self {
        Self {
            function: Some((&spec.function).into()),
            region: spec.region.clone(),
            runtime: spec.runtime.to_string(),
            handler: spec.handler.clone(),
            memory_mb: spec.memory.get(),
            timeout_s: spec.timeout.get(),
            ephemeral_storage_mb: spec.ephemeral_storage.get(),
            environment: spec.environment.clone(),
            bundle_sha256: digest_bytes(&spec.bundle),
            isolation: spec.isolation.map(|isolation| isolation.to_string()),
            snap_start: spec.snap_start,
            provisioned: spec.provisioned,
            layers_sha256: spec.layers.iter().map(digest_bytes).collect(),
            logging: Some((&spec.logging).into()),
            credentials: spec.credentials.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::FunctionSpec> for FunctionSpec {
    type Error = Malformed;

    fn try_from(wire: pb::FunctionSpec) -> Result<Self, Malformed> {
        let environment_bytes: usize = wire.environment.iter().map(|(key, value)| key.len() + value.len()).sum();
        if environment_bytes > ENVIRONMENT_MAX_BYTES {
            let reason = format_args!("{environment_bytes} bytes are more than {ENVIRONMENT_MAX_BYTES}");
            return Err(Malformed::new("environment", reason));
        }
        Ok(Self {
            function: required("function", wire.function)?,
            region: text("region", wire.region, TEXT_MAX_BYTES)?,
            runtime: parsed("runtime", &wire.runtime)?,
            handler: text("handler", wire.handler, TEXT_MAX_BYTES)?,
            memory: bounded("memory_mb", wire.memory_mb)?,
            timeout: bounded("timeout_s", wire.timeout_s)?,
            ephemeral_storage: bounded("ephemeral_storage_mb", wire.ephemeral_storage_mb)?,
            environment: wire.environment,
            bundle: digest("bundle_sha256", &wire.bundle_sha256)?,
            isolation: wire.isolation.map(|isolation| parsed("isolation", &isolation)).transpose()?,
            snap_start: wire.snap_start,
            provisioned: wire.provisioned,
            layers: layers(&wire.layers_sha256)?,
            logging: wire.logging.map(|logging| nested("logging", logging)).transpose()?.unwrap_or_default(),
            credentials: wire.credentials.map(TryInto::try_into).transpose()?,
        })
    }
}

fn layers(wire: &[Bytes]) -> Result<Vec<BundleDigest>, Malformed> {
    if wire.len() > LAYERS_MAX {
        return Err(Malformed::new("layers_sha256", format_args!("{} are more than {LAYERS_MAX}", wire.len())));
    }
    wire.iter().enumerate().map(|(index, layer)| digest(format!("layers_sha256[{index}]"), layer)).collect()
}

impl From<&Logging> for pb::Logging {
    fn from(logging: &Logging) -> Self {
        Self {
            format: logging.format.to_string(),
            application_level: logging.application_level.map(|level| level.to_string()),
            system_level: logging.system_level.map(|level| level.to_string()),
            group: logging.group.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<pb::Logging> for Logging {
    type Error = Malformed;

    fn try_from(wire: pb::Logging) -> Result<Self, Malformed> {
        let level = |field, level: Option<String>| level.map(|level| parsed(field, &level)).transpose();
        Ok(Self {
            format: parsed("format", &wire.format)?,
            application_level: level("application_level", wire.application_level)?,
            system_level: level("system_level", wire.system_level)?,
            group: wire.group.map(|group| parsed("group", &group)).transpose()?,
        })
    }
}

impl From<&FunctionCredentials> for pb::FunctionCredentials {
    fn from(credentials: &FunctionCredentials) -> Self {
        let FunctionCredentials { key_id, secret, session_token } = credentials.clone();
        Self { key_id, secret, session_token }
    }
}

impl TryFrom<pb::FunctionCredentials> for FunctionCredentials {
    type Error = Malformed;

    fn try_from(wire: pb::FunctionCredentials) -> Result<Self, Malformed> {
        Ok(Self {
            key_id: text("key_id", wire.key_id, TEXT_MAX_BYTES)?,
            secret: text("secret", wire.secret, TEXT_MAX_BYTES)?,
            session_token: text("session_token", wire.session_token, ENVIRONMENT_MAX_BYTES)?,
        })
    }
}

/// A function that many requests share.
pub(super) fn shared_spec(wire: Option<pb::FunctionSpec>) -> Result<Arc<FunctionSpec>, Malformed> {
    required("function", wire).map(Arc::new)
}

pub(super) fn digest_bytes(digest: &BundleDigest) -> Bytes {
    Bytes::copy_from_slice(&digest.0)
}

pub(super) fn digest(field: impl Into<String>, wire: &[u8]) -> Result<BundleDigest, Malformed> {
    let bytes = <[u8; 32]>::try_from(wire)
        .map_err(|_| Malformed::new(field, format_args!("{} bytes are no SHA-256", wire.len())))?;
    Ok(BundleDigest(bytes))
}

impl From<&WorkerEndpoint> for pb::WorkerEndpoint {
    fn from(endpoint: &WorkerEndpoint) -> Self {
        Self { id: endpoint.id.to_string(), url: endpoint.url.to_string() }
    }
}

impl TryFrom<pb::WorkerEndpoint> for WorkerEndpoint {
    type Error = Malformed;

    fn try_from(wire: pb::WorkerEndpoint) -> Result<Self, Malformed> {
        let url = text("url", wire.url, URL_MAX_BYTES)?;
        Ok(Self { id: parsed("id", &wire.id)?, url: Arc::from(url) })
    }
}

pub(super) fn lease_key(slot: SlotId, token: FencingToken) -> pb::LeaseKey {
    pb::LeaseKey { slot: slot.0, token: token.0 }
}

pub(super) fn lease_keys(leases: Vec<(SlotId, FencingToken)>) -> Vec<pb::LeaseKey> {
    leases.into_iter().map(|(slot, token)| lease_key(slot, token)).collect()
}

/// Slot and token have no invalid values; only that they are there is checked.
pub(super) fn lease(wire: Option<pb::LeaseKey>) -> Result<(SlotId, FencingToken), Malformed> {
    wire.map(slot_and_token).ok_or_else(|| missing("lease"))
}

pub(super) fn leases(wire: Vec<pb::LeaseKey>) -> Vec<(SlotId, FencingToken)> {
    wire.into_iter().map(slot_and_token).collect()
}

fn slot_and_token(wire: pb::LeaseKey) -> (SlotId, FencingToken) {
    (SlotId(wire.slot), FencingToken(wire.token))
}

impl From<LeaseTerms> for pb::LeaseTerms {
    fn from(terms: LeaseTerms) -> Self {
        Self {
            renew_after_ns: ns(terms.renew_after()),
            stop_using_after_ns: ns(terms.stop_using_after()),
            gone_after_ns: ns(terms.gone_after()),
        }
    }
}

impl TryFrom<pb::LeaseTerms> for LeaseTerms {
    type Error = Malformed;

    fn try_from(wire: pb::LeaseTerms) -> Result<Self, Malformed> {
        let [renew, stop, gone] =
            [wire.renew_after_ns, wire.stop_using_after_ns, wire.gone_after_ns].map(Duration::from_nanos);
        Self::checked(renew, stop, gone).map_err(|wrong| Malformed::new("renew_after_ns", wrong))
    }
}

impl From<StartTimes> for pb::StartTimes {
    fn from(times: StartTimes) -> Self {
        Self {
            from_pool: times.from_pool,
            sandbox_ns: ns(times.sandbox),
            attach_ns: ns(times.attach),
            init_ns: ns(times.init),
        }
    }
}

impl TryFrom<pb::StartTimes> for StartTimes {
    type Error = Malformed;

    fn try_from(wire: pb::StartTimes) -> Result<Self, Malformed> {
        let [sandbox, attach, init] = [wire.sandbox_ns, wire.attach_ns, wire.init_ns].map(Duration::from_nanos);
        Ok(Self { from_pool: wire.from_pool, sandbox, attach, init })
    }
}

impl From<InitFailure> for pb::InitFailure {
    fn from(failure: InitFailure) -> Self {
        Self {
            error_type: failure.error_type,
            document: failure.document,
            init_duration_ns: ns(failure.init_duration),
            max_memory_used_bytes: failure.max_memory_used_bytes,
            log_tail: failure.log_tail.into(),
        }
    }
}

impl TryFrom<pb::InitFailure> for InitFailure {
    type Error = Malformed;

    fn try_from(wire: pb::InitFailure) -> Result<Self, Malformed> {
        Ok(Self {
            error_type: text("error_type", wire.error_type, TEXT_MAX_BYTES)?,
            // An error document may be as large as any answer: the message's own limit bounds it.
            document: wire.document,
            init_duration: Duration::from_nanos(wire.init_duration_ns),
            max_memory_used_bytes: wire.max_memory_used_bytes,
            log_tail: wire.log_tail.into(),
        })
    }
}

impl From<SlotOutcome> for pb::SlotOutcome {
    fn from(outcome: SlotOutcome) -> Self {
        match outcome {
            SlotOutcome::Reusable => Self::Reusable,
            SlotOutcome::Gone => Self::Gone,
            SlotOutcome::Unreachable => Self::Unreachable,
        }
    }
}

pub(super) fn slot_outcome(field: &'static str, wire: i32) -> Result<SlotOutcome, Malformed> {
    match pb::SlotOutcome::try_from(wire) {
        Ok(pb::SlotOutcome::Reusable) => Ok(SlotOutcome::Reusable),
        Ok(pb::SlotOutcome::Gone) => Ok(SlotOutcome::Gone),
        Ok(pb::SlotOutcome::Unreachable) => Ok(SlotOutcome::Unreachable),
        Ok(pb::SlotOutcome::Unspecified) | Err(_) => Err(unknown_variant(field, wire)),
    }
}

/// An enum value that this build does not know.
pub(super) fn unknown_variant(field: &'static str, wire: i32) -> Malformed {
    Malformed::new(field, format_args!("{wire} is no value of this enum"))
}

impl From<Unreachable> for pb::Unreachable {
    fn from(unreachable: Unreachable) -> Self {
        Self { role: unreachable.role, reason: unreachable.reason, not_sent: unreachable.not_sent }
    }
}

impl TryFrom<pb::Unreachable> for Unreachable {
    type Error = Malformed;

    fn try_from(wire: pb::Unreachable) -> Result<Self, Malformed> {
        Ok(Self {
            role: text("role", wire.role, TEXT_MAX_BYTES)?,
            reason: text("reason", wire.reason, TEXT_MAX_BYTES)?,
            not_sent: wire.not_sent,
        })
    }
}
