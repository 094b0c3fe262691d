//! Arbitrary values of every type that travels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_domain::limits::LAYERS_MAX;
use hearth_domain::{
    AccountId, BundleDigest, ClaimId, EphemeralStorage, FencingToken, FunctionCredentials, FunctionError, FunctionName,
    FunctionRef, FunctionResponse, FunctionSpec, HolderId, InitFailure, InvocationUsage, Isolation, LeaseTerms,
    LogFormat, LogGroup, LogLevel, Logging, MemorySize, RequestId, RevisionId, Runtime, SlotId, SlotOutcome, SlotState,
    StartTimes, Timeout, Version, WorkerId,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::placement::*;
use crate::wire::{Grants, InvokePiece, Workers};
use crate::worker::*;
use crate::worker_manager::*;
use crate::{Unreachable, WorkerEndpoint};

fn account() -> impl Strategy<Value = AccountId> {
    "[0-9]{12}".prop_map(|text| AccountId::new(&text).unwrap())
}

fn name() -> impl Strategy<Value = FunctionName> {
    "[a-zA-Z0-9_-]{1,64}".prop_map(|text| FunctionName::new(&text).unwrap())
}

fn request_id() -> impl Strategy<Value = RequestId> {
    "[a-z0-9-]{1,64}".prop_map(|text| RequestId::new(&text).unwrap())
}

fn revision() -> impl Strategy<Value = RevisionId> {
    "[a-z0-9-]{1,64}".prop_map(|text| RevisionId::new(&text).unwrap())
}

fn worker_id() -> impl Strategy<Value = WorkerId> {
    "[a-z0-9.:-]{1,128}".prop_map(|text| WorkerId::new(&text).unwrap())
}

fn holder() -> impl Strategy<Value = HolderId> {
    "[a-z0-9.:-]{1,128}".prop_map(|text| HolderId::new(&text).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::Latest), (1..=u64::MAX).prop_map(Version::Number)]
}

fn slot() -> impl Strategy<Value = (SlotId, FencingToken)> {
    (any::<u64>(), any::<u64>()).prop_map(|(slot, token)| (SlotId(slot), FencingToken(token)))
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn endpoint() -> impl Strategy<Value = WorkerEndpoint> {
    (worker_id(), "(http://[a-z]{1,20}:[0-9]{1,4})?").prop_map(|(id, url)| WorkerEndpoint { id, url: url.into() })
}

fn runtime() -> impl Strategy<Value = Runtime> {
    let names = ["provided", "provided.al2", "provided.al2023", "python3.11", "nodejs20.x"];
    prop::sample::select(names.to_vec()).prop_map(|name| name.parse().unwrap())
}

fn digest() -> impl Strategy<Value = BundleDigest> {
    any::<[u8; 32]>().prop_map(BundleDigest)
}

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..256).prop_map(Bytes::from)
}

fn function() -> impl Strategy<Value = FunctionRef> {
    (account(), name(), version(), revision()).prop_map(|(account, name, version, revision)| FunctionRef {
        account,
        name,
        version,
        revision,
    })
}

pub(super) fn spec() -> impl Strategy<Value = FunctionSpec> {
    let sizes = (128u32..=10_240, 1u32..=900, 512u32..=10_240);
    let environment = btree_map("[A-Z_]{1,10}", ".{0,20}", 0..5);
    let credentials = ("[A-Z0-9]{20}", "[a-zA-Z0-9/+]{40}", "[a-zA-Z0-9._-]{0,80}")
        .prop_map(|(key_id, secret, session_token)| FunctionCredentials { key_id, secret, session_token });
    let kind = (any::<bool>(), any::<bool>());
    let wishes = (option::of(isolation()), kind, vec(digest(), 0..=LAYERS_MAX), logging(), option::of(credentials));
    (function(), "[a-z0-9-]{1,20}", runtime(), ".{0,40}", sizes, environment, digest(), wishes).prop_map(
        |(function, region, runtime, handler, (memory, timeout, storage), environment, bundle, wishes)| FunctionSpec {
            function,
            region,
            runtime,
            handler,
            memory: MemorySize::new(memory).unwrap(),
            timeout: Timeout::new(timeout).unwrap(),
            ephemeral_storage: EphemeralStorage::new(storage).unwrap(),
            environment,
            bundle,
            isolation: wishes.0,
            snap_start: wishes.1.0,
            provisioned: wishes.1.1,
            layers: wishes.2,
            logging: wishes.3,
            credentials: wishes.4,
        },
    )
}

