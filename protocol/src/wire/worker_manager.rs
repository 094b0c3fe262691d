//! frontend → worker manager.

use std::time::Duration;

use super::shared::{lease, lease_key, shared_spec, slot_outcome};
use super::{Malformed, TEXT_MAX_BYTES, bounded, count, each, missing, nested, ns, parsed, required, text};
use crate::generated::v1 as pb;
use crate::placement::LeaseView;
use crate::worker_manager::{
    AwaitedStart, Completion, ConcurrencyLimits, Fleet, HeldSlot, Provision, ProvisionReport, ProvisionTarget,
    Provisioned, Reservation, ReserveError, ReserveRequest, RetireRequest,
};

impl From<ReserveRequest> for pb::ReserveRequest {
    fn from(request: ReserveRequest) -> Self {
        Self {
            request_id: request.request_id.to_string(),
            function: Some((&*request.function).into()),
            wait_ns: ns(request.wait),
            account_concurrency: request.limits.account,
            reserved_concurrency: request.limits.reserved,
            provisioned_concurrency: request.limits.provisioned,
            concurrency_set_aside: request.limits.set_aside,
        }
    }
}

impl TryFrom<pb::ReserveRequest> for ReserveRequest {
    type Error = Malformed;

    fn try_from(wire: pb::ReserveRequest) -> Result<Self, Malformed> {
        Ok(Self {
            request_id: parsed("request_id", &wire.request_id)?,
            function: shared_spec(wire.function)?,
            wait: Duration::from_nanos(wire.wait_ns),
            limits: ConcurrencyLimits {
                account: wire.account_concurrency,
                reserved: wire.reserved_concurrency,
                provisioned: wire.provisioned_concurrency,
                set_aside: wire.concurrency_set_aside,
            },
        })
    }
}

