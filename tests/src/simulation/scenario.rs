//! What a run consists of.

use std::time::Duration;

use hearth_domain::LeaseTerms;
use hearth_placement::allocation::LoadLimits;
use hearth_placement::ledger::LedgerConfig;
use hearth_worker_manager::keep_alive::KeepAliveConfig;
use hearth_worker_manager::router::RouterConfig;

use super::chance::Chance;
use super::clock::Instant;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A run: who takes part, what is asked of them, what goes wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(super) seed: u64,
    pub(super) workers: usize,
    pub(super) managers: usize,
    pub(super) worker_memory_mb: u64,
    /// Memory of each function, MB.
    pub(super) functions: Vec<u32>,
    /// When which function is called, in order of time.
    pub(super) calls: Vec<(Instant, usize)>,
    /// What goes wrong until [`Self::calm_at`].
    pub(super) weather: Weather,
    pub(super) crashes: Vec<(Instant, Victim)>,
    /// From here on nothing goes wrong.
    pub(super) calm_at: Instant,
    /// Calls that begin from here on have to succeed.
    pub(super) healed_at: Instant,
    /// Here everything is over and nothing may be left.
    pub(super) end_at: Instant,
    pub(super) max_drift_ppm: i64,
    pub(super) report_every: Duration,
    pub(super) ledger: LedgerConfig,
    pub(super) router: RouterConfig,
}

/// How bad the network is and how often slots fail, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Messages that take seconds.
    pub(super) late: u64,
    pub(super) slot_crashes: u64,
    pub(super) init_failures: u64,
    pub(super) slow_inits: u64,
    /// Two nodes that can't reach each other for a while: how many such times.
    pub(super) partitions: u64,
}

/// Who crashes; it comes back a little later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Placement,
    Manager(usize),
    Worker(usize),
}

impl Scenario {
    /// Everything goes wrong for 12 seconds. Times are a fifth of the real ones, in the same proportions, so that more
    /// happens in less.
    pub(super) fn storm(seed: u64) -> Self {
        let mut chance = Chance::from(seed);
        let mut scenario = Self::quiet(seed);
        scenario.workers = chance.within(1, 5) as usize;
        scenario.managers = chance.within(1, 3) as usize;
        scenario.worker_memory_mb = [512, 1_024, 2_048][chance.within(0, 3) as usize];
        let functions = chance.within(1, 5);
        scenario.functions = (0..functions).map(|_| [128, 256, 512][chance.within(0, 3) as usize]).collect();
        scenario.max_drift_ppm = 50_000;
        scenario.calm_at = Instant::from_ms(12_000);
        scenario.healed_at = Instant::from_ms(22_000);
        scenario.end_at = Instant::from_ms(45_000);
        let mild = chance.permille(300);
        let bad = |chance: &mut Chance, most: u64| if mild { 0 } else { chance.within(0, most) };
        scenario.weather = Weather {
            lost: bad(&mut chance, 120),
            doubled: bad(&mut chance, 120),
            late: bad(&mut chance, 60),
            slot_crashes: bad(&mut chance, 50),
            init_failures: bad(&mut chance, 50),
            slow_inits: bad(&mut chance, 100),
            partitions: bad(&mut chance, 4),
        };
        scenario.add_crashes(&mut chance);
        scenario.add_calls(&mut chance);
        scenario
    }

