//! Random schedules: calls that come, leave, complete twice or never; workers that can't be reached; grants that come late or twice; renewals that are
//! lost, late, doubled or refused; revisions that end. After each step the router must be consistent, and what it
//! sent must agree with a plain model of what it may do.

mod model;
mod step;

use hearth_domain::SlotOutcome;
use proptest::prelude::*;

use model::World;
use step::{Step, step};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_router_keeps_its_promises(steps in prop::collection::vec(step(), 1..250)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.come_to_rest();
    }

    /// The same with placement answering at once and truly: then every call is served.
    #[test]
    fn with_a_faithful_placement_every_call_is_served(
        asks in prop::collection::vec((0..3_usize, 0..3_000_u64, 0..2_000_u64), 1..150),
    ) {
        let mut world = World::new();
        for (function, pause_ms, init_ms) in asks {
            world.take(&Step::Reserve { function });
            world.take(&Step::Pass { ms: pause_ms });
            world.answer_everything();
            world.take(&Step::Pass { ms: init_ms });
            world.answer_everything();
            world.take(&Step::Complete { call: 0, outcome: SlotOutcome::Reusable });
        }
        prop_assert_eq!(world.refused(), 0);
        world.come_to_rest();
    }

    /// With a faithful placement what is to be kept ready is ready, whatever calls and lost leases came before.
    #[test]
    fn with_a_faithful_placement_what_is_asked_for_is_kept_ready(
        steps in prop::collection::vec(step(), 1..100),
        targets in prop::array::uniform3(1..4_u32),
    ) {
        let mut world = World::new();
        steps.iter().filter(|step| !matches!(step, Step::Retire { .. })).for_each(|step| world.take(step));
        world.provision(targets);
        // As long as claims are put off at most, and then some turns.
        for ms in [300_000, 2_000, 2_000, 2_000] {
            world.take(&Step::Pass { ms });
            world.answer_everything();
        }
        let report = world.provision(targets);
        let ready: Vec<_> = report.functions.iter().map(|function| function.available).collect();
        prop_assert_eq!(ready, targets);
        world.come_to_rest();
    }
}
