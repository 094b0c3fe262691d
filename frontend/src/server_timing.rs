//! `Server-Timing` (W3C): where the time of one call went, for who asks with `X-Hearth-Timing: 1`.
//!
//! ```text
//!  began        asked                         reserved                    answered      head written
//!    ├── admit ───┼─ route · claim · boot|take ──┼── dispatch · handler ──────┼── reply ──────┤
//!                 │         · attach · init      │                            │
//! ```
//!
//! The four marks are this role's own, so the parts add up to its whole time. What lies between two of them is split by
//! durations that other roles took by their own clocks; the rest is what was under way between the roles, and theirs
//! alone to answer for: no clocks of two hosts are ever compared. A part that did not happen is left out, and none is
//! negative. Nothing is noted for a call that does not ask.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearth_protocol::worker_manager::AwaitedStart;
use http::{HeaderMap, HeaderValue};

/// What a client sends to be told.
const ASKS: &str = "x-hearth-timing";
/// Where it is told.
pub(crate) const SERVER_TIMING: &str = "server-timing";

/// Takes note of one call on its way.
#[derive(Debug, Default)]
pub struct CallTimes(Mutex<Marks>);

#[derive(Debug, Default, Clone, Copy)]
struct Marks {
    /// The first request for a slot went out.
    asked: Option<Instant>,
    reserved: Option<Reserved>,
    answered: Option<Answered>,
}

/// The manager's last word came.
#[derive(Debug, Clone, Copy)]
struct Reserved {
    at: Instant,
    start: Option<AwaitedStart>,
}

/// The worker's answer came.
#[derive(Debug, Clone, Copy)]
struct Answered {
    at: Instant,
    handler: Duration,
}

/// A part of the whole: its name and how long it was.
type Part = (&'static str, Duration);

/// Whether a request asks to be told.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    headers.get(ASKS).is_some_and(|value| value == "1")
}

impl CallTimes {
    /// A slot is asked for.
    pub(crate) fn on_asked(&self) {
        self.lock().asked.get_or_insert_with(Instant::now);
    }

    /// There is a slot, or a start that failed; `start` is what the call waited for.
    pub(crate) fn on_reserved(&self, start: Option<AwaitedStart>) {
        self.lock().reserved = Some(Reserved { at: Instant::now(), start });
    }

    /// The function answered; it ran for `handler`.
    pub(crate) fn on_answered(&self, handler: Duration) {
        self.lock().answered = Some(Answered { at: Instant::now(), handler });
    }

    /// The header's value for a call that began at `began` and whose head is written now.
    pub(crate) fn header(&self, began: Instant) -> Option<HeaderValue> {
        let parts = self.lock().parts(began, Instant::now());
        HeaderValue::try_from(text(&parts)).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    fn parts(&self, began: Instant, until: Instant) -> Vec<Part> {
        let asked = self.asked.unwrap_or(until);
        let mut parts = vec![("admit", asked.saturating_duration_since(began))];
        let mut last = asked;
        if let Some(Reserved { at, start }) = self.reserved {
            let took = at.saturating_duration_since(asked);
            let start = start.map(|start| start_parts(start, took)).unwrap_or_default();
            let started: Duration = start.iter().map(|(_, took)| *took).sum();
            parts.push(("route", took.saturating_sub(started)));
            parts.extend(start.into_iter().filter(|(_, took)| !took.is_zero()));
            last = at;
        }
        if let Some(Answered { at, handler }) = self.answered {
            let took = at.saturating_duration_since(last);
            let handler = handler.min(took);
            parts.extend([("dispatch", took.saturating_sub(handler)), ("handler", handler)]);
            last = at;
        }
        parts.push(("reply", until.saturating_duration_since(last)));
        parts
    }
}

/// The parts of a start within `most`. Of a start that was half done when the call came, the call waited for the latter
/// part.
fn start_parts(start: AwaitedStart, most: Duration) -> [Part; 4] {
    let (awaited, times) = (start.awaited.min(most), start.times);
    let mut before = times.whole().saturating_sub(awaited);
    let [sandbox, attach, init] = [times.sandbox, times.attach, times.init].map(|part| {
        let kept = part.saturating_sub(before);
        before = before.saturating_sub(part);
        kept
    });
    let claim = awaited.saturating_sub(times.whole());
    [("claim", claim), (if times.from_pool { "take" } else { "boot" }, sandbox), ("attach", attach), ("init", init)]
}

/// Milliseconds, to the microsecond.
fn text(parts: &[Part]) -> String {
    let mut text = String::with_capacity(24 * parts.len());
    for (index, (name, took)) in parts.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a string can't fail.
        let _ = write!(text, "{comma}{name};dur={}.{:03}", took.as_millis(), took.subsec_micros() % 1_000);
    }
    text
}

