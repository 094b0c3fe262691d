//! The idle times of one function.

use std::time::Duration;

use hearth_domain::Moment;

use super::KeepAliveConfig;

/// Bins of a histogram: one minute each with the default range of an hour.
pub const BINS: usize = 60;

/// Idle times counted before all counts are halved, so that a function that changes its ways is followed.
const WEIGHT_MAX: u32 = 1_024;

/// Histogram of the times between the end of a function's last call and the beginning of its next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    bins: [u16; BINS],
    in_range: u32,
    out_of_bounds: u32,
    idle_since: Option<Moment>,
    window: Duration,
}

impl History {
    /// No history yet.
    #[must_use]
    pub fn new(config: &KeepAliveConfig) -> Self {
        Self { bins: [0; BINS], in_range: 0, out_of_bounds: 0, idle_since: None, window: config.default }
    }

    /// A call came while none was in flight.
    pub fn on_busy(&mut self, now: Moment, config: &KeepAliveConfig) {
        if let Some(idle_since) = self.idle_since.take() {
            self.record(now.since(idle_since), config);
            self.window = self.choose_window(config);
        }
    }

    /// The last call in flight ended.
    pub fn on_idle(&mut self, now: Moment) {
        self.idle_since = Some(now);
    }

    /// How long an idle slot is kept.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Idle times counted.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.in_range + self.out_of_bounds
    }

    /// Idle times longer than the histogram's range.
    #[must_use]
    pub fn out_of_bounds(&self) -> u32 {
        self.out_of_bounds
    }

    /// Before this, counted from the last call's end, hardly any next call came; `None` without any in range.
    #[must_use]
    pub fn head(&self, config: &KeepAliveConfig) -> Option<Duration> {
        let bin = self.percentile(config.head_percentile)?;
        Some(bin_width(config) * u32::try_from(bin).unwrap_or(u32::MAX))
    }

    /// By this, counted from the last call's end, nearly every next call had come; `None` without any in range.
    #[must_use]
    pub fn tail(&self, config: &KeepAliveConfig) -> Option<Duration> {
        let bin = self.percentile(config.tail_percentile)?;
        Some(bin_width(config) * u32::try_from(bin + 1).unwrap_or(u32::MAX))
    }

    fn record(&mut self, idle: Duration, config: &KeepAliveConfig) {
        if self.total() >= WEIGHT_MAX {
            self.halve();
        }
        let bin = idle.as_nanos() / bin_width(config).as_nanos().max(1);
        match usize::try_from(bin) {
            Ok(bin) if bin < BINS => {
                self.bins[bin] += 1;
                self.in_range += 1;
            }
            _ => self.out_of_bounds += 1,
        }
    }

    fn halve(&mut self) {
        for bin in &mut self.bins {
            *bin /= 2;
        }
        self.in_range = self.bins.iter().map(|bin| u32::from(*bin)).sum();
        self.out_of_bounds /= 2;
    }

    fn choose_window(&self, config: &KeepAliveConfig) -> Duration {
        if self.total() < config.enough {
            return config.default;
        }
        // Most calls come later than any window may reach: keeping would nearly always be in vain.
        if self.out_of_bounds > self.in_range {
            return config.min;
        }
        let tail = self.tail(config).unwrap_or(config.default);
        tail.mul_f64(1.0 + config.margin).clamp(config.min, config.max)
    }

    /// The bin in which `share` of the idle times in range is reached.
    fn percentile(&self, share: f64) -> Option<usize> {
        if self.in_range == 0 {
            return None;
        }
        let wanted = f64::from(self.in_range) * share;
        let mut seen = 0;
        self.bins.iter().position(|bin| {
            seen += u32::from(*bin);
            *bin > 0 && f64::from(seen) >= wanted
        })
    }
}

fn bin_width(config: &KeepAliveConfig) -> Duration {
    config.max / u32::try_from(BINS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Calls without duration, `idle` apart.
    fn regular(idle: Duration, calls: u32, config: &KeepAliveConfig) -> History {
        let (mut history, mut now) = (History::new(config), Moment::ORIGIN);
        for _ in 0..calls {
            history.on_busy(now, config);
            history.on_idle(now);
            now = now + idle;
        }
        history
    }

    #[test]
    fn default_until_there_is_enough() {
        let config = KeepAliveConfig::default();
        assert_eq!(regular(5 * MINUTE, 16, &config).window(), config.default);
        assert_ne!(regular(5 * MINUTE, 17, &config).window(), config.default);
    }

    #[test]
    fn the_window_covers_the_tail_with_its_margin() {
        let config = KeepAliveConfig::default();
        let history = regular(20 * MINUTE, 40, &config);
        assert_eq!(history.head(&config), Some(20 * MINUTE));
        assert_eq!(history.tail(&config), Some(21 * MINUTE));
        assert_eq!(history.window(), (21 * MINUTE).mul_f64(1.1));
    }

    #[test]
    fn the_window_stays_within_bounds() {
        let config = KeepAliveConfig::default();
        assert_eq!(regular(Duration::from_millis(1), 40, &config).window(), config.min.mul_f64(1.1));
        assert_eq!(regular(59 * MINUTE, 40, &config).window(), config.max);
        let narrow = KeepAliveConfig { max: config.default, ..config };
        assert_eq!(regular(Duration::from_millis(1), 40, &narrow).window(), narrow.min);
    }

    #[test]
    fn what_comes_later_than_any_window_is_not_waited_for() {
        let config = KeepAliveConfig::default();
        let history = regular(120 * MINUTE, 40, &config);
        assert_eq!(history.out_of_bounds(), 39);
        assert_eq!((history.window(), history.tail(&config)), (config.min, None));
    }

    #[test]
    fn a_function_that_changes_its_ways_is_followed() {
        let config = KeepAliveConfig::default();
        let mut history = regular(30 * MINUTE, 2_000, &config);
        assert!(history.total() <= WEIGHT_MAX);
        let mut now = Moment::ORIGIN + 100_000 * MINUTE;
        history.on_idle(now);
        for _ in 0..8_000 {
            now = now + Duration::from_secs(1);
            history.on_busy(now, &config);
            history.on_idle(now);
        }
        assert_eq!(history.window(), config.min.mul_f64(1.1));
    }
}
