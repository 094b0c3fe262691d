//! `warm`: calls that find their environment, through the public API: how fast, how many and what they cost.
//!
//! For each runtime and size of payload: callers that wait for each answer (closed loop) say what the platform can do;
//! then calls come at a part of that rate whether or not earlier ones are answered (open loop), and each counts from when
//! it was to be sent, so that a stall shows in every call that it holds up (no coordinated omission).

mod found;
mod load;
mod size;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use hearth_benches::caller::{Caller, Target};
use hearth_benches::function::Language;
use hearth_benches::phases::Phases;
use hearth_benches::progress::Progress;
use hearth_benches::report::Report;
use serde_json::json;

use crate::site::{self, Site};
use found::Found;
use load::{Load, Loop, Run};
use size::Size;

/// Calls that are taken apart.
const TAKEN_APART: u32 = 300;
/// Calls before that: the first one starts an environment.
const UNCOUNTED: u32 = 20;
/// Before each run: environments are there and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);
/// Most callers.
const CALLERS_MAX: i64 = 1_000;

/// How many calls of what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// Callers at once that each wait for their answer
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,8,32",
          value_parser = clap::value_parser!(u32).range(1..=CALLERS_MAX))]
    concurrency: Vec<u32>,
    /// Size of the event, which comes back: bytes, or with k or M
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "7,1k,1M")]
    payload: Vec<Size>,
    /// Calls per second that come whether or not earlier ones are answered [default: see --load]
    #[arg(long, value_name = "PER_SECOND", value_delimiter = ',', conflicts_with = "load")]
    rate: Vec<u32>,
    /// The same, as parts of the best rate that was found
    #[arg(long, value_name = "PART", value_delimiter = ',', default_value = "0.5")]
    load: Vec<f64>,
    /// Length of each run
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

/// Runs the job.
pub(crate) async fn measure(options: &Options) -> Result<Report> {
    let parts_are_sound = options.load.iter().all(|part| *part > 0.0 && *part <= 2.0);
    ensure!(parts_are_sound, "--load takes parts of the best rate, above 0 and not above 2");
    ensure!(options.rate.iter().all(|rate| *rate > 0), "--rate takes calls per second, from 1");
    let mut site = options.site.open(&[("pool-size", "0")]).await?;
    let progress = Progress::of("runs", options.runs());
    let mut found = Vec::new();
    for language in options.site.languages() {
        let name = site.deploy("warm", language).await?;
        for size in &options.payload {
            progress.detail(format!("{}, {size}", language.name()));
            found.push(of_one(&site, options, (language, &name), *size, &progress).await?);
        }
    }
    let isolation = site.isolation.clone();
    let costs_are_known = site.pid().is_some();
    drop(progress);
    site.close().await?;
    let asked = json!({"site": options.site.json(), "isolation": isolation, "concurrency": options.concurrency,
                       "payload_bytes": options.payload.iter().map(|size| size.0).collect::<Vec<_>>(),
                       "rate": options.rate, "load": options.load, "seconds": options.seconds});
    Ok(found::report(asked, &isolation, costs_are_known, &found))
}

impl Options {
    fn runs(&self) -> u64 {
        let open = if self.rate.is_empty() { self.load.len() } else { self.rate.len() };
        ((self.concurrency.len() + open) * self.payload.len() * self.site.languages().len()) as u64
    }

    /// Rates of the open loop, given the best rate.
    fn rates(&self, best: f64) -> Vec<f64> {
        if self.rate.is_empty() {
            self.load.iter().map(|part| part * best).collect()
        } else {
            self.rate.iter().map(|rate| f64::from(*rate)).collect()
        }
    }
}

async fn of_one(
    site: &Site,
    options: &Options,
    (language, function): (Language, &str),
    size: Size,
    progress: &Progress,
) -> Result<Found> {
    let target = |asks| Arc::new(Target::new(&site.address, &site.keys, function, size.event(), asks));
    let phases = taken_apart(target(true)).await?;
    let target = target(false);
    let during = Duration::from_secs(options.seconds);
    let run = async |callers, pace| {
        let load = Load { target: target.clone(), callers, pace, warm_up: WARM_UP, during, platform: site.pid() };
        let run = load::run(load).await;
        progress.step();
        run
    };
    let mut runs: Vec<Run> = Vec::new();
    for callers in &options.concurrency {
        runs.push(run(*callers, Loop::Closed).await?);
    }
    let best = runs.iter().map(Run::per_second).fold(0.0, f64::max);
    let callers = options.concurrency.iter().copied().max().unwrap_or(1);
    for rate in options.rates(best) {
        runs.push(run(callers, Loop::Open { rate }).await?);
    }
    Ok(Found { language, size, phases, runs })
}

/// Calls one after the other, each with its phases.
async fn taken_apart(target: Arc<Target>) -> Result<Phases> {
    let mut caller = Caller::connect(target).await?;
    for _ in 0..UNCOUNTED {
        caller.call().await?;
    }
    let mut phases = Phases::default();
    for _ in 0..TAKEN_APART {
        let call = caller.timed().await?;
        if !call.is_cold() {
            phases.push(&call);
        }
    }
    Ok(phases)
}
