//! The pool's decisions: filling, taking, refilling, and failures of booting.

use super::*;
use crate::class::MemoryClass;
use crate::runtime::RuntimeClass;

const PROVIDED: SandboxClass = of_size(RuntimeClass::Provided, 128);
const PROVIDED_512: SandboxClass = of_size(RuntimeClass::Provided, 512);
const PYTHON: SandboxClass = of_size(RuntimeClass::Python { minor: 11 }, 128);

const fn of_size(runtime: RuntimeClass, mb: u32) -> SandboxClass {
    SandboxClass { runtime, memory: MemoryClass::of_mb(mb) }
}

#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Boot(SandboxNumber, SandboxClass),
    Discard(SandboxNumber),
}

impl Outbox for Vec<Ask> {
    fn boot(&mut self, number: SandboxNumber, class: SandboxClass) {
        self.push(Ask::Boot(number, class));
    }

    fn discard(&mut self, number: SandboxNumber) {
        self.push(Ask::Discard(number));
    }
}

fn at(ms: u64) -> Moment {
    Moment::ORIGIN + Duration::from_millis(ms)
}

fn core(min: u32, max: u32, booting: u32, classes: &[SandboxClass]) -> PoolCore {
    PoolCore::new(PoolBounds { min, max, booting }, classes.iter().copied())
}

/// Boots whatever is asked for until nothing more is; returns the numbers that came up.
fn settle(core: &mut PoolCore, now: Moment) -> Vec<SandboxNumber> {
    let (mut asks, mut up) = (Vec::new(), Vec::new());
    core.on_time(now, &mut asks);
    while let Some(ask) = asks.pop() {
        if let Ask::Boot(number, _) = ask {
            up.push(number);
            core.on_booted(now, number, &mut asks);
            core.check_invariants();
        }
    }
    up
}

#[test]
fn fills_every_class_a_few_at_a_time() {
    let mut core = core(2, 8, 3, &[PROVIDED, PYTHON]);
    let mut asks = Vec::new();
    core.on_time(at(0), &mut asks);
    core.check_invariants();
    assert_eq!(asks.len(), 3);
    assert!(!core.ready());
    let first = std::mem::take(&mut asks);
    for ask in first {
        let Ask::Boot(number, _) = ask else { panic!("{ask:?}") };
        core.on_booted(at(1), number, &mut asks);
        core.check_invariants();
    }
    assert!(core.ready());
    let [Ask::Boot(number, _)] = asks[..] else { panic!("{asks:?}") };
    core.on_booted(at(2), number, &mut asks);
    assert_eq!(core.counts(), [(PROVIDED, 2), (PYTHON, 2)]);
    assert_eq!(asks.len(), 1, "nothing else was asked for");
    assert_eq!(core.deadline(), None);
}

#[test]
fn grows_with_a_burst_and_shrinks_after_it() {
    let mut core = core(2, 8, 4, &[PROVIDED]);
    settle(&mut core, at(0));
    for _ in 0..5 {
        core.on_wanted(at(1_000), PROVIDED);
        core.on_take(PROVIDED);
    }
    settle(&mut core, at(1_001));
    assert_eq!(core.counts(), [(PROVIDED, 5)]);
    assert_eq!(core.deadline(), Some(at(11_000)));
    let mut asks = Vec::new();
    core.on_time(at(11_000), &mut asks);
    core.check_invariants();
    assert!(matches!(asks[..], [Ask::Discard(_), Ask::Discard(_), Ask::Discard(_)]), "{asks:?}");
    assert_eq!(core.counts(), [(PROVIDED, 2)]);
}

/// Of the sizes of a runtime only the smallest boots at the start; the others follow demand, and leave nothing when it is over.
#[test]
fn larger_classes_are_booted_only_after_somebody_wanted_one() {
    let mut core = core(2, 8, 4, &[PROVIDED, PROVIDED_512, PYTHON]);
    settle(&mut core, at(0));
    assert_eq!(core.counts(), [(PROVIDED, 2), (PROVIDED_512, 0), (PYTHON, 2)]);
    assert!(core.ready());
    assert_eq!(core.on_take(PROVIDED_512), None);
    core.on_wanted(at(1_000), PROVIDED_512);
    settle(&mut core, at(1_000));
    assert_eq!(core.counts(), [(PROVIDED, 2), (PROVIDED_512, 1), (PYTHON, 2)]);
    assert!(core.on_take(PROVIDED_512).is_some());
    core.check_invariants();
    settle(&mut core, at(1_001));
    let mut asks = Vec::new();
    core.on_time(at(11_000), &mut asks);
    core.check_invariants();
    assert!(matches!(asks[..], [Ask::Discard(_)]), "{asks:?}");
    assert_eq!(core.deadline(), None);
}

