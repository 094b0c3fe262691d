//! What can happen to a router. Numbers choose among what there is, counted modulo.

use hearth_domain::SlotOutcome;
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A new call.
    Reserve { function: usize },
    /// A call that runs or waits asks again.
    AskAgain { call: usize },
    /// A waiting call gives up.
    Cancel { waiter: usize },
    /// A running call ends.
    Complete { call: usize, outcome: SlotOutcome },
    /// The completion of a call that ended already arrives again.
    CompleteAgain { call: usize },
    /// A claim under way gives a slot.
    Grant { claim: usize },
    /// A grant that arrived before arrives again.
    GrantAgain { grant: usize },
    /// A claim under way gives something else.
    InitFails { claim: usize },
    /// Placement has no room.
    NoCapacity { claim: usize, full: bool },
    /// A claim's stream breaks; outcomes may still arrive later.
    Cut { claim: usize },
    /// A renewal is answered; a refused lease is the last of its batch.
    Renew { renewal: usize, refuse_last: bool, give_back_mb: u64 },
    /// An answer to a renewal arrives again.
    RenewAgain { renewal: usize },
    /// A renewal is lost.
    LoseRenewal { renewal: usize },
    /// A function's revision ends.
    Retire { function: usize },
    /// A function reserves concurrency, or gives its reservation up.
    Limit { function: usize, reserved: Option<u32> },
    /// Slots are to be kept ready, or no more.
    Provision { targets: [u32; 3] },
    /// Time passes, every tick on its deadline.
    Pass { ms: u64 },
    /// The turn ends.
    Turn,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let number = 0..1_000_usize;
    prop_oneof![
        12 => (0..3_usize).prop_map(|function| Step::Reserve { function }),
        2 => number.clone().prop_map(|call| Step::AskAgain { call }),
        2 => number.clone().prop_map(|waiter| Step::Cancel { waiter }),
        8 => (number.clone(), outcome()).prop_map(|(call, outcome)| Step::Complete { call, outcome }),
        2 => number.clone().prop_map(|call| Step::CompleteAgain { call }),
        10 => number.clone().prop_map(|claim| Step::Grant { claim }),
        2 => number.clone().prop_map(|grant| Step::GrantAgain { grant }),
        1 => number.clone().prop_map(|claim| Step::InitFails { claim }),
        2 => (number.clone(), any::<bool>()).prop_map(|(claim, full)| Step::NoCapacity { claim, full }),
        1 => number.clone().prop_map(|claim| Step::Cut { claim }),
        6 => (number.clone(), prop::bool::weighted(0.1), prop_oneof![9 => Just(0), 1 => 1..1_000_u64])
            .prop_map(|(renewal, refuse_last, give_back_mb)| Step::Renew { renewal, refuse_last, give_back_mb }),
        2 => number.clone().prop_map(|renewal| Step::RenewAgain { renewal }),
        2 => number.prop_map(|renewal| Step::LoseRenewal { renewal }),
        1 => (0..3_usize).prop_map(|function| Step::Retire { function }),
        2 => (0..3_usize, prop::option::of(0..6_u32))
            .prop_map(|(function, reserved)| Step::Limit { function, reserved }),
        2 => prop::array::uniform3(0..4_u32).prop_map(|targets| Step::Provision { targets }),
        6 => prop_oneof![0..50_u64, 0..6_000_u64, 0..60_000_u64].prop_map(|ms| Step::Pass { ms }),
        8 => Just(Step::Turn),
    ]
}

fn outcome() -> impl Strategy<Value = SlotOutcome> {
    prop_oneof![
        8 => Just(SlotOutcome::Reusable),
        2 => Just(SlotOutcome::Gone),
        1 => Just(SlotOutcome::Unreachable),
    ]
}