fn log_group() -> impl Strategy<Value = LogGroup> {
    "[a-zA-Z0-9/._#-]{1,64}".prop_map(|text| LogGroup::new(&text).unwrap())
}

fn logging() -> impl Strategy<Value = Logging> {
    let level = || option::of((0..LogLevel::ALL.len()).prop_map(|index| LogLevel::ALL[index]));
    let format = prop_oneof![Just(LogFormat::Text), Just(LogFormat::Json)];
    (format, level(), level(), option::of(log_group())).prop_map(|(format, application_level, system_level, group)| {
        Logging { format, application_level, system_level, group }
    })
}

fn isolation() -> impl Strategy<Value = Isolation> {
    (0..Isolation::ALL.len()).prop_map(|index| Isolation::ALL[index])
}

fn unreachable() -> impl Strategy<Value = Unreachable> {
    (".{0,40}", ".{0,40}", any::<bool>()).prop_map(|(role, reason, not_sent)| Unreachable { role, reason, not_sent })
}

fn init_failure() -> impl Strategy<Value = Box<InitFailure>> {
    (".{0,40}", ".{0,80}", duration(), any::<u64>(), vec(any::<u8>(), 0..64)).prop_map(
        |(error_type, document, init_duration, max_memory_used_bytes, log_tail)| {
            Box::new(InitFailure { error_type, document, init_duration, max_memory_used_bytes, log_tail })
        },
    )
}

fn slot_outcome() -> impl Strategy<Value = SlotOutcome> {
    prop_oneof![Just(SlotOutcome::Reusable), Just(SlotOutcome::Gone), Just(SlotOutcome::Unreachable)]
}

pub(super) fn reserve_request() -> impl Strategy<Value = ReserveRequest> {
    (request_id(), spec(), duration(), limits()).prop_map(|(request_id, function, wait, limits)| ReserveRequest {
        request_id,
        function: Arc::new(function),
        wait,
        limits,
    })
}

fn limits() -> impl Strategy<Value = ConcurrencyLimits> {
    (option::of(any::<u32>()), option::of(any::<u32>()), any::<u32>(), any::<u32>()).prop_map(
        |(account, reserved, provisioned, set_aside)| ConcurrencyLimits { account, reserved, provisioned, set_aside },
    )
}

pub(super) fn provision() -> impl Strategy<Value = Provision> {
    let target =
        (spec(), any::<u32>()).prop_map(|(function, count)| ProvisionTarget { function: Arc::new(function), count });
    vec(target, 0..3).prop_map(|targets| Provision { targets })
}

pub(super) fn provision_report() -> impl Strategy<Value = ProvisionReport> {
    let provisioned = (function(), any::<u32>(), any::<u32>(), option::of(".{0,40}"));
    let provisioned = provisioned.prop_map(|(function, allocated, available, failure)| Provisioned {
        function,
        allocated,
        available,
        failure,
    });
    vec(provisioned, 0..3).prop_map(|functions| ProvisionReport { functions })
}

fn reservation() -> impl Strategy<Value = Reservation> {
    let start = (duration(), start_times()).prop_map(|(awaited, times)| Box::new(AwaitedStart { awaited, times }));
    (slot(), endpoint(), option::of(start)).prop_map(|((slot, token), worker, start)| Reservation {
        slot,
        token,
        worker,
        start,
    })
}

fn start_times() -> impl Strategy<Value = StartTimes> {
    (any::<bool>(), duration(), duration(), duration()).prop_map(|(from_pool, sandbox, attach, init)| StartTimes {
        from_pool,
        sandbox,
        attach,
        init,
    })
}

