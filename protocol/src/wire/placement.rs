//! worker manager → placement, worker → placement.

use std::time::Duration;

use hearth_domain::{LeaseTerms, SlotState};

use super::shared::{digest, digest_bytes, lease, lease_key, lease_keys, leases, shared_spec, unknown_variant};
use super::{Malformed, TEXT_MAX_BYTES, each, missing, nested, ns, parsed, required, text};
use crate::generated::v1 as pb;
use crate::placement::{
    Capacity, ClaimOutcome, ClaimRequest, FleetWorker, Grant, Load, PooledCount, ReleaseRequest, RenewRequest,
    RenewResponse, ReportAck, SlotReport, WorkerCondition, WorkerReport,
};

impl From<ClaimRequest> for pb::ClaimRequest {
    fn from(request: ClaimRequest) -> Self {
        Self {
            id: request.id.to_string(),
            holder: request.holder.to_string(),
            function: Some((&*request.function).into()),
            count: request.count,
        }
    }
}

impl TryFrom<pb::ClaimRequest> for ClaimRequest {
    type Error = Malformed;

    fn try_from(wire: pb::ClaimRequest) -> Result<Self, Malformed> {
        if wire.count == 0 {
            return Err(Malformed::new("count", "must be from 1"));
        }
        Ok(Self {
            id: parsed("id", &wire.id)?,
            holder: parsed("holder", &wire.holder)?,
            function: shared_spec(wire.function)?,
            count: wire.count,
        })
    }
}

impl From<ClaimOutcome> for pb::ClaimOutcome {
    fn from(outcome: ClaimOutcome) -> Self {
        use pb::claim_outcome::{NoCapacity, Outcome};
        let outcome = match outcome {
            ClaimOutcome::Granted(grant) => Outcome::Granted(grant.into()),
            ClaimOutcome::InitFailed(failure) => Outcome::InitFailed((*failure).into()),
            ClaimOutcome::NoCapacity { reason, full } => Outcome::NoCapacity(NoCapacity { reason, full }),
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<pb::ClaimOutcome> for ClaimOutcome {
    type Error = Malformed;

    fn try_from(wire: pb::ClaimOutcome) -> Result<Self, Malformed> {
        use pb::claim_outcome::Outcome;
        Ok(match wire.outcome.ok_or_else(|| missing("outcome"))? {
            Outcome::Granted(grant) => Self::Granted(nested("granted", grant)?),
            Outcome::InitFailed(failure) => Self::InitFailed(Box::new(nested("init_failed", failure)?)),
            Outcome::NoCapacity(none) => {
                let reason = text("no_capacity.reason", none.reason, TEXT_MAX_BYTES)?;
                Self::NoCapacity { reason, full: none.full }
            }
        })
    }
}

impl From<Grant> for pb::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            lease: Some(lease_key(grant.slot, grant.token)),
            terms: Some(grant.terms.into()),
            worker: Some((&grant.worker).into()),
            function: Some((&grant.function).into()),
            start: grant.start.map(Into::into),
        }
    }
}

impl TryFrom<pb::Grant> for Grant {
    type Error = Malformed;

    fn try_from(wire: pb::Grant) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        Ok(Self {
            slot,
            token,
            terms: required("terms", wire.terms)?,
            worker: required("worker", wire.worker)?,
            function: required("function", wire.function)?,
            start: wire.start.map(|start| nested("start", start)).transpose()?,
        })
    }
}

impl From<RenewRequest> for pb::RenewRequest {
    fn from(request: RenewRequest) -> Self {
        Self { holder: request.holder.to_string(), leases: lease_keys(request.leases) }
    }
}

impl TryFrom<pb::RenewRequest> for RenewRequest {
    type Error = Malformed;

    fn try_from(wire: pb::RenewRequest) -> Result<Self, Malformed> {
        Ok(Self { holder: parsed("holder", &wire.holder)?, leases: leases(wire.leases) })
    }
}

impl From<RenewResponse> for pb::RenewReply {
    fn from(response: RenewResponse) -> Self {
        let renewed = |terms: Option<LeaseTerms>| pb::renew_reply::Renewed { terms: terms.map(Into::into) };
        Self { renewed: response.renewed.into_iter().map(renewed).collect(), give_back_mb: response.give_back_mb }
    }
}

