//! Affinity and bounded load: where functions land, and how little moves when the fleet changes.

mod districts;

use std::collections::BTreeMap;

use hearth_domain::{AccountId, FunctionName, FunctionRef, Isolation, RevisionId, Runtime, Version, WorkerId};
use hearth_protocol::placement::{Capacity, Load};
use proptest::prelude::*;

use super::*;

fn function(name: &str, version: Version) -> FunctionHash {
    FunctionHash::of(&FunctionRef {
        account: AccountId::new("000000000000").unwrap(),
        name: FunctionName::new(name).unwrap(),
        version,
        revision: RevisionId::new("r1").unwrap(),
    })
}

/// A worker as these tests set it up.
#[derive(Debug, Clone)]
struct Host {
    index: usize,
    load: Load,
    reserved: Reserved,
}

const CAPACITY: Capacity = Capacity { memory_mb: 1_000, promised_memory_mb: 1_000, milli_cpus: 1_000, max_slots: 10 };
const NEED: Need = Need { memory_mb: 100, milli_cpus: 50 };

impl Host {
    fn hash(&self) -> WorkerHash {
        WorkerHash::of(&WorkerId::new(&format!("worker-{}", self.index)).unwrap())
    }

    fn standing(&self) -> Standing {
        strict().standing(CAPACITY, self.load, self.reserved)
    }
}

fn worker(index: usize) -> Host {
    Host { index, load: Load::default(), reserved: Reserved::default() }
}

fn strict() -> LoadLimits {
    LoadLimits { reserved_cpu_percent: 100, ..LoadLimits::default() }
}

fn kind() -> Kind {
    Kind::of(&[Runtime::Python { minor: 11 }], Isolation::Jail)
}

fn candidates(fleet: &[Host]) -> Candidates<usize> {
    let mut candidates = Candidates::default();
    fleet.iter().for_each(|host| candidates.set(&kind(), host.hash(), &host.index, host.standing()));
    candidates.check_invariants();
    candidates
}

fn list_of(version: Version, name: &str, fleet: &[Host]) -> Vec<usize> {
    let wanted = Wanted { function: function(name, version), need: NEED };
    candidates(fleet).shortlist(wanted, |_| true, |_| false).into_iter().copied().collect()
}

fn list(name: &str, fleet: &[Host]) -> Vec<usize> {
    list_of(Version::Latest, name, fleet)
}

#[test]
fn a_full_worker_is_passed_over_and_the_order_of_the_others_stays() {
    let mut fleet: Vec<_> = (0..10).map(worker).collect();
    let before = list("f", &fleet);
    fleet[before[0]].reserved = Reserved { memory_mb: 901, milli_cpus: 0, slots: 1 };
    assert_eq!(list("f", &fleet)[..2], before[1..]);
    for full in
        [Reserved { memory_mb: 0, milli_cpus: 951, slots: 1 }, Reserved { memory_mb: 0, milli_cpus: 0, slots: 10 }]
    {
        fleet[before[0]].reserved = full;
        assert!(!list("f", &fleet).contains(&before[0]), "{full:?}");
    }
    fleet[before[0]].reserved = Reserved { memory_mb: 900, milli_cpus: 950, slots: 9 };
    assert_eq!(list("f", &fleet), before, "exactly full is allowed");
}

#[test]
fn measured_memory_bars_and_measured_cpu_only_defers() {
    let mut fleet: Vec<_> = (0..2).map(worker).collect();
    let first = list("f", &fleet)[0];
    fleet[first].load = Load { memory_mb: 0, milli_cpus: 901 };
    assert_eq!(list("f", &fleet), [1 - first], "a calm worker goes first");
    fleet[1 - first].load = Load { memory_mb: 901, milli_cpus: 0 };
    assert_eq!(list("f", &fleet), [first], "a busy one is better than none");
}

#[test]
fn versions_share_their_workers() {
    let fleet: Vec<_> = (0..50).map(worker).collect();
    assert_eq!(list_of(Version::Latest, "f", &fleet), list_of(Version::Number(7), "f", &fleet));
}

#[test]
fn warmth_chooses_within_the_shortlist_and_ties_go_to_affinity() {
    let code = Warmth { has_code: true, has_pooled: false };
    let both = Warmth { has_code: true, has_pooled: true };
    let pooled = Warmth { has_code: false, has_pooled: true };
    let pick = |warmth: [Warmth; 3]| warmest(&[0, 1, 2], |index| warmth[index]);
    assert_eq!(pick([Warmth::default(); 3]), Some(0));
    assert_eq!(pick([code, pooled, Warmth::default()]), Some(0));
    assert_eq!(pick([Warmth::default(), pooled, code]), Some(1));
    assert_eq!(pick([code, pooled, both]), Some(2));
    assert_eq!(warmest::<usize>(&[], |_| both), None);
}

#[test]
fn functions_spread_evenly() {
    let candidates = candidates(&(0..20).map(worker).collect::<Vec<_>>());
    let mut homes = BTreeMap::new();
    for index in 0..2_000 {
        let wanted = Wanted { function: function(&format!("function-{index}"), Version::Latest), need: NEED };
        *homes.entry(*candidates.shortlist(wanted, |_| true, |_| false)[0]).or_insert(0) += 1;
    }
    assert_eq!(homes.len(), 20);
    assert!(homes.values().all(|count| (50..200).contains(count)), "{homes:?}");
}

proptest! {
    /// A worker that joins or leaves moves only functions that have it in their shortlist.
    #[test]
    fn a_leaving_worker_disturbs_nobody_else(size in 2usize..40, leaving in 0usize..40, name in "[a-z]{1,8}") {
        let fleet: Vec<_> = (0..size).map(worker).collect();
        let before = list(&name, &fleet);
        let rest: Vec<_> = fleet.into_iter().filter(|host| host.index != leaving).collect();
        let after = list(&name, &rest);
        let kept: Vec<_> = before.into_iter().filter(|key| *key != leaving).collect();
        prop_assert_eq!(&after[..kept.len()], &kept[..]);
    }
}