pub(super) fn reserve_outcome() -> impl Strategy<Value = Result<Reservation, ReserveError>> {
    prop_oneof![
        reservation().prop_map(Ok),
        (account(), any::<u32>()).prop_map(|(account, limit)| Err(ReserveError::ConcurrencyLimit { account, limit })),
        (name(), any::<u32>()).prop_map(|(name, limit)| Err(ReserveError::ReservedLimit { name, limit })),
        any::<usize>().prop_map(|waiting| Err(ReserveError::QueueFull { waiting })),
        (duration(), ".{0,40}").prop_map(|(waited, reason)| Err(ReserveError::NoCapacity { waited, reason })),
        init_failure().prop_map(|failure| Err(ReserveError::InitFailed(failure))),
        unreachable().prop_map(|unreachable| Err(unreachable.into())),
    ]
}

pub(super) fn completion() -> impl Strategy<Value = Completion> {
    (request_id(), slot(), slot_outcome()).prop_map(|(request_id, (slot, token), outcome)| Completion {
        request_id,
        slot,
        token,
        outcome,
    })
}

pub(super) fn retire() -> impl Strategy<Value = RetireRequest> {
    (account(), name(), option::of(version()), option::of(revision()))
        .prop_map(|(account, name, version, keep)| RetireRequest { account, name, version, keep })
}

fn held_slot() -> impl Strategy<Value = HeldSlot> {
    (slot(), duration(), worker_id(), function(), any::<bool>(), duration()).prop_map(
        |((slot, token), usable_for, worker, function, busy, idle_for)| HeldSlot {
            lease: LeaseView { slot, token, usable_for },
            worker,
            function,
            busy,
            idle_for,
        },
    )
}

pub(super) fn fleet() -> impl Strategy<Value = Fleet> {
    (vec(fleet_worker(), 0..3), vec(held_slot(), 0..3), any::<usize>()).prop_map(|(workers, slots, waiting)| Fleet {
        workers,
        slots,
        waiting,
    })
}

pub(super) fn claim_request() -> impl Strategy<Value = ClaimRequest> {
    ("[a-z0-9-]{1,64}", holder(), spec(), 1..=u32::MAX).prop_map(|(id, holder, function, count)| ClaimRequest {
        id: ClaimId::new(&id).unwrap(),
        holder,
        function: Arc::new(function),
        count,
    })
}

