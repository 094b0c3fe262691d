//! What several had as their figure in each of several rounds, and the ratios between them.

use hearth_benches::report::Table;
use serde_json::{Value, json};

/// One measure of all that had their turns.
#[derive(Debug)]
pub(super) struct Contest {
    /// What was measured, with its unit.
    measure: &'static str,
    /// Names, each with its figure of every round.
    entries: Vec<(String, Vec<f64>)>,
}

/// Of two figures, round by round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Contest {
    pub(super) fn of(measure: &'static str, names: impl Iterator<Item = String>) -> Self {
        Self { measure, entries: names.map(|name| (name, Vec::new())).collect() }
    }

    /// What one of them had in the next round.
    pub(super) fn add(&mut self, number: usize, figure: f64) {
        self.entries[number].1.push(figure);
    }

    /// What was measured, with its unit.
    pub(super) fn measure(&self) -> &str {
        self.measure
    }

    /// The figures of one, each round's.
    pub(super) fn figures(&self, number: usize) -> &[f64] {
        &self.entries[number].1
    }

    /// Of `ours` to `theirs`. NaN where there was no round.
    pub(super) fn ratio(&self, ours: usize, theirs: usize) -> Ratio {
        let rounds = self.figures(ours).iter().zip(self.figures(theirs));
        let ratios: Vec<f64> = rounds.map(|(ours, theirs)| ours / theirs).collect();
        Ratio {
            median: median(&ratios),
            lowest: ratios.iter().copied().fold(f64::NAN, f64::min),
            highest: ratios.iter().copied().fold(f64::NAN, f64::max),
        }
    }

    /// A line for each pair, by their numbers: ours, theirs.
    pub(super) fn table(&self, title: &str, pairs: &[(usize, usize)]) -> Table {
        let row = |&(ours, theirs): &(usize, usize)| {
            let Ratio { median: ratio, lowest, highest } = self.ratio(ours, theirs);
            let figure = |number: usize| shown(median(self.figures(number)));
            vec![
                self.entries[ours].0.clone(),
                figure(ours),
                self.entries[theirs].0.clone(),
                figure(theirs),
                format!("×{}", shown(ratio)),
                format!("{} – {}", shown(lowest), shown(highest)),
            ]
        };
        let columns = ["Hearth", self.measure, "beside", self.measure, "ratio", "lowest – highest"];
        Table {
            title: title.to_owned(),
            columns: columns.map(str::to_owned).into(),
            rows: pairs.iter().map(row).collect(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let entries = self.entries.iter().map(|(name, rounds)| json!({"name": name, "rounds": rounds}));
        json!({"measure": self.measure, "entries": entries.collect::<Vec<_>>()})
    }
}

/// The middle one, or the mean of the two in the middle. NaN of none.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// With three digits that mean something.
fn shown(figure: f64) -> String {
    match figure {
        f if !f.is_finite() => "–".into(),
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f if f >= 1.0 => format!("{f:.2}"),
        f => format!("{f:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_each_round() {
        let mut contest = Contest::of("ms", ["hearth", "bwrap"].map(str::to_owned).into_iter());
        // The machine was ten times slower in the second round.
        for (ours, theirs) in [(1.0, 2.0), (12.0, 20.0), (0.9, 3.0)] {
            contest.add(0, ours);
            contest.add(1, theirs);
        }
        assert_eq!(contest.ratio(0, 1), Ratio { median: 0.5, lowest: 0.3, highest: 0.6 });
        let table = contest.table("Cold", &[(0, 1)]);
        assert_eq!(table.rows, [["hearth", "1.00", "bwrap", "3.00", "×0.500", "0.300 – 0.600"].map(str::to_owned)]);
        let none = Contest::of("ms", ["a", "b"].map(str::to_owned).into_iter());
        assert_eq!(none.table("", &[(0, 1)]).rows[0][4], "×–");
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
    }
}