    /// `workers` of 4 GB, nothing goes wrong, no calls yet.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            workers: 1,
            managers: 1,
            worker_memory_mb: 4_096,
            functions: Vec::new(),
            calls: Vec::new(),
            weather: Weather::default(),
            crashes: Vec::new(),
            calm_at: Instant::from_ms(0),
            healed_at: Instant::from_ms(1_500),
            end_at: Instant::from_ms(30_000),
            max_drift_ppm: 0,
            report_every: MS(400),
            ledger: ledger_config(),
            router: router_config(),
        }
    }

    /// A quiet run in which each of `functions` functions is called `at_once` times at the same moment, `rounds` times.
    #[must_use]
    pub fn bursts(seed: u64, workers: usize, functions: usize, at_once: usize, rounds: usize) -> Self {
        const FIRST_MS: u64 = 2_000;
        const EVERY_MS: u64 = 1_500;
        let mut scenario = Self { workers, functions: vec![128; functions], ..Self::quiet(seed) };
        for round in 0..rounds {
            let at = Instant::from_ms(FIRST_MS + EVERY_MS * round as u64);
            for function in 0..functions {
                scenario.calls.extend(std::iter::repeat_n((at, function), at_once));
            }
        }
        scenario.router.account_concurrency = u32::MAX;
        scenario.router.max_waiters = usize::MAX;
        scenario.end_at = Instant::from_ms(FIRST_MS + EVERY_MS * rounds as u64 + 16_000);
        scenario
    }

    /// Reports less often, for fleets so large that reports are all that happens.
    #[must_use]
    pub fn reporting_every(mut self, interval: Duration) -> Self {
        self.report_every = interval;
        self.ledger.avoided_after = 3 * interval;
        self.ledger.lost_after = 6 * interval;
        self
    }

    /// Whether the calls that have to succeed fit, however unluckily they come together.
    pub(super) fn has_room(&self) -> bool {
        const AT_ONCE: u64 = 2;
        let largest = self.functions.iter().copied().max().unwrap_or_default();
        let wanted = AT_ONCE * self.functions.iter().map(|memory| u64::from(*memory)).sum::<u64>();
        let usable = self.worker_memory_mb.saturating_sub(u64::from(largest)) * self.workers as u64;
        usable >= wanted
    }

    fn add_crashes(&mut self, chance: &mut Chance) {
        for _ in 0..chance.within(0, 6) {
            let at = Instant::from_ms(chance.within(500, 11_500));
            let victim = match chance.within(0, 3) {
                0 => Victim::Placement,
                1 => Victim::Manager(chance.within(0, self.managers as u64) as usize),
                _ => Victim::Worker(chance.within(0, self.workers as u64) as usize),
            };
            self.crashes.push((at, victim));
        }
    }

    /// Bursts and single calls during the storm, and a few calls after it that have to succeed.
    fn add_calls(&mut self, chance: &mut Chance) {
        let functions = self.functions.len() as u64;
        for _ in 0..chance.within(2, 7) {
            let (at, function) = (chance.within(0, 12_000), chance.within(0, functions) as usize);
            for _ in 0..chance.within(1, 10) {
                self.calls.push((Instant::from_ms(at + chance.within(0, 20)), function));
            }
        }
        for _ in 0..chance.within(5, 20) {
            let call = (Instant::from_ms(chance.within(0, 12_000)), chance.within(0, functions) as usize);
            self.calls.push(call);
        }
        for function in 0..self.functions.len() {
            for _ in 0..2 {
                self.calls.push((Instant::from_ms(chance.within(22_000, 23_000)), function));
            }
        }
        self.calls.sort_unstable();
    }
}

fn ledger_config() -> LedgerConfig {
    LedgerConfig {
        terms: LeaseTerms::new(MS(1_000), MS(3_000), MS(4_000)),
        avoided_after: MS(1_000),
        lost_after: MS(2_500),
        forgotten_after: MS(20_000),
        settle_after: MS(1_000),
        expected_workers: None,
        load: LoadLimits { reserved_cpu_percent: 10_000, ..LoadLimits::default() },
    }
}

fn router_config() -> RouterConfig {
    let keep_alive =
        KeepAliveConfig { min: MS(2_000), default: MS(3_000), max: MS(6_000), ..KeepAliveConfig::default() };
    RouterConfig {
        account_concurrency: 30,
        max_waiters: 25,
        renew_together: MS(100),
        renew_retry: MS(300),
        first_use_margin: MS(200),
        claim_retry_max: MS(400),
        reservation_margin: MS(2_000),
        keep_alive,
        ..RouterConfig::default()
    }
}
