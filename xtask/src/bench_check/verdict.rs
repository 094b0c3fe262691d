//! Whether a bench is slower: from several rounds on a machine that does other things, too.

use std::fmt;

use super::Times;

/// So much longer is slower.
const TOLERATED: f64 = 1.2;
/// Rounds of which a bench may be as fast as before by itself, and still be called slower.
const LUCKY_ROUNDS: usize = 1;

/// What came of one bench.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) bench: String,
    /// The least of all rounds, nanoseconds.
    base: f64,
    ours: f64,
    /// Rounds, and those in which ours took so much longer.
    rounds: usize,
    slow_rounds: usize,
}

impl Verdict {
    pub(super) fn is_slower(&self) -> bool {
        self.ours > TOLERATED * self.base && self.slow_rounds + LUCKY_ROUNDS >= self.rounds
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bench, base, ours, rounds, slow_rounds } = self;
        let mark = if self.is_slower() { "SLOWER" } else { "ok" };
        write!(f, "{bench:36} {base:12.0} ns {ours:12.0} ns  ×{:.2}  {slow_rounds}/{rounds}  {mark}", ours / base)
    }
}

/// Of every bench that both have.
pub(super) fn of(rounds: &[(Times, Times)]) -> Vec<Verdict> {
    let benches: Vec<_> = rounds.first().map(|(_, ours)| ours.keys().cloned().collect()).unwrap_or_default();
    benches.into_iter().filter_map(|bench| verdict(bench, rounds)).collect()
}

fn verdict(bench: String, rounds: &[(Times, Times)]) -> Option<Verdict> {
    let pairs: Option<Vec<_>> =
        rounds.iter().map(|(base, ours)| Some((*base.get(&bench)?, *ours.get(&bench)?))).collect();
    let pairs = pairs?;
    let base = pairs.iter().map(|pair| pair.0).fold(f64::INFINITY, f64::min);
    let ours = pairs.iter().map(|pair| pair.1).fold(f64::INFINITY, f64::min);
    let slow_rounds = pairs.iter().filter(|(base, ours)| *ours > TOLERATED * base).count();
    Some(Verdict { bench, base, ours, rounds: pairs.len(), slow_rounds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slower(pairs: &[(f64, f64)]) -> bool {
        let times = |value: f64| Times::from([("frame".to_owned(), value)]);
        let rounds: Vec<_> = pairs.iter().map(|(base, ours)| (times(*base), times(*ours))).collect();
        of(&rounds)[0].is_slower()
    }

    #[test]
    fn only_what_is_slower_again_and_again_is_called_so() {
        assert!(slower(&[(100.0, 130.0), (101.0, 128.0), (99.0, 131.0)]));
        assert!(slower(&[(100.0, 130.0), (140.0, 128.0), (99.0, 131.0)]), "the base was disturbed once");
        assert!(!slower(&[(100.0, 130.0), (100.0, 101.0), (100.0, 131.0)]), "ours was disturbed, mostly");
        assert!(!slower(&[(100.0, 119.0), (100.0, 118.0)]));
        assert!(!slower(&[(100.0, 80.0), (100.0, 81.0)]));
    }

    #[test]
    fn what_only_one_has_is_not_compared() {
        let times = |bench: &str| Times::from([(bench.to_owned(), 1.0)]);
        assert_eq!(of(&[(times("old"), times("new"))]), []);
    }
}
