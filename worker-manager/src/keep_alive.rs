//! How long an idle slot is kept: the window follows the function's own history.
//!
//! After Shahrad et al., "Serverless in the Wild" (USENIX ATC'20), section 4: a histogram of idle times per function,
//! the window from its tail percentile with a margin, a plain default until the history is long enough. What we do
//! differently is in docs/decisions/0024.

mod archive;
mod history;

use std::time::Duration;

use hearth_domain::timing::{KEEP_ALIVE_DEFAULT, KEEP_ALIVE_MAX, KEEP_ALIVE_MIN};

pub use archive::{Archive, HistoryKey};
pub use history::{BINS, History};

/// How keep-alive windows are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct KeepAliveConfig {
    /// Shortest window.
    pub min: Duration,
    /// Longest window, and the range of the histogram.
    pub max: Duration,
    /// Window while a history is too short to tell.
    pub default: Duration,
    /// Idle times a history needs before it is believed.
    pub enough: u32,
    /// Share of the idle times within range that lie before the head, 0 to 1.
    pub head_percentile: f64,
    /// Share of the idle times within range that the window covers, 0 to 1.
    pub tail_percentile: f64,
    /// What the window is longer than the tail, as a share of the tail.
    pub margin: f64,
    /// Most histories kept of functions that have neither slot nor call; then the one untouched longest goes.
    pub max_histories: usize,
}

impl Default for KeepAliveConfig {
    fn default() -> Self {
        Self {
            min: KEEP_ALIVE_MIN,
            max: KEEP_ALIVE_MAX,
            default: KEEP_ALIVE_DEFAULT,
            enough: 16,
            head_percentile: 0.05,
            tail_percentile: 0.99,
            margin: 0.10,
            max_histories: 10_000,
        }
    }
}

impl KeepAliveConfig {
    /// Whether the numbers make sense together; the text says what does not.
    pub fn check(&self) -> Result<(), String> {
        let ordered = !self.min.is_zero() && self.min <= self.default && self.default <= self.max;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if !ordered {
            return Err(format!(
                "keep-alive windows must be above zero and grow: min {:?}, default {:?}, max {:?}",
                self.min, self.default, self.max
            ));
        }
        if !share(self.head_percentile) || !share(self.tail_percentile) || self.head_percentile > self.tail_percentile {
            return Err("keep-alive percentiles must be from 0 to 1, the head's not above the tail's".into());
        }
        if !self.margin.is_finite() || self.margin < 0.0 {
            return Err("keep-alive margin must not be negative".into());
        }
        Ok(())
    }
}
