//! Districts against a plain model: everybody sorted by the function's order, whoever has no room left out.

use std::collections::BTreeMap;

use super::*;

/// Every worker with room, in the function's order, found by looking at all.
fn model(wanted: Wanted, fleet: &BTreeMap<usize, Host>, depth: u32) -> Vec<usize> {
    let order = |host: &Host| {
        let hash = host.hash();
        let (mut fork, mut part) = (1, Vec::new());
        for level in 1..=depth {
            let side = hash.first_bits(level) & 1;
            part.push(side != wanted.function.side(fork as u64));
            fork = 2 * fork + side;
        }
        (part, std::cmp::Reverse(wanted.function.score(hash)))
    };
    let fits = |host: &&Host| host.standing().has_room(wanted.need);
    let calm = |host: &&Host| host.standing().has_room_and_is_calm(wanted.need);
    let mut with_room: Vec<_> = fleet.values().filter(fits).collect();
    if with_room.iter().any(calm) {
        with_room.retain(calm);
    }
    with_room.sort_by_key(|host| order(host));
    with_room.into_iter().map(|host| host.index).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Fill(usize, u64),
    Load(usize, u64, u64),
    /// So many workers come, or go, at once.
    Grow(usize),
    Shrink(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_000usize).prop_map(Step::Join),
        4 => (0..2_000usize).prop_map(Step::Leave),
        8 => (0..2_000usize, 0..11u64).prop_map(|(index, slots)| Step::Fill(index, slots)),
        4 => (0..2_000usize, 0..1_000u64, 0..1_000u64).prop_map(|(index, mb, cpu)| Step::Load(index, mb, cpu)),
        1 => (0..600usize).prop_map(Step::Grow),
        1 => (0..600usize).prop_map(Step::Shrink),
    ]
}

#[derive(Default)]
struct Fleet {
    hosts: BTreeMap<usize, Host>,
    districts: Districts<usize>,
}

impl Fleet {
    fn of(size: usize) -> Self {
        let mut fleet = Self::default();
        (0..size).for_each(|index| fleet.put(worker(index)));
        fleet
    }

    fn put(&mut self, host: Host) {
        self.districts.set(host.hash(), &host.index, host.standing());
        self.hosts.insert(host.index, host);
    }

    fn take(&mut self, index: usize) {
        if let Some(host) = self.hosts.remove(&index) {
            self.districts.remove(host.hash(), &index);
        }
    }

    /// The worker of this number, or the next there is.
    fn near(&self, index: usize) -> Option<Host> {
        self.hosts.range(index..).next().or_else(|| self.hosts.first_key_value()).map(|(_, host)| host.clone())
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Join(index) => self.put(worker(index)),
            Step::Leave(index) => self.take(self.near(index).map_or(index, |host| host.index)),
            Step::Fill(index, slots) => {
                let Some(host) = self.near(index) else { return };
                let reserved = Reserved { memory_mb: slots * 100, milli_cpus: slots * 50, slots: slots as u32 };
                self.put(Host { reserved, ..host });
            }
            Step::Load(index, memory_mb, milli_cpus) => {
                let Some(host) = self.near(index) else { return };
                self.put(Host { load: Load { memory_mb, milli_cpus }, ..host });
            }
            Step::Grow(count) => (0..2_000).step_by(3).take(count).for_each(|index| self.put(worker(index))),
            Step::Shrink(count) => {
                let going: Vec<_> = self.hosts.keys().copied().take(count).collect();
                going.into_iter().for_each(|index| self.take(index));
            }
        }
    }

    fn list(&self, name: &str) -> Vec<usize> {
        let wanted = Wanted { function: function(name, Version::Latest), need: NEED };
        let list_by = |fits: fn(&Standing, Need) -> bool| {
            let mut ranking = Ranking::default();
            self.districts.walk(wanted, fits, |_| false, &mut ranking);
            ranking.into_keys().into_iter().copied().collect::<Vec<_>>()
        };
        let calm = list_by(Standing::has_room_and_is_calm);
        if calm.is_empty() { list_by(Standing::has_room) } else { calm }
    }

    fn check(&self, name: &str) {
        self.districts.check_invariants();
        let wanted = Wanted { function: function(name, Version::Latest), need: NEED };
        let expected: Vec<_> =
            model(wanted, &self.hosts, self.districts.depth()).into_iter().take(AFFINITY_WINDOW).collect();
        assert_eq!(self.list(name), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_finds_what_looking_at_all_finds(
        size in 0usize..1_500,
        steps in prop::collection::vec(step(), 1..20),
        names in prop::collection::vec("[a-z]{1,8}", 3),
    ) {
        let mut fleet = Fleet::of(size);
        for step in steps {
            fleet.apply(step);
            names.iter().for_each(|name| fleet.check(name));
        }
    }

    /// Also where there are many districts.
    #[test]
    fn a_worker_that_leaves_a_large_fleet_disturbs_nobody_else(leaving in 0usize..1_000, name in "[a-z]{1,8}") {
        let mut fleet = Fleet::of(1_000);
        let before = fleet.list(&name);
        fleet.take(leaving);
        let after = fleet.list(&name);
        let kept: Vec<_> = before.into_iter().filter(|index| *index != leaving).collect();
        prop_assert_eq!(&after[..kept.len()], &kept[..]);
    }
}

#[test]
fn districts_double_and_halve_with_room_between() {
    let mut fleet = Fleet::of(DISTRICT_MAX);
    assert_eq!(fleet.districts.depth(), 0);
    fleet.put(worker(DISTRICT_MAX));
    assert_eq!(fleet.districts.depth(), 1);
    for index in (2 * DISTRICT_MIN..=DISTRICT_MAX).rev() {
        fleet.take(index);
        assert_eq!(fleet.districts.depth(), 1, "{index} are left");
    }
    fleet.take(0);
    assert_eq!(fleet.districts.depth(), 0);
    fleet.check("f");
}

#[test]
fn functions_spread_evenly_over_a_large_fleet() {
    const WORKERS: usize = 2_000;
    let fleet = Fleet::of(WORKERS);
    let mut homes = vec![0; WORKERS];
    (0..20 * WORKERS).for_each(|index| homes[fleet.list(&format!("function-{index}"))[0]] += 1);
    // A fair share is 20; alone by chance some get twice that.
    assert!(homes.iter().all(|count| (1..60).contains(count)), "{:?}", homes.iter().max());
    let squares: f64 = homes.iter().map(|count| (f64::from(*count) - 20.0).powi(2)).sum();
    let deviation = (squares / WORKERS as f64).sqrt();
    assert!(deviation < 1.35 * 20f64.sqrt(), "{deviation}: not much more than chance alone makes it");
}

#[test]
fn the_last_room_in_a_full_fleet_is_found() {
    let mut fleet = Fleet::of(1_000);
    let full = Reserved { memory_mb: 1_000, milli_cpus: 0, slots: 10 };
    (0..1_000).for_each(|index| fleet.put(Host { reserved: full, ..worker(index) }));
    assert!(fleet.list("f").is_empty());
    fleet.put(worker(617));
    assert_eq!(fleet.list("f"), [617]);
}