impl TryFrom<pb::RenewReply> for RenewResponse {
    type Error = Malformed;

    fn try_from(wire: pb::RenewReply) -> Result<Self, Malformed> {
        let one = |(index, renewed): (usize, pb::renew_reply::Renewed)| {
            let terms = renewed.terms.map(|terms| nested("terms", terms)).transpose();
            terms.map_err(|wrong: Malformed| wrong.within(format_args!("renewed[{index}]")))
        };
        let renewed = wire.renewed.into_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(Self { renewed, give_back_mb: wire.give_back_mb })
    }
}

impl From<ReleaseRequest> for pb::ReleaseRequest {
    fn from(request: ReleaseRequest) -> Self {
        Self { holder: request.holder.to_string(), leases: lease_keys(request.leases) }
    }
}

impl TryFrom<pb::ReleaseRequest> for ReleaseRequest {
    type Error = Malformed;

    fn try_from(wire: pb::ReleaseRequest) -> Result<Self, Malformed> {
        Ok(Self { holder: parsed("holder", &wire.holder)?, leases: leases(wire.leases) })
    }
}

impl From<WorkerReport> for pb::WorkerReport {
    fn from(report: WorkerReport) -> Self {
        let Capacity { memory_mb, promised_memory_mb, milli_cpus, max_slots } = report.capacity;
        let promised_memory_mb = Some(promised_memory_mb);
        Self {
            worker: Some((&report.worker).into()),
            incarnation: report.incarnation,
            sequence: report.sequence,
            capacity: Some(pb::Capacity { memory_mb, milli_cpus, max_slots, promised_memory_mb }),
            load: Some(pb::Load { memory_mb: report.load.memory_mb, milli_cpus: report.load.milli_cpus }),
            runtimes: report.runtimes.iter().map(ToString::to_string).collect(),
            isolation: report.isolation.to_string(),
            pooled: report.pooled.into_iter().map(Into::into).collect(),
            cached_bundles_sha256: report.cached_bundles.iter().map(digest_bytes).collect(),
            slots: report.slots.into_iter().map(Into::into).collect(),
            draining: report.draining,
        }
    }
}

impl TryFrom<pb::WorkerReport> for WorkerReport {
    type Error = Malformed;

    fn try_from(wire: pb::WorkerReport) -> Result<Self, Malformed> {
        let pb::Capacity { memory_mb, milli_cpus, max_slots, promised_memory_mb } =
            wire.capacity.ok_or_else(|| missing("capacity"))?;
        let load = wire.load.ok_or_else(|| missing("load"))?;
        let cached = |(index, bytes): (usize, &bytes::Bytes)| digest(format!("cached_bundles_sha256[{index}]"), bytes);
        Ok(Self {
            worker: required("worker", wire.worker)?,
            incarnation: wire.incarnation,
            sequence: wire.sequence,
            capacity: Capacity {
                memory_mb,
                promised_memory_mb: promised_memory_mb.unwrap_or(memory_mb),
                milli_cpus,
                max_slots,
            },
            load: Load { memory_mb: load.memory_mb, milli_cpus: load.milli_cpus },
            runtimes: wire.runtimes.iter().map(|runtime| parsed("runtimes", runtime)).collect::<Result<_, _>>()?,
            isolation: parsed("isolation", &wire.isolation)?,
            pooled: each("pooled", wire.pooled)?,
            cached_bundles: wire.cached_bundles_sha256.iter().enumerate().map(cached).collect::<Result<_, _>>()?,
            slots: each("slots", wire.slots)?,
            draining: wire.draining,
        })
    }
}

impl From<PooledCount> for pb::PooledCount {
    fn from(pooled: PooledCount) -> Self {
        Self { runtime: pooled.runtime.to_string(), memory_mb: pooled.memory_mb, ready: pooled.ready }
    }
}

impl TryFrom<pb::PooledCount> for PooledCount {
    type Error = Malformed;

    fn try_from(wire: pb::PooledCount) -> Result<Self, Malformed> {
        Ok(Self { runtime: parsed("runtime", &wire.runtime)?, memory_mb: wire.memory_mb, ready: wire.ready })
    }
}

