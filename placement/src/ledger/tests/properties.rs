//! Any order of events: invariants hold, and every claim has exactly its outcomes.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_domain::{FencingToken, SlotId, SlotState};
use hearth_protocol::placement::ClaimOutcome;
use hearth_protocol::worker::{Fenced, InitSlotError};
use proptest::prelude::*;

use super::bench::{Bench, Sent, holder_id, init_failure, seen, unreachable};
use crate::ledger::RecoverTicket;

#[derive(Debug, Clone)]
enum Step {
    Claim {
        holder: u8,
        count: u8,
    },
    /// What becomes of the oldest open call: by its kind and this number.
    Answer(u8),
    Report {
        worker: u8,
        leave_out: u8,
    },
    Renew(u8),
    Release(u8),
    Recover(u8),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3u8, 0..4u8).prop_map(|(holder, count)| Step::Claim { holder, count }),
        (0..8u8).prop_map(Step::Answer),
        (0..8u8).prop_map(Step::Answer),
        (0..3u8, any::<u8>()).prop_map(|(worker, leave_out)| Step::Report { worker, leave_out }),
        any::<u8>().prop_map(Step::Renew),
        any::<u8>().prop_map(Step::Release),
        (0..3u8).prop_map(Step::Recover),
        (0..6_000u16).prop_map(Step::Pass),
    ]
}

/// What the world around the ledger knows.
#[derive(Default)]
struct World {
    calls: Vec<Sent>,
    slots: BTreeMap<SlotId, (String, FencingToken, String)>,
    told: BTreeMap<u64, u32>,
    claimed: BTreeMap<u64, u32>,
    tokens: Vec<FencingToken>,
    claims: u32,
}

impl World {
    fn take_sent(&mut self, bench: &mut Bench, holder: &str) {
        while let Some(sent) = bench.out.0.pop_front() {
            match sent {
                Sent::Init(ref worker, slot, token) => {
                    self.tokens.push(token);
                    assert!(self.slots.insert(slot, (worker.clone(), token, holder.to_owned())).is_none());
                    self.calls.push(sent);
                }
                Sent::Fence(_, slot, token) => {
                    self.tokens.push(token);
                    self.slots.entry(slot).and_modify(|known| known.1 = token);
                    self.calls.push(sent);
                }
                Sent::Reclaim(..) | Sent::Recovered(..) => {}
                Sent::Outcome(ticket, ClaimOutcome::Granted(_) | ClaimOutcome::InitFailed(_))
                | Sent::Outcome(ticket, ClaimOutcome::NoCapacity { .. }) => *self.told.entry(ticket).or_default() += 1,
            }
        }
    }

    fn pick(&self, index: u8) -> Option<(SlotId, (String, FencingToken, String))> {
        let index = usize::from(index) % self.slots.len().max(1);
        self.slots.iter().nth(index).map(|(slot, known)| (*slot, known.clone()))
    }

    fn answer(&mut self, bench: &mut Bench, how: u8) {
        if self.calls.is_empty() {
            return;
        }
        match self.calls.remove(0) {
            Sent::Init(worker, slot, token) => {
                let result = match how {
                    0 => Err(InitSlotError::Refused { reason: "full".to_owned() }),
                    1 => Err(unreachable(false).into()),
                    2 => Err(unreachable(true).into()),
                    3 => Err(InitSlotError::InitFailed(Box::new(init_failure()))),
                    _ => Ok(()),
                };
                bench.init_result((worker, slot, token), result);
            }
            Sent::Fence(_, slot, token) => {
                let result = match how {
                    0 => Err(unreachable(false)),
                    1 => Ok(Fenced::Unknown),
                    2 => Ok(Fenced::Draining),
                    _ => Ok(Fenced::Idle),
                };
                bench.ledger.on_fence_result(bench.now, (slot, token), result, &mut bench.out);
            }
            other => unreachable!("not a call: {other:?}"),
        }
    }

    fn apply(&mut self, bench: &mut Bench, step: &Step) {
        match *step {
            Step::Claim { holder, count } => {
                self.claims += 1;
                let ticket = bench.claim(&format!("c{}", self.claims), &format!("m{holder}"), 128, u32::from(count));
                self.claimed.insert(ticket, u32::from(count));
            }
            Step::Answer(how) => self.answer(bench, how),
            Step::Report { worker, leave_out } => {
                let name = format!("w{worker}");
                let kept = |(index, _): &(usize, _)| leave_out & 1 << (index % 8) == 0;
                let here = self.slots.iter().filter(|(_, known)| known.0 == name).enumerate().filter(kept);
                let slots: Vec<_> =
                    here.map(|(_, (slot, known))| seen(*slot, known.1, &known.2, SlotState::Idle)).collect();
                bench.report(&name, &slots);
            }
            Step::Renew(which) => {
                if let Some((slot, (_, token, holder))) = self.pick(which) {
                    bench.renew(&holder, slot, token);
                }
            }
            Step::Release(which) => {
                if let Some((slot, (_, token, holder))) = self.pick(which) {
                    bench.release(&holder, slot, token);
                }
            }
            Step::Recover(holder) => {
                let holder = holder_id(&format!("m{holder}"));
                // Too many at once is an answer, too.
                let _ = bench.ledger.on_recover(bench.now, &holder, RecoverTicket(0), &mut bench.out);
            }
            Step::Pass(ms) => bench.pass(Duration::from_millis(ms.into())),
        }
        bench.ledger.check_invariants();
        self.take_sent(bench, "m0");
    }
}

proptest! {
    #[test]
    fn invariants_hold_and_every_claim_is_answered(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::with_workers(&["w0", "w1", "w2"]);
        let mut world = World::default();
        for step in &steps {
            world.apply(&mut bench, step);
        }
        while !world.calls.is_empty() {
            world.apply(&mut bench, &Step::Answer(7));
        }
        for (ticket, count) in &world.claimed {
            prop_assert_eq!(world.told.get(ticket).copied().unwrap_or_default(), *count);
        }
        prop_assert!(world.tokens.is_sorted_by(|a, b| a < b), "tokens grow: {:?}", world.tokens);
    }
}