fn terms() -> impl Strategy<Value = LeaseTerms> {
    (1u64..1 << 60, 1u64..1 << 60, 1u64..1 << 60).prop_map(|(renew, more, most)| {
        let [renew, more, most] = [renew, more, most].map(Duration::from_nanos);
        LeaseTerms::checked(renew, renew + more, renew + more + most).unwrap()
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    (slot(), terms(), endpoint(), function(), option::of(start_times())).prop_map(
        |((slot, token), terms, worker, function, start)| Grant { slot, token, terms, worker, function, start },
    )
}

pub(super) fn grants() -> impl Strategy<Value = Grants> {
    vec(grant(), 0..4).prop_map(Grants)
}

pub(super) fn claim_outcome() -> impl Strategy<Value = ClaimOutcome> {
    prop_oneof![
        grant().prop_map(ClaimOutcome::Granted),
        init_failure().prop_map(ClaimOutcome::InitFailed),
        (".{0,40}", any::<bool>()).prop_map(|(reason, full)| ClaimOutcome::NoCapacity { reason, full }),
    ]
}

pub(super) fn renew_request() -> impl Strategy<Value = RenewRequest> {
    (holder(), vec(slot(), 0..10)).prop_map(|(holder, leases)| RenewRequest { holder, leases })
}

pub(super) fn renew_response() -> impl Strategy<Value = RenewResponse> {
    (vec(option::of(terms()), 0..10), any::<u64>())
        .prop_map(|(renewed, give_back_mb)| RenewResponse { renewed, give_back_mb })
}

pub(super) fn release() -> impl Strategy<Value = ReleaseRequest> {
    (holder(), vec(slot(), 0..10)).prop_map(|(holder, leases)| ReleaseRequest { holder, leases })
}

pub(super) fn slot_report() -> impl Strategy<Value = SlotReport> {
    (slot(), holder(), function(), any::<u32>(), prop::sample::select(&SlotState::ALL[..])).prop_map(
        |((slot, token), holder, function, memory_mb, state)| SlotReport {
            slot,
            token,
            holder,
            function,
            memory_mb,
            state,
        },
    )
}

fn pooled() -> impl Strategy<Value = PooledCount> {
    (runtime(), any::<u32>(), any::<u32>()).prop_map(|(runtime, memory_mb, ready)| PooledCount {
        runtime,
        memory_mb,
        ready,
    })
}

pub(super) fn report() -> impl Strategy<Value = WorkerReport> {
    let numbers = (any::<[u64; 7]>(), any::<u32>(), any::<bool>());
    let lists = (vec(runtime(), 0..4), vec(pooled(), 0..4), vec(digest(), 0..4), vec(slot_report(), 0..4));
    (endpoint(), numbers, isolation(), lists).prop_map(
        |(worker, (numbers, max_slots, draining), isolation, (runtimes, pooled, cached_bundles, slots))| {
            let [incarnation, sequence, memory_mb, promised_memory_mb, milli_cpus, used_mb, used_cpus] = numbers;
            WorkerReport {
                worker,
                incarnation,
                sequence,
                capacity: Capacity { memory_mb, promised_memory_mb, milli_cpus, max_slots },
                load: Load { memory_mb: used_mb, milli_cpus: used_cpus },
                runtimes,
                isolation,
                pooled,
                cached_bundles,
                slots,
                draining,
            }
        },
    )
}

pub(super) fn report_ack() -> impl Strategy<Value = ReportAck> {
    vec(slot(), 0..10).prop_map(|reclaim| ReportAck { reclaim })
}

fn fleet_worker() -> impl Strategy<Value = FleetWorker> {
    let conditions =
        [WorkerCondition::Ready, WorkerCondition::Avoided, WorkerCondition::Draining, WorkerCondition::Lost];
    (report(), duration(), prop::sample::select(conditions.to_vec()), any::<u64>()).prop_map(
        |(report, silent_for, condition, reserved_mb)| FleetWorker { report, silent_for, condition, reserved_mb },
    )
}

pub(super) fn workers() -> impl Strategy<Value = Workers> {
    vec(fleet_worker(), 0..3).prop_map(Workers)
}

pub(super) fn init_slot() -> impl Strategy<Value = InitSlot> {
    (slot(), holder(), spec()).prop_map(|((slot, token), holder, function)| InitSlot {
        slot,
        token,
        holder,
        function: Arc::new(function),
    })
}

pub(super) fn init_outcome() -> impl Strategy<Value = Result<InitDone, InitSlotError>> {
    prop_oneof![
        start_times().prop_map(|times| Ok(InitDone { times })),
        init_failure().prop_map(|failure| Err(InitSlotError::InitFailed(failure))),
        ".{0,40}".prop_map(|reason| Err(InitSlotError::Refused { reason })),
        unreachable().prop_map(|unreachable| Err(unreachable.into())),
    ]
}

pub(super) fn invoke() -> impl Strategy<Value = InvokeRequest> {
    let texts = (".{0,40}", option::of(".{0,40}"), option::of(".{0,40}"));
    (request_id(), slot(), payload(), texts, any::<bool>()).prop_map(
        |(request_id, (slot, token), payload, (invoked_arn, client_context, trace_id), log_tail)| InvokeRequest {
            request_id,
            slot,
            token,
            payload,
            invoked_arn,
            client_context,
            trace_id,
            log_tail,
        },
    )
}

fn usage() -> impl Strategy<Value = InvocationUsage> {
    (duration(), option::of(duration()), any::<u64>(), any::<u32>(), any::<u64>()).prop_map(
        |(duration, init_duration, billed_ms, memory_mb, max_memory_used_bytes)| InvocationUsage {
            duration,
            init_duration,
            billed_ms,
            memory_mb,
            max_memory_used_bytes,
        },
    )
}

fn response() -> impl Strategy<Value = FunctionResponse<Bytes>> {
    prop_oneof![
        payload().prop_map(FunctionResponse::Success),
        (".{0,40}", payload())
            .prop_map(|(error_type, document)| FunctionResponse::Error(FunctionError { error_type, document })),
    ]
}

pub(super) fn invoke_outcome() -> impl Strategy<Value = Result<InvokeResponse, InvokeError>> {
    prop_oneof![
        (response(), usage(), option::of(payload()), slot_outcome())
            .prop_map(|(response, usage, log_tail, slot)| Ok(InvokeResponse { response, usage, log_tail, slot })),
        (any::<u64>(), ".{0,40}").prop_map(|(slot, reason)| Err(InvokeError::StaleSlot { slot: SlotId(slot), reason })),
        any::<u64>().prop_map(|slot| Err(InvokeError::Busy { slot: SlotId(slot) })),
        ".{0,40}".prop_map(|reason| Err(InvokeError::WorkerFailed { reason })),
        unreachable().prop_map(|unreachable| Err(unreachable.into())),
    ]
}

pub(super) fn invoke_piece() -> impl Strategy<Value = InvokePiece> {
    let content_type = "[ -~]{0,256}";
    let chunk = vec(any::<u8>(), 1..100);
    prop_oneof![
        content_type.prop_map(|content_type| InvokePiece::Piece(StreamPiece::Start { content_type })),
        chunk.prop_map(|data| InvokePiece::Piece(StreamPiece::Chunk(data.into()))),
        invoke_outcome().prop_map(|outcome| InvokePiece::End(Box::new(outcome))),
    ]
}

pub(super) fn fence() -> impl Strategy<Value = FenceRequest> {
    (slot(), holder()).prop_map(|((slot, token), holder)| FenceRequest { slot, token, holder })
}

pub(super) fn fenced() -> impl Strategy<Value = Fenced> {
    prop_oneof![Just(Fenced::Idle), Just(Fenced::Draining), Just(Fenced::Unknown)]
}

pub(super) fn log_query() -> impl Strategy<Value = LogQuery> {
    let part = (option::of(".{0,40}"), any::<u64>(), any::<u64>());
    (account(), log_group(), any::<u64>(), 1..=u32::MAX, duration(), part).prop_map(
        |(account, group, after, limit, wait, (stream, from_unix_ms, until_unix_ms))| LogQuery {
            account,
            group,
            stream,
            from_unix_ms,
            until_unix_ms,
            after,
            limit,
            wait,
        },
    )
}

pub(super) fn log_page() -> impl Strategy<Value = LogPage> {
    let line = (any::<u64>(), any::<u64>(), ".{0,40}", option::of(request_id()), ".{0,80}").prop_map(
        |(number, unix_ms, stream, request_id, text)| LogLine {
            number,
            unix_ms,
            stream: stream.into(),
            request_id,
            text,
        },
    );
    (vec(line, 0..8), any::<u64>(), any::<bool>()).prop_map(|(lines, next, at_end)| LogPage { lines, next, at_end })
}

pub(super) fn log_list_query() -> impl Strategy<Value = LogListQuery> {
    (account(), option::of(log_group())).prop_map(|(account, group)| LogListQuery { account, group })
}

pub(super) fn log_list() -> impl Strategy<Value = LogList> {
    let log = (".{0,40}", any::<u64>(), any::<u64>(), any::<u64>())
        .prop_map(|(name, first_unix_ms, last_unix_ms, bytes)| LogSummary { name, first_unix_ms, last_unix_ms, bytes });
    vec(log, 0..8).prop_map(LogList)
}

pub(super) fn log_deletion() -> impl Strategy<Value = LogDeletion> {
    (account(), log_group()).prop_map(|(account, group)| LogDeletion { account, group })
}
