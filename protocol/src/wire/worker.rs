//! placement → worker, frontend → worker.

use std::time::Duration;

use hearth_domain::limits::{CLIENT_CONTEXT_MAX_BYTES, SYNC_REQUEST_MAX_BYTES};
use hearth_domain::{FunctionError, FunctionResponse, InvocationUsage, SlotId};

use super::shared::{lease, lease_key, shared_spec, slot_outcome, unknown_variant};
use super::{Malformed, TEXT_MAX_BYTES, missing, nested, ns, parsed, required, text};
use crate::generated::v1 as pb;
use crate::worker::{
    FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse,
};

impl From<InitSlot> for pb::InitSlotRequest {
    fn from(request: InitSlot) -> Self {
        Self {
            lease: Some(lease_key(request.slot, request.token)),
            holder: request.holder.to_string(),
            function: Some((&*request.function).into()),
        }
    }
}

impl TryFrom<pb::InitSlotRequest> for InitSlot {
    type Error = Malformed;

    fn try_from(wire: pb::InitSlotRequest) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        Ok(Self { slot, token, holder: parsed("holder", &wire.holder)?, function: shared_spec(wire.function)? })
    }
}

impl From<Result<InitDone, InitSlotError>> for pb::InitSlotReply {
    fn from(outcome: Result<InitDone, InitSlotError>) -> Self {
        use pb::init_slot_reply::Outcome;
        let outcome = match outcome {
            Ok(done) => Outcome::Done(pb::InitDone { times: Some(done.times.into()) }),
            Err(error) => Outcome::Error(error.into()),
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<pb::InitSlotReply> for Result<InitDone, InitSlotError> {
    type Error = Malformed;

    fn try_from(wire: pb::InitSlotReply) -> Result<Self, Malformed> {
        use pb::init_slot_reply::Outcome;
        match wire.outcome.ok_or_else(|| missing("outcome"))? {
            Outcome::Done(done) => Ok(Ok(InitDone { times: required("done.times", done.times)? })),
            Outcome::Error(error) => nested("error", error).map(Err),
        }
    }
}

impl From<InitSlotError> for pb::InitSlotError {
    fn from(error: InitSlotError) -> Self {
        use pb::init_slot_error::{Kind, Refused};
        let kind = match error {
            InitSlotError::InitFailed(failure) => Kind::InitFailed((*failure).into()),
            InitSlotError::Refused { reason } => Kind::Refused(Refused { reason }),
            InitSlotError::Unreachable(unreachable) => Kind::Unreachable(unreachable.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::InitSlotError> for InitSlotError {
    type Error = Malformed;

    fn try_from(wire: pb::InitSlotError) -> Result<Self, Malformed> {
        use pb::init_slot_error::Kind;
        Ok(match wire.kind.ok_or_else(|| missing("kind"))? {
            Kind::InitFailed(failure) => Self::InitFailed(Box::new(nested("init_failed", failure)?)),
            Kind::Refused(refused) => Self::Refused { reason: text("refused.reason", refused.reason, TEXT_MAX_BYTES)? },
            Kind::Unreachable(unreachable) => Self::Unreachable(nested("unreachable", unreachable)?),
        })
    }
}

impl From<InvokeRequest> for pb::InvokeRequest {
    fn from(request: InvokeRequest) -> Self {
        Self {
            request_id: request.request_id.to_string(),
            lease: Some(lease_key(request.slot, request.token)),
            payload: request.payload,
            invoked_arn: request.invoked_arn,
            client_context: request.client_context,
            trace_id: request.trace_id,
            log_tail: request.log_tail,
        }
    }
}

impl TryFrom<pb::InvokeRequest> for InvokeRequest {
    type Error = Malformed;

    fn try_from(wire: pb::InvokeRequest) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        if wire.payload.len() > SYNC_REQUEST_MAX_BYTES {
            let reason = format_args!("{} bytes are more than {SYNC_REQUEST_MAX_BYTES}", wire.payload.len());
            return Err(Malformed::new("payload", reason));
        }
        let bounded = |field, value: Option<String>, max| value.map(|value| text(field, value, max)).transpose();
        Ok(Self {
            request_id: parsed("request_id", &wire.request_id)?,
            slot,
            token,
            payload: wire.payload,
            invoked_arn: text("invoked_arn", wire.invoked_arn, TEXT_MAX_BYTES)?,
            client_context: bounded("client_context", wire.client_context, CLIENT_CONTEXT_MAX_BYTES)?,
            trace_id: bounded("trace_id", wire.trace_id, TEXT_MAX_BYTES)?,
            log_tail: wire.log_tail,
        })
    }
}

impl From<Result<InvokeResponse, InvokeError>> for pb::InvokeReply {
    fn from(outcome: Result<InvokeResponse, InvokeError>) -> Self {
        use pb::invoke_reply::Outcome;
        let outcome = match outcome {
            Ok(response) => Outcome::Response(response.into()),
            Err(error) => Outcome::Error(error.into()),
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<pb::InvokeReply> for Result<InvokeResponse, InvokeError> {
    type Error = Malformed;

    fn try_from(wire: pb::InvokeReply) -> Result<Self, Malformed> {
        use pb::invoke_reply::Outcome;
        match wire.outcome.ok_or_else(|| missing("outcome"))? {
            Outcome::Response(response) => nested("response", response).map(Ok),
            Outcome::Error(error) => nested("error", error).map(Err),
        }
    }
}

impl From<InvokeResponse> for pb::InvokeResponse {
    fn from(response: InvokeResponse) -> Self {
        use pb::invoke_response::{FunctionError, Response};
        let given = match response.response {
            FunctionResponse::Success(document) => Response::Success(document),
            FunctionResponse::Error(error) => {
                Response::Error(FunctionError { error_type: error.error_type, document: error.document })
            }
        };
        let mut wire = Self {
            response: Some(given),
            usage: Some(response.usage.into()),
            log_tail: response.log_tail,
            ..Self::default()
        };
        wire.set_slot(response.slot.into());
        wire
    }
}

impl TryFrom<pb::InvokeResponse> for InvokeResponse {
    type Error = Malformed;

    fn try_from(wire: pb::InvokeResponse) -> Result<Self, Malformed> {
        use pb::invoke_response::Response;
        let response = match wire.response.ok_or_else(|| missing("response"))? {
            Response::Success(document) => FunctionResponse::Success(document),
            Response::Error(error) => FunctionResponse::Error(FunctionError {
                error_type: text("error.error_type", error.error_type, TEXT_MAX_BYTES)?,
                document: error.document,
            }),
        };
        Ok(Self {
            response,
            usage: required("usage", wire.usage)?,
            log_tail: wire.log_tail,
            slot: slot_outcome("slot", wire.slot)?,
        })
    }
}

impl From<InvocationUsage> for pb::InvocationUsage {
    fn from(usage: InvocationUsage) -> Self {
        Self {
            duration_ns: ns(usage.duration),
            init_duration_ns: usage.init_duration.map(ns),
            billed_ms: usage.billed_ms,
            memory_mb: usage.memory_mb,
            max_memory_used_bytes: usage.max_memory_used_bytes,
        }
    }
}

impl TryFrom<pb::InvocationUsage> for InvocationUsage {
    type Error = Malformed;

    /// Plain numbers: none of them can be wrong by itself.
    fn try_from(wire: pb::InvocationUsage) -> Result<Self, Malformed> {
        Ok(Self {
            duration: Duration::from_nanos(wire.duration_ns),
            init_duration: wire.init_duration_ns.map(Duration::from_nanos),
            billed_ms: wire.billed_ms,
            memory_mb: wire.memory_mb,
            max_memory_used_bytes: wire.max_memory_used_bytes,
        })
    }
}

impl From<InvokeError> for pb::InvokeError {
    fn from(error: InvokeError) -> Self {
        use pb::invoke_error::{Busy, Kind, StaleSlot, WorkerFailed};
        let kind = match error {
            InvokeError::StaleSlot { slot, reason } => Kind::StaleSlot(StaleSlot { slot: slot.0, reason }),
            InvokeError::Busy { slot } => Kind::Busy(Busy { slot: slot.0 }),
            InvokeError::WorkerFailed { reason } => Kind::WorkerFailed(WorkerFailed { reason }),
            InvokeError::Unreachable(unreachable) => Kind::Unreachable(unreachable.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::InvokeError> for InvokeError {
    type Error = Malformed;

    fn try_from(wire: pb::InvokeError) -> Result<Self, Malformed> {
        use pb::invoke_error::Kind;
        Ok(match wire.kind.ok_or_else(|| missing("kind"))? {
            Kind::StaleSlot(stale) => Self::StaleSlot {
                slot: SlotId(stale.slot),
                reason: text("stale_slot.reason", stale.reason, TEXT_MAX_BYTES)?,
            },
            Kind::Busy(busy) => Self::Busy { slot: SlotId(busy.slot) },
            Kind::WorkerFailed(failed) => {
                Self::WorkerFailed { reason: text("worker_failed.reason", failed.reason, TEXT_MAX_BYTES)? }
            }
            Kind::Unreachable(unreachable) => Self::Unreachable(nested("unreachable", unreachable)?),
        })
    }
}

impl From<FenceRequest> for pb::FenceRequest {
    fn from(request: FenceRequest) -> Self {
        Self { lease: Some(lease_key(request.slot, request.token)), holder: request.holder.to_string() }
    }
}

impl TryFrom<pb::FenceRequest> for FenceRequest {
    type Error = Malformed;

    fn try_from(wire: pb::FenceRequest) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        Ok(Self { slot, token, holder: parsed("holder", &wire.holder)? })
    }
}

impl From<Fenced> for pb::FenceReply {
    fn from(fenced: Fenced) -> Self {
        let found = match fenced {
            Fenced::Idle => pb::Fenced::Idle,
            Fenced::Draining => pb::Fenced::Draining,
            Fenced::Unknown => pb::Fenced::Unknown,
        };
        Self { found: found.into() }
    }
}

impl TryFrom<pb::FenceReply> for Fenced {
    type Error = Malformed;

    fn try_from(wire: pb::FenceReply) -> Result<Self, Malformed> {
        match pb::Fenced::try_from(wire.found) {
            Ok(pb::Fenced::Idle) => Ok(Self::Idle),
            Ok(pb::Fenced::Draining) => Ok(Self::Draining),
            Ok(pb::Fenced::Unknown) => Ok(Self::Unknown),
            Ok(pb::Fenced::Unspecified) | Err(_) => Err(unknown_variant("found", wire.found)),
        }
    }
}
