//! The load: so many callers, in a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use hearth_benches::caller::{Caller, Target};
use hearth_benches::cpu::{Used, of_process};
use hearth_benches::pace::Pacer;

/// Longest time that is told from longer ones, nanoseconds.
const LONGEST_NS: u64 = 600_000_000_000;
/// Digits of a time that are kept.
const DIGITS: u8 = 3;

/// What to do.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) target: Arc<Target>,
    pub(super) callers: u32,
    pub(super) pace: Loop,
    pub(super) warm_up: Duration,
    pub(super) during: Duration,
    /// The process of the platform, if it is on this machine.
    pub(super) platform: Option<u32>,
}

/// When calls are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loop {
    /// Each caller's as soon as its last one is answered.
    Closed,
    /// So many a second, evenly; a call that finds all callers waiting is made late and counts from when it was due.
    Open { rate: f64 },
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) callers: u32,
    pub(super) pace: Loop,
    /// From when a call was made, or was due, to its answer; nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// How late this program woke up for calls that a caller was free for; nanoseconds.
    pub(super) late: Histogram<u64>,
    /// Calls that were due and not made when the run had taken twice its time.
    pub(super) unsent: u64,
    pub(super) took: Duration,
    /// CPU time of this program.
    pub(super) own: Duration,
    /// CPU time of the platform's processes.
    pub(super) used: Option<Used>,
}

impl Run {
    pub(super) fn calls(&self) -> u64 {
        self.latency.len()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.calls() as f64 / self.took.as_secs_f64()
    }
}

/// Runs it on a thread that has nothing else to do.
pub(super) async fn run(load: Load) -> Result<Run> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(load.run())
    })
    .await?
}

/// One caller's part.
struct Lane {
    caller: Caller,
    latency: Histogram<u64>,
    late: Histogram<u64>,
}

/// The calls of an open loop, which its callers share.
struct Agenda {
    begin: Instant,
    gap: Duration,
    calls: u64,
    next: AtomicU64,
    give_up: Instant,
}

impl Load {
    async fn run(self) -> Result<Run> {
        let mut lanes = Vec::new();
        for _ in 0..self.callers {
            lanes.push(Lane {
                caller: Caller::connect(self.target.clone()).await?,
                latency: histogram(),
                late: histogram(),
            });
        }
        lanes = closed(lanes, self.warm_up).await?;
        lanes.iter_mut().for_each(|lane| lane.latency.reset());
        let used = || self.platform.map(Used::of_tree);
        let (used_before, own_before) = (used(), of_process(std::process::id()));
        let begun = Instant::now();
        let (lanes, unsent) = match self.pace {
            Loop::Closed => (closed(lanes, self.during).await?, 0),
            Loop::Open { rate } => open(lanes, rate, self.during).await?,
        };
        let took = begun.elapsed();
        let own = of_process(std::process::id()).saturating_sub(own_before);
        let used = used().zip(used_before).map(|(after, before)| after.since(before));
        let (mut latency, mut late) = (histogram(), histogram());
        for lane in &lanes {
            latency.add(&lane.latency)?;
            late.add(&lane.late)?;
        }
        ensure!(!latency.is_empty(), "no call was answered within {:?}", self.during);
        Ok(Run { callers: self.callers, pace: self.pace, latency, late, unsent, took, own, used })
    }
}

async fn closed(lanes: Vec<Lane>, during: Duration) -> Result<Vec<Lane>> {
    let until = Instant::now() + during;
    all(lanes, move |mut lane| async move {
        let mut begun = Instant::now();
        while begun < until {
            lane.caller.call().await?;
            let now = Instant::now();
            lane.latency.saturating_record(ns(now - begun));
            begun = now;
        }
        Ok(lane)
    })
    .await
}

async fn open(lanes: Vec<Lane>, rate: f64, during: Duration) -> Result<(Vec<Lane>, u64)> {
    let begin = Instant::now();
    let gap = Duration::from_secs_f64(1.0 / rate);
    let calls = (during.as_secs_f64() * rate).ceil() as u64;
    let agenda = Agenda { begin, gap, calls, next: AtomicU64::new(0), give_up: begin + 2 * during };
    let agenda = Arc::new(agenda);
    let shared = agenda.clone();
    let lanes = all(lanes, move |lane| lane.follow(shared.clone())).await?;
    Ok((lanes, calls.saturating_sub(agenda.next.load(Ordering::Relaxed))))
}

impl Lane {
    async fn follow(mut self, agenda: Arc<Agenda>) -> Result<Self> {
        let mut pacer = Pacer::new()?;
        while Instant::now() < agenda.give_up {
            let number = agenda.next.fetch_add(1, Ordering::Relaxed);
            if number >= agenda.calls {
                break;
            }
            let due = agenda.begin + Duration::from_nanos(ns(agenda.gap).saturating_mul(number));
            if Instant::now() < due {
                pacer.until(due).await?;
                self.late.saturating_record(ns(Instant::now().saturating_duration_since(due)));
            }
            self.caller.call().await?;
            self.latency.saturating_record(ns(Instant::now().saturating_duration_since(due)));
        }
        Ok(self)
    }
}

/// Lets every lane do this, and gives them back when the last one is done.
async fn all<F>(lanes: Vec<Lane>, work: impl Fn(Lane) -> F) -> Result<Vec<Lane>>
where
    F: Future<Output = Result<Lane>> + Send + 'static,
{
    let tasks: Vec<_> = lanes.into_iter().map(|lane| tokio::spawn(work(lane))).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await??);
    }
    Ok(done)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_NS, DIGITS).unwrap_or_else(|error| unreachable!("constants are sound: {error}"))
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n\"hello\"";

    /// Answers every call at once, but for one early on, which takes `stall`.
    async fn server(stall: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            for number in 0.. {
                if !matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {
                    return;
                }
                if number == 3 {
                    tokio::time::sleep(stall).await;
                }
                if stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
        address
    }

    async fn load(pace: Loop, stall: Duration, during: Duration) -> Run {
        let keys = ("AKIA".to_owned(), "secret".to_owned());
        let target = Target::new(&server(stall).await, &keys, "echo", Bytes::from_static(b"\"hello\""), false);
        let platform = Some(std::process::id());
        let load = Load { target: Arc::new(target), callers: 1, pace, warm_up: Duration::ZERO, during, platform };
        run(load).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stall_counts_for_every_call_that_it_held_up() {
        let stall = Duration::from_millis(200);
        let run = load(Loop::Open { rate: 500.0 }, stall, Duration::from_millis(400)).await;
        assert_eq!((run.calls(), run.unsent), (200, 0));
        // A hundred calls were due while one was under way; the first of them waited for all of it.
        let held_up = run.latency.len() - run.latency.count_between(0, ns(stall / 10));
        assert!((80..=130).contains(&held_up), "{held_up} calls were held up");
        assert!(run.latency.max() >= ns(stall) && run.used.is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_loop_counts_the_stall_once() {
        let stall = Duration::from_millis(200);
        let run = load(Loop::Closed, stall, Duration::from_millis(400)).await;
        assert!(run.calls() > 100, "{}", run.calls());
        assert_eq!(run.latency.len() - run.latency.count_between(0, ns(stall / 2)), 1);
        assert!(run.took >= Duration::from_millis(400) && run.late.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_can_not_be_sent_in_time_is_given_up_and_told() {
        let run = load(Loop::Open { rate: 100.0 }, Duration::from_millis(300), Duration::from_millis(100)).await;
        assert_eq!((run.calls(), run.unsent), (4, 6));
    }
}
