//! One platform that gets slot after slot.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, EVENT, Language};
use hearth_benches::memory;
use hearth_benches::platform::Platform;
use hearth_benches::progress::Progress;
use hearth_benches::statistics::Samples;
use http::{Method, Response};

use super::account::{Look, look};

/// Slots that are not counted: the first brings in what all share, and what it has becomes shared with the second.
const FIRST: u32 = 2;
/// Points of the curve at most, each of which reads what all processes have.
const POINTS: u32 = 20;
/// What a worker gives a microVM beyond its function's memory, MiB.
const GUEST_KERNEL_MIB: u64 = 32;

/// When to stop; whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Until {
    pub(super) slots: u32,
    /// Of the machine's memory in use.
    pub(super) memory_percent: Option<u32>,
}

/// How a platform grew.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) language: Language,
    pub(super) isolation: String,
    /// With the slots that are not counted.
    pub(super) before: Look,
    /// By number of slots beyond these.
    pub(super) points: Vec<(u32, Look)>,
    /// The first call of each function, which makes its slot; in order.
    pub(super) first_calls: Vec<Duration>,
    /// Why it ended.
    pub(super) stopped: String,
    /// Slots that were called again at the end.
    pub(super) again: Again,
    /// Open files that `hearth` may have.
    pub(super) open_files_max: u64,
}

/// What came of the calls at the end.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub(super) answers: Samples,
    /// Of these, those that found no slot any more.
    pub(super) cold: u32,
    /// What those said that did not answer.
    pub(super) failed: Vec<String>,
}

impl Growth {
    /// At the end.
    pub(super) fn last(&self) -> (u32, Look) {
        self.points.last().copied().unwrap_or((0, self.before))
    }
}

/// Starts a platform with nothing in the way of slots but the machine, and fills it.
pub(super) async fn measure(
    language: Language,
    isolation: Option<&str>,
    memory_mb: u32,
    until: Until,
    every: u32,
) -> Result<Growth> {
    let mut settings = vec![
        ("pool-size", "0"),
        // No slot goes because it is idle, or because others were promised much.
        ("keep-alive-min", "6h"),
        ("keep-alive-max", "6h"),
        ("max-slots", "100000"),
        ("cpu-overcommit-percent", "100000"),
        ("memory-overcommit-percent", "100000"),
        ("capacity-wait", "2s"),
    ];
    settings.extend(isolation.map(|kind| ("isolation", kind)));
    let platform = Platform::with(&settings)?;
    let mut fill = Fill {
        connection: Connection::open(&platform.address, Some(platform.keys.clone())).await?,
        language,
        memory_mb,
        guest_bytes: (u64::from(memory_mb) + GUEST_KERNEL_MIB) << 20,
        platform: &platform,
    };
    for number in 1..=FIRST {
        let added = fill.add(&format!("first-{number}")).await?;
        added.map_err(anyhow::Error::msg).with_context(|| format!("slot {number}"))?;
    }
    let before = look(platform.pid(), fill.guest_bytes);
    ensure!(before.memory.hearth > 0, "this kernel does not tell the memory of processes (/proc/PID/smaps)");
    let mut growth = Growth {
        language,
        isolation: platform.isolation.clone(),
        before,
        points: Vec::new(),
        first_calls: Vec::new(),
        stopped: String::new(),
        again: Again::default(),
        open_files_max: memory::open_files_max(platform.pid()),
    };
    growth.stopped = fill.grow(&mut growth, until).await?;
    growth.again = fill.call_again(growth.first_calls.len() as u32, every).await?;
    Ok(growth)
}

struct Fill<'a> {
    connection: Connection,
    language: Language,
    memory_mb: u32,
    guest_bytes: u64,
    platform: &'a Platform,
}