#[cfg(test)]
mod tests {
    use hearth_domain::StartTimes;
    use proptest::prelude::*;

    use super::*;

    fn marks(began: Instant, at: [u64; 3], start: Option<AwaitedStart>, handler: u64) -> Marks {
        let [asked, reserved, answered] = at.map(|us| began + Duration::from_micros(us));
        let handler = Duration::from_micros(handler);
        Marks {
            asked: Some(asked),
            reserved: Some(Reserved { at: reserved, start }),
            answered: Some(Answered { at: answered, handler }),
        }
    }

    fn start(from_pool: bool, awaited: u64, parts: [u64; 3]) -> AwaitedStart {
        let [sandbox, attach, init] = parts.map(Duration::from_micros);
        let times = StartTimes { from_pool, sandbox, attach, init };
        AwaitedStart { awaited: Duration::from_micros(awaited), times }
    }

    fn told(marks: &Marks, began: Instant, until: u64) -> String {
        text(&marks.parts(began, began + Duration::from_micros(until)))
    }

    #[test]
    fn a_warm_call_has_no_start() {
        let began = Instant::now();
        let marks = marks(began, [50, 60, 1_300], None, 1_000);
        let expected = "admit;dur=0.050, route;dur=0.010, dispatch;dur=0.240, handler;dur=1.000, reply;dur=0.020";
        assert_eq!(told(&marks, began, 1_320), expected);
    }

    #[test]
    fn a_cold_call_tells_whether_its_sandbox_was_booted_or_taken() {
        let began = Instant::now();
        let cold = marks(began, [100, 30_100, 33_100], Some(start(false, 29_000, [9_000, 500, 18_000])), 2_000);
        let expected = "admit;dur=0.100, route;dur=1.000, claim;dur=1.500, boot;dur=9.000, attach;dur=0.500, \
                        init;dur=18.000, dispatch;dur=1.000, handler;dur=2.000, reply;dur=0.100";
        assert_eq!(told(&cold, began, 33_200), expected);
        let pooled = marks(began, [100, 3_100, 4_100], Some(start(true, 3_000, [200, 300, 2_000])), 400);
        assert!(told(&pooled, began, 4_200).contains("claim;dur=0.500, take;dur=0.200, attach;dur=0.300, init;dur=2"));
    }

    #[test]
    fn of_a_start_half_done_counts_what_was_waited_for() {
        let began = Instant::now();
        let late = marks(began, [0, 10_500, 11_500], Some(start(false, 10_000, [9_000, 500, 9_700])), 1_000);
        let expected = "admit;dur=0.000, route;dur=0.500, attach;dur=0.300, init;dur=9.700, dispatch;dur=0.000, \
                        handler;dur=1.000, reply;dur=0.000";
        assert_eq!(told(&late, began, 11_500), expected);
    }

    #[test]
    fn a_failed_init_has_no_handler() {
        let began = Instant::now();
        let marks =
            Marks { answered: None, ..marks(began, [10, 5_010, 0], Some(start(false, 4_000, [0, 0, 4_000])), 0) };
        assert_eq!(told(&marks, began, 5_020), "admit;dur=0.010, route;dur=1.000, init;dur=4.000, reply;dur=0.010");
    }

    #[test]
    fn only_one_asks() {
        let mut headers = HeaderMap::new();
        assert!(!is_asked(&headers));
        headers.insert("X-Hearth-Timing", HeaderValue::from_static("0"));
        assert!(!is_asked(&headers));
        headers.insert("X-Hearth-Timing", HeaderValue::from_static("1"));
        assert!(is_asked(&headers));
    }

    proptest! {
        /// Whatever the other roles say.
        #[test]
        fn parts_add_up_to_the_whole(
            gaps in [0u64..1 << 40, 0..1 << 40, 0..1 << 40, 0..1 << 40],
            parts in [any::<u64>(), any::<u64>(), any::<u64>()],
            (awaited, handler) in any::<(u64, u64)>(),
            from_pool in any::<bool>(),
            started in any::<bool>(),
        ) {
            let began = Instant::now();
            let mut at = 0;
            let marked = [gaps[0], gaps[1], gaps[2]].map(|gap| { at += gap; at });
            let until = at + gaps[3];
            let start = started.then(|| start(from_pool, awaited, parts));
            let parts = marks(began, marked, start, handler).parts(began, began + Duration::from_micros(until));
            prop_assert_eq!(parts.iter().map(|(_, took)| *took).sum::<Duration>(), Duration::from_micros(until));
            let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
            let order = ["admit", "route", "claim", "boot", "take", "attach", "init", "dispatch", "handler", "reply"];
            let places: Vec<_> = names.iter().map(|name| order.iter().position(|known| known == name)).collect();
            prop_assert!(places.is_sorted() && places.iter().all(Option::is_some), "{:?}", names);
        }
    }
}