/// Any order of events over several sizes of several runtimes.
#[test]
fn any_order_of_events() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let classes = [PROVIDED, PROVIDED_512, PYTHON, of_size(RuntimeClass::Python { minor: 11 }, 10_240)];
    for seed in 0..500 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut core = core(random.random_range(0..3), 5, random.random_range(1..5), &classes);
        let (mut asks, mut booting, mut up, mut ms) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..200 {
            ms += random.random_range(0..2_000);
            let class = classes[random.random_range(0..classes.len())];
            match random.random_range(0..5) {
                0 => core.on_time(at(ms), &mut asks),
                1 if !booting.is_empty() => {
                    let number = booting.swap_remove(random.random_range(0..booting.len()));
                    up.push(number);
                    core.on_booted(at(ms), number, &mut asks);
                }
                2 if !booting.is_empty() => core.on_failed(at(ms), booting.swap_remove(0), "no".into(), &mut asks),
                _ => {
                    core.on_wanted(at(ms), class);
                    if let Some(taken) = core.on_take(class) {
                        assert!(up.contains(&taken), "seed {seed}: {taken} was given without being up");
                        up.retain(|number| *number != taken);
                    }
                }
            }
            for ask in asks.drain(..) {
                match ask {
                    Ask::Boot(number, _) => booting.push(number),
                    Ask::Discard(number) => {
                        assert!(up.contains(&number), "seed {seed}");
                        up.retain(|other| *other != number);
                    }
                }
            }
            core.check_invariants();
            let ready: u32 = core.counts().iter().map(|(_, count)| count).sum();
            assert_eq!(ready as usize, up.len(), "seed {seed}");
        }
    }
}

#[test]
fn never_above_its_bound() {
    let mut core = core(1, 3, 10, &[PROVIDED]);
    for round in 0..100 {
        core.on_wanted(at(round), PROVIDED);
        settle(&mut core, at(round));
    }
    assert_eq!(core.counts(), [(PROVIDED, 3)]);
}

#[test]
fn size_zero_is_off_and_ready() {
    let mut core = core(0, 8, 4, &[PROVIDED]);
    core.on_wanted(at(0), PROVIDED);
    assert!(settle(&mut core, at(0)).is_empty());
    assert!(core.ready());
    assert_eq!(core.on_take(PROVIDED), None);
    assert_eq!(core.deadline(), None);
}

#[test]
fn failures_back_off_and_are_told() {
    let mut core = core(1, 2, 4, &[PROVIDED, PYTHON]);
    let mut asks = Vec::new();
    core.on_time(at(0), &mut asks);
    core.on_booted(at(0), 1, &mut asks);
    core.on_booted(at(0), 2, &mut asks);
    asks.clear();
    // A pooled sandbox dies: it is replaced, after a wait.
    core.on_failed(at(10), 2, "died".into(), &mut asks);
    core.check_invariants();
    assert_eq!(asks, []);
    assert_eq!(core.deadline(), Some(at(260)));
    assert_eq!(core.troubles(), ["died"]);
    core.on_time(at(260), &mut asks);
    let [Ask::Boot(number, class)] = asks[..] else { panic!("{asks:?}") };
    asks.clear();
    core.on_failed(at(300), number, format!("{class} again"), &mut asks);
    assert_eq!(core.deadline(), Some(at(800)));
    core.on_time(at(800), &mut asks);
    let [Ask::Boot(number, _)] = asks[..] else { panic!("{asks:?}") };
    core.on_booted(at(900), number, &mut asks);
    assert!(core.troubles().is_empty());
    assert_eq!(core.counts(), [(PROVIDED, 1), (PYTHON, 1)]);
}

#[test]
fn one_broken_class_does_not_keep_the_others_from_being_ready() {
    let mut core = core(1, 2, 4, &[PROVIDED, PYTHON]);
    let mut asks = Vec::new();
    core.on_time(at(0), &mut asks);
    core.on_booted(at(0), 1, &mut asks);
    let mut now = at(0);
    for _ in 0..3 {
        assert!(!core.ready());
        let number = asks.iter().rev().find_map(|ask| match ask {
            Ask::Boot(number, _) => Some(*number),
            Ask::Discard(_) => None,
        });
        core.on_failed(now, number.unwrap(), "broken".into(), &mut asks);
        now = core.deadline().unwrap();
        core.on_time(now, &mut asks);
    }
    assert!(core.ready());
    assert_eq!(core.troubles(), ["broken"]);
}