impl Fill<'_> {
    /// Until the end, whose reason it tells.
    async fn grow(&mut self, growth: &mut Growth, until: Until) -> Result<String> {
        let what = format!("{} {} slots", self.platform.isolation, self.language.name());
        let progress = Progress::of(what, if until.memory_percent.is_some() { 0 } else { until.slots.into() });
        let mut next_look = 1;
        for number in 1..=until.slots {
            match self.add(&name(number)).await? {
                Ok(took) => growth.first_calls.push(took),
                Err(refusal) => {
                    self.look(growth);
                    return Ok(format!("the platform said at slot {number}: {refusal}"));
                }
            }
            progress.step();
            progress.detail(format!("{} % of memory in use", memory::used_percent()));
            if number == next_look {
                self.look(growth);
                // With a known end, evenly; else ever more seldom, as each look takes longer.
                next_look += until.memory_percent.map_or(until.slots, |_| number * 4).div_ceil(POINTS);
            }
            if until.memory_percent.is_some_and(|percent| memory::used_percent() >= percent) {
                self.look(growth);
                return Ok(format!("{} % of the machine's memory were in use", memory::used_percent()));
            }
        }
        self.look(growth);
        Ok(format!("{} slots were asked for", until.slots))
    }

    fn look(&self, growth: &mut Growth) {
        let count = growth.first_calls.len() as u32;
        if growth.points.last().is_none_or(|(last, _)| *last < count) {
            growth.points.push((count, look(self.platform.pid(), self.guest_bytes)));
        }
    }

    /// Makes a function and calls it; how long the call took, or what the platform said.
    async fn add(&mut self, name: &str) -> Result<Result<Duration, String>> {
        function::deploy(&mut self.connection, self.language, name, self.memory_mb).await?;
        let begun = Instant::now();
        let answer = self.call(name).await?;
        let took = begun.elapsed();
        Ok(if is_echo(&answer) { Ok(took) } else { Err(said(&answer)) })
    }

    async fn call(&mut self, name: &str) -> Result<Response<Bytes>> {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        self.connection.send_with(Method::POST, &path, &[("x-amz-log-type", "Tail")], EVENT).await
    }

    /// Calls every `every`-th of `count` slots.
    async fn call_again(&mut self, count: u32, every: u32) -> Result<Again> {
        let mut again = Again::default();
        let progress = Progress::of("slots called again", u64::from(count.div_ceil(every)));
        for number in (1..=count).step_by(every as usize) {
            let begun = Instant::now();
            let answer = self.call(&name(number)).await?;
            let took = begun.elapsed();
            if is_echo(&answer) {
                again.answers.push(took);
                again.cold += u32::from(was_cold(&answer)?);
            } else {
                again.failed.push(format!("slot {number}: {}", said(&answer)));
            }
            progress.step();
        }
        Ok(again)
    }
}

fn name(number: u32) -> String {
    format!("idle-{number}")
}

fn is_echo(answer: &Response<Bytes>) -> bool {
    answer.status() == 200 && !answer.headers().contains_key("x-amz-function-error") && answer.body() == &EVENT
}

fn said(answer: &Response<Bytes>) -> String {
    format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body()))
}

/// By the REPORT line, which tells of an init where there was one.
fn was_cold(answer: &Response<Bytes>) -> Result<bool> {
    let Some(tail) = answer.headers().get("x-amz-log-result") else { bail!("an answer without its log") };
    let tail = STANDARD.decode(tail)?;
    Ok(String::from_utf8_lossy(&tail).contains("Init Duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_it_was_cold() {
        let answer = |log: &str| {
            let answer = Response::builder().header("x-amz-log-result", STANDARD.encode(log));
            answer.body(EVENT).unwrap()
        };
        assert!(was_cold(&answer("REPORT RequestId: 1\tInit Duration: 3.0 ms\n")).unwrap());
        assert!(!was_cold(&answer("REPORT RequestId: 1\tDuration: 3.0 ms\n")).unwrap());
        assert!(was_cold(&Response::new(EVENT)).is_err());
        assert!(is_echo(&answer("")) && !is_echo(&Response::new(Bytes::new())));
    }
}
