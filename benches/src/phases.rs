//! The phases of calls, as the platform tells them (`Server-Timing`), beside what the client measured.
//!
//! What the phases leave of the client's time is the client's own share: the connection, HTTP on both ends of it, and the
//! client itself. It is kept under [`CLIENT`], so that all shares add up to what the client saw.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::statistics::Samples;

/// The header by which a call asks for its phases.
pub const ASK: (&str, &str) = ("x-hearth-timing", "1");
/// The header in which they are told.
pub const TOLD: &str = "server-timing";
/// What is no phase of the platform's.
pub const CLIENT: &str = "client";
/// Every phase in the order in which it comes in a call; the client's share last.
pub const NAMES: [&str; 11] =
    ["admit", "route", "claim", "boot", "take", "attach", "init", "dispatch", "handler", "reply", CLIENT];
/// Phases that only a cold call has.
const OF_A_START: [&str; 5] = ["claim", "boot", "take", "attach", "init"];

/// One call, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// As the client measured it.
    pub whole: Duration,
    /// By name, in order; those that did not happen are not there.
    parts: Vec<(&'static str, Duration)>,
}

impl Call {
    /// Of a call that took `whole` and whose answer `told` this.
    pub fn read(whole: Duration, told: &str) -> Result<Self> {
        let mut parts = Vec::with_capacity(NAMES.len());
        let mut sum = Duration::ZERO;
        for part in told.split(", ") {
            let (name, ms) = part.split_once(";dur=").with_context(|| format!("no phase: {part:?}"))?;
            let Some(name) = NAMES.into_iter().find(|known| *known == name) else { bail!("unknown phase: {name:?}") };
            let ms: f64 = ms.parse().with_context(|| format!("no milliseconds: {part:?}"))?;
            let took = Duration::try_from_secs_f64(ms / 1e3).with_context(|| format!("no duration: {part:?}"))?;
            parts.push((name, took));
            sum += took;
        }
        // The frontend's clock and the client's are one, but each part was rounded.
        parts.push((CLIENT, whole.saturating_sub(sum)));
        Ok(Self { whole, parts })
    }

    /// How long a phase was, if there was one of that name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<Duration> {
        self.parts.iter().find(|(part, _)| *part == name).map(|(_, took)| *took)
    }

    /// Whether an environment was started for it.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.parts.iter().any(|(name, _)| OF_A_START.contains(name))
    }
}

/// Many calls, each phase by itself.
#[derive(Debug, Default, Clone)]
pub struct Phases {
    /// The whole, as the client measured it.
    pub whole: Samples,
    by_name: [Samples; NAMES.len()],
}

impl Phases {
    /// One more.
    pub fn push(&mut self, call: &Call) {
        self.whole.push(call.whole);
        for (name, samples) in NAMES.into_iter().zip(&mut self.by_name) {
            if let Some(took) = call.part(name) {
                samples.push(took);
            }
        }
    }

    /// Phases that any of the calls had, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Samples)> {
        NAMES.into_iter().zip(&self.by_name).filter(|(_, samples)| !samples.is_empty())
    }

    /// Each phase's share of the whole in milliseconds of the mean call; zero for those that did not happen. They add up
    /// to the mean whole.
    #[must_use]
    pub fn mean_ms(&self) -> [f64; NAMES.len()] {
        let calls = self.whole.len().max(1) as f64;
        self.by_name.each_ref().map(|samples| samples.sorted_ms().iter().sum::<f64>() / calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn a_call_is_taken_apart_and_the_rest_is_the_clients() {
        let warm = Call::read(us(900), "admit;dur=0.100, route;dur=0.050, handler;dur=0.500").unwrap();
        assert_eq!((warm.part("admit"), warm.part(CLIENT)), (Some(us(100)), Some(us(250))));
        assert!(!warm.is_cold() && warm.part("init").is_none());
        let cold = Call::read(us(900), "admit;dur=0.100, take;dur=0.900").unwrap();
        assert!(cold.is_cold() && cold.part(CLIENT) == Some(Duration::ZERO));
        for wrong in ["", "admit", "admit;dur=x", "admit;dur=-1", "sleep;dur=1"] {
            assert!(Call::read(us(1), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn means_add_up_to_the_whole() {
        let mut phases = Phases::default();
        for told in ["admit;dur=0.100, handler;dur=0.400", "admit;dur=0.300, take;dur=2.000, handler;dur=0.200"] {
            phases.push(&Call::read(us(3_000), told).unwrap());
        }
        let names: Vec<_> = phases.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["admit", "take", "handler", CLIENT]);
        assert!((phases.mean_ms().iter().sum::<f64>() - 3.0).abs() < 1e-9);
        assert!((phases.mean_ms()[4] - 1.0).abs() < 1e-9, "half of the calls took theirs");
    }
}