impl From<SlotReport> for pb::SlotReport {
    fn from(report: SlotReport) -> Self {
        let mut wire = Self {
            lease: Some(lease_key(report.slot, report.token)),
            holder: report.holder.to_string(),
            function: Some((&report.function).into()),
            memory_mb: report.memory_mb,
            ..Self::default()
        };
        wire.set_state(report.state.into());
        wire
    }
}

impl TryFrom<pb::SlotReport> for SlotReport {
    type Error = Malformed;

    fn try_from(wire: pb::SlotReport) -> Result<Self, Malformed> {
        let (slot, token) = lease(wire.lease)?;
        Ok(Self {
            slot,
            token,
            holder: parsed("holder", &wire.holder)?,
            function: required("function", wire.function)?,
            memory_mb: wire.memory_mb,
            state: slot_state("state", wire.state)?,
        })
    }
}

impl From<SlotState> for pb::SlotState {
    fn from(state: SlotState) -> Self {
        match state {
            SlotState::Booting => Self::Booting,
            SlotState::Pooled => Self::Pooled,
            SlotState::Initializing => Self::Initializing,
            SlotState::Idle => Self::Idle,
            SlotState::Busy => Self::Busy,
            SlotState::Draining => Self::Draining,
            SlotState::Gone => Self::Gone,
        }
    }
}

fn slot_state(field: &'static str, wire: i32) -> Result<SlotState, Malformed> {
    match pb::SlotState::try_from(wire) {
        Ok(pb::SlotState::Booting) => Ok(SlotState::Booting),
        Ok(pb::SlotState::Pooled) => Ok(SlotState::Pooled),
        Ok(pb::SlotState::Initializing) => Ok(SlotState::Initializing),
        Ok(pb::SlotState::Idle) => Ok(SlotState::Idle),
        Ok(pb::SlotState::Busy) => Ok(SlotState::Busy),
        Ok(pb::SlotState::Draining) => Ok(SlotState::Draining),
        Ok(pb::SlotState::Gone) => Ok(SlotState::Gone),
        Ok(pb::SlotState::Unspecified) | Err(_) => Err(unknown_variant(field, wire)),
    }
}

impl From<ReportAck> for pb::ReportAck {
    fn from(ack: ReportAck) -> Self {
        Self { reclaim: lease_keys(ack.reclaim) }
    }
}

impl TryFrom<pb::ReportAck> for ReportAck {
    type Error = Malformed;

    fn try_from(wire: pb::ReportAck) -> Result<Self, Malformed> {
        Ok(Self { reclaim: leases(wire.reclaim) })
    }
}

impl From<FleetWorker> for pb::FleetWorker {
    fn from(worker: FleetWorker) -> Self {
        let mut wire = Self {
            report: Some(worker.report.into()),
            silent_for_ns: ns(worker.silent_for),
            reserved_mb: worker.reserved_mb,
            ..Self::default()
        };
        wire.set_condition(match worker.condition {
            WorkerCondition::Ready => pb::WorkerCondition::Ready,
            WorkerCondition::Avoided => pb::WorkerCondition::Avoided,
            WorkerCondition::Draining => pb::WorkerCondition::Draining,
            WorkerCondition::Lost => pb::WorkerCondition::Lost,
        });
        wire
    }
}

impl TryFrom<pb::FleetWorker> for FleetWorker {
    type Error = Malformed;

    fn try_from(wire: pb::FleetWorker) -> Result<Self, Malformed> {
        let condition = match pb::WorkerCondition::try_from(wire.condition) {
            Ok(pb::WorkerCondition::Ready) => WorkerCondition::Ready,
            Ok(pb::WorkerCondition::Avoided) => WorkerCondition::Avoided,
            Ok(pb::WorkerCondition::Draining) => WorkerCondition::Draining,
            Ok(pb::WorkerCondition::Lost) => WorkerCondition::Lost,
            Ok(pb::WorkerCondition::Unspecified) | Err(_) => return Err(unknown_variant("condition", wire.condition)),
        };
        Ok(Self {
            report: required("report", wire.report)?,
            silent_for: Duration::from_nanos(wire.silent_for_ns),
            condition,
            reserved_mb: wire.reserved_mb,
        })
    }
}
