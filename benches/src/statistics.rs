//! Quantiles of durations.

use std::time::Duration;

/// Durations of one job, to be read as quantiles.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// All of another's.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, shortest first, in milliseconds.
    #[must_use]
    pub fn sorted_ms(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.into_iter().map(|sample| sample.as_secs_f64() * 1e3).collect()
    }

    /// In milliseconds. NaN without samples.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.0.iter().sum::<Duration>().as_secs_f64() * 1e3 / self.0.len() as f64
    }

    /// The sample that `share` (0 to 1) of all are not above, in milliseconds. NaN without samples.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let sorted = self.sorted_ms();
        let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<T: IntoIterator<Item = Duration>>(samples: T) -> Self {
        Self(samples.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        (1..=100).for_each(|ms| samples.push(Duration::from_millis(ms)));
        assert_eq!(samples.quantile_ms(0.5).round(), 50.0);
        assert_eq!(samples.quantile_ms(0.99).round(), 99.0);
        assert_eq!(samples.quantile_ms(1.0).round(), 100.0);
        assert!((samples.mean_ms() - 50.5).abs() < 1e-9);
        assert!(Samples::default().quantile_ms(0.5).is_nan() && Samples::default().mean_ms().is_nan());
    }
}
