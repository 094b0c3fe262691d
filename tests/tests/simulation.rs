//! Thousands of storms, each from a seed; planted bugs that have to be found; large fleets.
//!
//! A seed that fails is printed with the command that runs it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hearth_tests::simulation::{Fault, Scenario, Summary, World, storm, storm_told};

/// Storms in every run of the tests.
const STORMS: u64 = 3_000;
/// Storms within which each planted bug has to be found.
const STORMS_TO_FIND_A_BUG: u64 = 1_500;
/// Names a seed to run instead of all, with everything that happens in it printed.
const SEED_VARIABLE: &str = "HEARTH_SIM_SEED";
/// Names how many storms to run instead of [`STORMS`].
const STORMS_VARIABLE: &str = "HEARTH_SIM_STORMS";

/// Runs seeds on all cores until one breaks an invariant; that one.
fn first_failing(seeds: u64, fault: Option<Fault>) -> Option<u64> {
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let run = || {
        while failed.load(Ordering::Relaxed) == u64::MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| storm(seed, fault))).is_err() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(run))));
    Some(failed.into_inner()).filter(|seed| *seed != u64::MAX)
}

fn again(seed: u64) -> String {
    format!("{SEED_VARIABLE}={seed} cargo test -p hearth-tests --test simulation storms -- --nocapture")
}

#[test]
fn storms_break_no_invariant() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        let seed = seed.parse().expect("a seed is a number");
        println!("{:#?}", storm_told(seed));
        return;
    }
    let storms = std::env::var(STORMS_VARIABLE).map_or(STORMS, |storms| storms.parse().expect("a number of storms"));
    let begun = Instant::now();
    let failed = first_failing(storms, None);
    println!("{storms} storms in {:?}", begun.elapsed());
    if let Some(seed) = failed {
        panic!("seed {seed} breaks an invariant; run it again with\n\n    {}\n", again(seed));
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..100 {
        assert_eq!(storm(seed, None), storm(seed, None), "seed {seed}");
    }
}

#[test]
fn storms_are_storms() {
    let runs: Vec<Summary> = (0..200).map(|seed| storm(seed, None)).collect();
    let calls: usize = runs.iter().map(|run| run.calls).sum();
    let ran: usize = runs.iter().map(|run| run.ran).sum();
    assert!(ran * 2 > calls, "of {calls} calls only {ran} ran: nothing is tested by refusing everything");
    assert!(ran * 100 < calls * 98, "of {calls} calls {ran} ran: hardly anything went wrong");
}

#[test]
fn planted_bugs_are_found() {
    for fault in Fault::ALL {
        let begun = Instant::now();
        let found = first_failing(STORMS_TO_FIND_A_BUG, Some(fault));
        println!("{fault:?}: seed {found:?}, {:?}", begun.elapsed());
        assert!(found.is_some(), "{fault:?} was not found within {STORMS_TO_FIND_A_BUG} storms");
    }
}

#[test]
fn calls_at_once_make_no_more_slots_than_calls() {
    for (seed, at_once) in [1, 2, 7, 50].into_iter().enumerate() {
        let run = World::new(Scenario::bursts(seed as u64, 4, 2, at_once, 1), None).run();
        assert_eq!(run.ran, run.calls);
        assert!(run.made.iter().all(|(slots, _)| *slots <= at_once), "{at_once} at once: {:?}", run.made);
    }
}

#[test]
fn a_function_stays_on_as_few_workers_as_its_load_allows() {
    const WINDOW: usize = hearth_placement::allocation::AFFINITY_WINDOW;
    let run = World::new(Scenario::bursts(1, 20, 30, 3, 6), None).run();
    assert_eq!(run.ran, run.calls);
    assert!(run.made.iter().all(|(_, workers)| *workers <= WINDOW), "{:?}", run.made);
    let on_one = run.made.iter().filter(|(_, workers)| *workers == 1).count();
    assert!(on_one * 2 > run.made.len(), "{:?}", run.made);
}

#[test]
fn a_large_fleet_serves_and_cleans_up() {
    const LONGEST: Duration = Duration::from_secs(60);
    for (workers, functions) in [(1_000, 300), (10_000, 100)] {
        let begun = Instant::now();
        let scenario = Scenario::bursts(7, workers, functions, 4, 3).reporting_every(Duration::from_secs(4));
        let run = World::new(scenario, None).run();
        println!("{workers} workers: {} events in {:?}", run.events, begun.elapsed());
        assert_eq!(run.ran, run.calls);
        assert!(begun.elapsed() < LONGEST, "{workers} workers took {:?}", begun.elapsed());
    }
}
