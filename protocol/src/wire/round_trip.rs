//! Every conversion there and back through bytes; mistakes named by their field; no panic on hostile bytes.

mod strategies;

use std::fmt::Debug;

use hearth_domain::{FunctionSpec, SlotOutcome};
use proptest::prelude::*;
use prost::Message;

use super::{Malformed, collections};
use crate::generated::v1 as pb;
use crate::worker::{InvokeRequest, LogQuery};
use crate::{placement, worker, worker_manager};

/// Domain → message → bytes → message → domain gives the same again.
fn assert_round_trip<T, W>(value: T)
where
    T: Clone + Debug + TryFrom<W, Error = Malformed>,
    W: From<T> + Message + Default + Debug,
{
    let bytes = W::from(value.clone()).encode_to_vec();
    let back = T::try_from(W::decode(bytes.as_slice()).unwrap()).unwrap();
    // Requests that carry an `Arc<FunctionSpec>` are compared as they read: they have no `PartialEq`.
    assert_eq!(format!("{back:?}"), format!("{value:?}"));
}

macro_rules! round_trips {
    ($($test:ident: $domain:ty => $wire:ty, $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(#[test] fn $test(value in $strategy) { assert_round_trip::<$domain, $wire>(value); })*
        }
    };
}

round_trips! {
    reserve_request: worker_manager::ReserveRequest => pb::ReserveRequest, strategies::reserve_request();
    reserve_reply: Result<worker_manager::Reservation, worker_manager::ReserveError> => pb::ReserveReply,
        strategies::reserve_outcome();
    completion: worker_manager::Completion => pb::Completion, strategies::completion();
    retire: worker_manager::RetireRequest => pb::RetireRequest, strategies::retire();
    provision: worker_manager::Provision => pb::ProvisionRequest, strategies::provision();
    provision_report: worker_manager::ProvisionReport => pb::ProvisionReply, strategies::provision_report();
    fleet: worker_manager::Fleet => pb::FleetReply, strategies::fleet();
    claim_request: placement::ClaimRequest => pb::ClaimRequest, strategies::claim_request();
    claim_outcome: placement::ClaimOutcome => pb::ClaimOutcome, strategies::claim_outcome();
    renew_request: placement::RenewRequest => pb::RenewRequest, strategies::renew_request();
    renew_response: placement::RenewResponse => pb::RenewReply, strategies::renew_response();
    release: placement::ReleaseRequest => pb::ReleaseRequest, strategies::release();
    report: placement::WorkerReport => pb::WorkerReport, strategies::report();
    report_ack: placement::ReportAck => pb::ReportAck, strategies::report_ack();
    placement_fleet: collections::Workers => pb::PlacementFleetReply, strategies::workers();
    recover: collections::Grants => pb::RecoverReply, strategies::grants();
    invoke_piece: super::InvokePiece => pb::InvokePiece, strategies::invoke_piece();
    init_slot: worker::InitSlot => pb::InitSlotRequest, strategies::init_slot();
    init_outcome: Result<worker::InitDone, worker::InitSlotError> => pb::InitSlotReply, strategies::init_outcome();
    invoke: worker::InvokeRequest => pb::InvokeRequest, strategies::invoke();
    invoke_outcome: Result<worker::InvokeResponse, worker::InvokeError> => pb::InvokeReply,
        strategies::invoke_outcome();
    fence: worker::FenceRequest => pb::FenceRequest, strategies::fence();
    fenced: worker::Fenced => pb::FenceReply, strategies::fenced();
    log_query: worker::LogQuery => pb::LogQuery, strategies::log_query();
    log_list_query: worker::LogListQuery => pb::LogListQuery, strategies::log_list_query();
    log_list: worker::LogList => pb::LogList, strategies::log_list();
    log_deletion: worker::LogDeletion => pb::LogDeletion, strategies::log_deletion();
    log_page: worker::LogPage => pb::LogPage, strategies::log_page();
}

/// Whatever the bytes, converting answers.
fn survives<T, W>(bytes: &[u8])
where
    T: TryFrom<W, Error = Malformed>,
    W: Message + Default,
{
    if let Ok(message) = W::decode(bytes) {
        let _ = T::try_from(message);
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        survives::<worker_manager::ReserveRequest, pb::ReserveRequest>(&bytes);
        survives::<worker_manager::Fleet, pb::FleetReply>(&bytes);
        survives::<placement::ClaimOutcome, pb::ClaimOutcome>(&bytes);
        survives::<placement::WorkerReport, pb::WorkerReport>(&bytes);
        survives::<InvokeRequest, pb::InvokeRequest>(&bytes);
        survives::<Result<worker::InvokeResponse, worker::InvokeError>, pb::InvokeReply>(&bytes);
    }

    /// A valid message with one byte changed: closer to the edge than random bytes.
    #[test]
    fn a_flipped_byte_never_panics(report in strategies::report(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = pb::WorkerReport::from(report).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survives::<placement::WorkerReport, pb::WorkerReport>(&bytes);
    }
}

/// A value that any test can start from.
fn sample<T: Debug>(strategy: impl Strategy<Value = T>) -> T {
    use proptest::strategy::ValueTree;
    strategy.new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap().current()
}

fn mistake<T, W>(wire: W) -> String
where
    T: Debug + TryFrom<W, Error = Malformed>,
{
    T::try_from(wire).unwrap_err().to_string()
}

#[test]
fn a_mistake_is_told_by_its_path() {
    let mut report = pb::WorkerReport::from(sample(strategies::report()));
    let slot = placement::SlotReport::try_from(pb::SlotReport::from(sample(strategies::slot_report()))).unwrap();
    report.slots = vec![slot.clone().into(), slot.into()];
    report.slots[1].function.as_mut().unwrap().name = "no name".into();
    let told = mistake::<placement::WorkerReport, _>(report);
    assert!(told.starts_with("slots[1].function.name: invalid function name"), "{told}");
}

#[test]
fn what_is_missing_or_out_of_bounds_is_refused() {
    assert_eq!(mistake::<worker_manager::Completion, _>(pb::Completion::default()), "lease: missing");
    let unspecified = pb::Completion { outcome: 0, ..pb::Completion::from(sample(strategies::completion())) };
    assert_eq!(mistake::<worker_manager::Completion, _>(unspecified), "outcome: 0 is no value of this enum");
    let spec = pb::FunctionSpec { memory_mb: 1, ..(&sample(strategies::spec())).into() };
    assert!(mistake::<FunctionSpec, _>(spec).starts_with("memory_mb: memory must be from 128"));
    let spec = pb::FunctionSpec { bundle_sha256: vec![0; 31].into(), ..(&sample(strategies::spec())).into() };
    assert_eq!(mistake::<FunctionSpec, _>(spec), "bundle_sha256: 31 bytes are no SHA-256");
    let spec = pb::FunctionSpec {
        environment: [("KEY".to_owned(), "x".repeat(4096))].into(),
        ..(&sample(strategies::spec())).into()
    };
    assert_eq!(mistake::<FunctionSpec, _>(spec), "environment: 4099 bytes are more than 4096");
    let query = pb::LogQuery { limit: 0, ..sample(strategies::log_query()).into() };
    assert_eq!(mistake::<LogQuery, _>(query), "limit: must be from 1");
    let invoke = pb::InvokeRequest {
        payload: vec![0; hearth_domain::limits::SYNC_REQUEST_MAX_BYTES + 1].into(),
        ..sample(strategies::invoke()).into()
    };
    assert_eq!(mistake::<InvokeRequest, _>(invoke), "payload: 6291457 bytes are more than 6291456");
    let terms = pb::LeaseTerms { renew_after_ns: 2, stop_using_after_ns: 1, gone_after_ns: 3 };
    assert!(mistake::<hearth_domain::LeaseTerms, _>(terms).contains("must be above zero and grow"));
}

#[test]
fn every_slot_outcome_has_its_number() {
    for outcome in [SlotOutcome::Reusable, SlotOutcome::Gone, SlotOutcome::Unreachable] {
        let number = pb::SlotOutcome::from(outcome) as i32;
        assert_eq!(super::shared::slot_outcome("outcome", number), Ok(outcome));
    }
}
