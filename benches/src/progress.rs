//! How far a job is, for who waits for it. On a terminal it is one line that is written anew; elsewhere a line every few
//! seconds, so that a log shows that the job lives. On standard error, beside what is told on standard output.
//!
//! ```
//! # use hearth_benches::progress::Progress;
//! let progress = Progress::of("cold starts", 200);
//! for _ in 0..200 {
//!     // … one of them; between two, as telling takes a few microseconds …
//!     progress.step();
//! }
//! // The line goes when `progress` does.
//! ```
//!
//! Takes `&self`, so that tasks may share one. What has no known end is `Progress::of("slots", 0)`.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks of a line that is written anew.
const REWRITE: Duration = Duration::from_millis(100);
/// Between two lines of a log.
const LOG: Duration = Duration::from_secs(5);
/// A line that is written anew must not be broken.
const COLUMNS: usize = 78;

/// See the module.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    what: String,
    detail: String,
    done: u64,
    total: u64,
    begun: Instant,
    told: Instant,
    has_line: bool,
}

impl Progress {
    /// None of `total` steps is done; 0 if their number is not known.
    #[must_use]
    pub fn of(what: impl Into<String>, total: u64) -> Self {
        let now = Instant::now();
        let state =
            State { what: what.into(), detail: String::new(), done: 0, total, begun: now, told: now, has_line: false };
        Self { is_terminal: stderr().is_terminal(), state: Mutex::new(state) }
    }

    /// One more is done.
    pub fn step(&self) {
        self.change(|state| state.done += 1);
    }

    /// So many are done.
    pub fn at(&self, done: u64) {
        self.change(|state| state.done = done);
    }

    /// What is being done, or was found last: stands behind the numbers.
    pub fn detail(&self, detail: impl Into<String>) {
        let detail = detail.into();
        self.change(|state| state.detail = detail);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let now = Instant::now();
        if now.duration_since(state.told) < if self.is_terminal { REWRITE } else { LOG } {
            return;
        }
        state.told = now;
        state.has_line = self.is_terminal;
        let line = state.line(now.duration_since(state.begun));
        // Nobody may be listening any more: that's no reason to end a measurement.
        let _ = if self.is_terminal {
            write!(stderr(), "\r\x1b[2K{}", line.chars().take(COLUMNS).collect::<String>())
        } else {
            writeln!(stderr(), "{line}")
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.has_line {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}

impl State {
    fn line(&self, elapsed: Duration) -> String {
        let mut line = format!("{}: {}", self.what, self.done);
        if self.total > 0 {
            line += &format!(" of {}", self.total);
        }
        line += &format!(", {} s", elapsed.as_secs());
        if self.done > 0 && self.total > self.done {
            let left = elapsed.as_secs_f64() / self.done as f64 * (self.total - self.done) as f64;
            line += &format!(", about {left:.0} s left");
        }
        if !self.detail.is_empty() {
            line += &format!(": {}", self.detail);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_long() {
        let progress = Progress::of("boots", 30);
        progress.at(9);
        progress.step();
        progress.detail("jail");
        let line = |progress: &Progress| progress.state.lock().unwrap().line(Duration::from_secs(4));
        assert_eq!(line(&progress), "boots: 10 of 30, 4 s, about 8 s left: jail");
        let endless = Progress::of("slots", 0);
        endless.step();
        assert_eq!(line(&endless), "slots: 1, 4 s");
    }
}