impl From<Result<Reservation, ReserveError>> for pb::ReserveReply {
    fn from(outcome: Result<Reservation, ReserveError>) -> Self {
        use pb::reserve_reply::Outcome;
        let outcome = match outcome {
            Ok(reservation) => Outcome::Reservation(reservation.into()),
            Err(error) => Outcome::Error(error.into()),
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<pb::ReserveReply> for Result<Reservation, ReserveError> {
    type Error = Malformed;

    fn try_from(wire: pb::ReserveReply) -> Result<Self, Malformed> {
        use pb::reserve_reply::Outcome;
        match wire.outcome.ok_or_else(|| missing("outcome"))? {
            Outcome::Reservation(reservation) => nested("reservation", reservation).map(Ok),
            Outcome::Error(error) => nested("error", error).map(Err),
        }
    }
}

impl From<Reservation> for pb::Reservation {
    fn from(reservation: Reservation) -> Self {
        Self {
            lease: Some(lease_key(reservation.slot, reservation.token)),
            worker: Some((&reservation.worker).into()),
            start: reservation.start.map(|start| (*start).into()),
        }
    }
}

impl TryFrom<pb::Reservation> for Reservation {
    type Error = Malformed;

    fn try_from(wire: pb::Reservation) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        let start = wire.start.map(|start| nested("start", start).map(Box::new)).transpose()?;
        Ok(Self { slot, token, worker: required("worker", wire.worker)?, start })
    }
}

impl From<AwaitedStart> for pb::AwaitedStart {
    fn from(start: AwaitedStart) -> Self {
        Self { awaited_ns: ns(start.awaited), times: Some(start.times.into()) }
    }
}

impl TryFrom<pb::AwaitedStart> for AwaitedStart {
    type Error = Malformed;

    fn try_from(wire: pb::AwaitedStart) -> Result<Self, Malformed> {
        Ok(Self { awaited: Duration::from_nanos(wire.awaited_ns), times: required("times", wire.times)? })
    }
}

impl From<ReserveError> for pb::ReserveError {
    fn from(error: ReserveError) -> Self {
        use pb::reserve_error::{ConcurrencyLimit, Kind, NoCapacity, QueueFull, ReservedLimit};
        let kind = match error {
            ReserveError::ConcurrencyLimit { account, limit } => {
                Kind::ConcurrencyLimit(ConcurrencyLimit { account: account.to_string(), limit })
            }
            ReserveError::ReservedLimit { name, limit } => {
                Kind::ReservedLimit(ReservedLimit { name: name.to_string(), limit })
            }
            ReserveError::QueueFull { waiting } => Kind::QueueFull(QueueFull { waiting: count(waiting) }),
            ReserveError::NoCapacity { waited, reason } => {
                Kind::NoCapacity(NoCapacity { waited_ns: ns(waited), reason })
            }
            ReserveError::InitFailed(failure) => Kind::InitFailed((*failure).into()),
            ReserveError::Unreachable(unreachable) => Kind::Unreachable(unreachable.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::ReserveError> for ReserveError {
    type Error = Malformed;

    fn try_from(wire: pb::ReserveError) -> Result<Self, Malformed> {
        use pb::reserve_error::Kind;
        Ok(match wire.kind.ok_or_else(|| missing("kind"))? {
            Kind::ConcurrencyLimit(limit) => Self::ConcurrencyLimit {
                account: parsed("concurrency_limit.account", &limit.account)?,
                limit: limit.limit,
            },
            Kind::ReservedLimit(limit) => {
                Self::ReservedLimit { name: parsed("reserved_limit.name", &limit.name)?, limit: limit.limit }
            }
            Kind::QueueFull(full) => Self::QueueFull { waiting: bounded("queue_full.waiting", full.waiting)? },
            Kind::NoCapacity(none) => Self::NoCapacity {
                waited: Duration::from_nanos(none.waited_ns),
                reason: text("no_capacity.reason", none.reason, TEXT_MAX_BYTES)?,
            },
            Kind::InitFailed(failure) => Self::InitFailed(Box::new(nested("init_failed", failure)?)),
            Kind::Unreachable(unreachable) => Self::Unreachable(nested("unreachable", unreachable)?),
        })
    }
}

impl From<Completion> for pb::Completion {
    fn from(completion: Completion) -> Self {
        let mut wire = Self {
            request_id: completion.request_id.to_string(),
            lease: Some(lease_key(completion.slot, completion.token)),
            ..Self::default()
        };
        wire.set_outcome(completion.outcome.into());
        wire
    }
}

impl TryFrom<pb::Completion> for Completion {
    type Error = Malformed;

    fn try_from(wire: pb::Completion) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        Ok(Self {
            request_id: parsed("request_id", &wire.request_id)?,
            slot,
            token,
            outcome: slot_outcome("outcome", wire.outcome)?,
        })
    }
}

impl From<RetireRequest> for pb::RetireRequest {
    fn from(request: RetireRequest) -> Self {
        Self {
            account: request.account.to_string(),
            name: request.name.to_string(),
            version: request.version.map(|version| version.to_string()),
            keep_revision: request.keep.map(|revision| revision.to_string()),
        }
    }
}

impl TryFrom<pb::RetireRequest> for RetireRequest {
    type Error = Malformed;

    fn try_from(wire: pb::RetireRequest) -> Result<Self, Malformed> {
        Ok(Self {
            account: parsed("account", &wire.account)?,
            name: parsed("name", &wire.name)?,
            version: wire.version.map(|version| parsed("version", &version)).transpose()?,
            keep: wire.keep_revision.map(|revision| parsed("keep_revision", &revision)).transpose()?,
        })
    }
}

impl From<Provision> for pb::ProvisionRequest {
    fn from(provision: Provision) -> Self {
        let target = |target: ProvisionTarget| pb::ProvisionTarget {
            function: Some((&*target.function).into()),
            count: target.count,
        };
        Self { targets: provision.targets.into_iter().map(target).collect() }
    }
}

impl TryFrom<pb::ProvisionRequest> for Provision {
    type Error = Malformed;

    fn try_from(wire: pb::ProvisionRequest) -> Result<Self, Malformed> {
        Ok(Self { targets: each("targets", wire.targets)? })
    }
}

impl TryFrom<pb::ProvisionTarget> for ProvisionTarget {
    type Error = Malformed;

    fn try_from(wire: pb::ProvisionTarget) -> Result<Self, Malformed> {
        Ok(Self { function: shared_spec(wire.function)?, count: wire.count })
    }
}

impl From<ProvisionReport> for pb::ProvisionReply {
    fn from(report: ProvisionReport) -> Self {
        let provisioned = |provisioned: Provisioned| pb::Provisioned {
            function: Some((&provisioned.function).into()),
            allocated: provisioned.allocated,
            available: provisioned.available,
            failure: provisioned.failure,
        };
        Self { functions: report.functions.into_iter().map(provisioned).collect() }
    }
}

impl TryFrom<pb::ProvisionReply> for ProvisionReport {
    type Error = Malformed;

    fn try_from(wire: pb::ProvisionReply) -> Result<Self, Malformed> {
        Ok(Self { functions: each("functions", wire.functions)? })
    }
}

impl TryFrom<pb::Provisioned> for Provisioned {
    type Error = Malformed;

    fn try_from(wire: pb::Provisioned) -> Result<Self, Malformed> {
        Ok(Self {
            function: required("function", wire.function)?,
            allocated: wire.allocated,
            available: wire.available,
            failure: wire.failure.map(|failure| text("failure", failure, TEXT_MAX_BYTES)).transpose()?,
        })
    }
}

impl From<Fleet> for pb::FleetReply {
    fn from(fleet: Fleet) -> Self {
        Self {
            workers: fleet.workers.into_iter().map(Into::into).collect(),
            slots: fleet.slots.into_iter().map(Into::into).collect(),
            waiting: count(fleet.waiting),
        }
    }
}

impl TryFrom<pb::FleetReply> for Fleet {
    type Error = Malformed;

    fn try_from(wire: pb::FleetReply) -> Result<Self, Malformed> {
        Ok(Self {
            workers: each("workers", wire.workers)?,
            slots: each("slots", wire.slots)?,
            waiting: bounded("waiting", wire.waiting)?,
        })
    }
}

impl From<HeldSlot> for pb::HeldSlot {
    fn from(held: HeldSlot) -> Self {
        Self {
            lease: Some(lease_key(held.lease.slot, held.lease.token)),
            usable_for_ns: ns(held.lease.usable_for),
            worker: held.worker.to_string(),
            function: Some((&held.function).into()),
            busy: held.busy,
            idle_for_ns: ns(held.idle_for),
        }
    }
}

impl TryFrom<pb::HeldSlot> for HeldSlot {
    type Error = Malformed;

    fn try_from(wire: pb::HeldSlot) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        Ok(Self {
            lease: LeaseView { slot, token, usable_for: Duration::from_nanos(wire.usable_for_ns) },
            worker: parsed("worker", &wire.worker)?,
            function: required("function", wire.function)?,
            busy: wire.busy,
            idle_for: Duration::from_nanos(wire.idle_for_ns),
        })
    }
}
