//! `hearth-bench`: what Hearth costs and how fast it is, on this machine. `hearth bench JOB` runs it. Each job is a module
//! with options of its own, shows how far it is (`progress`), ends by itself and gives a report (`report`, with pictures of
//! `plot`). A job is one future: ctrl-C drops it at its next await, so what it starts must end when dropped, and what blocks
//! for long belongs into `spawn_blocking`.
//!
//! Times are CLOCK_MONOTONIC's. In an emulated machine that counts instructions instead (`tests/nested/machine.sh -I`), a
//! millisecond is a million of them.
#![forbid(unsafe_code)]

mod arguments;
mod burst;
mod cold_start;
mod compare;
mod control_plane;
mod density;
mod sandbox;
mod site;
mod warm;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use hearth_benches::machine::Run;
use hearth_benches::report::Report;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Job};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the job and writes what it found. When told to end, the job is dropped where it waits, and with it go the platform
/// and the sandboxes that it started.
async fn run(arguments: Arguments) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    if matches!(arguments.job, Job::ServeEcho) {
        return compare::serve_echo().await;
    }
    let begun = Run::begin();
    let mut report = tokio::select! {
        report = measure(&arguments.job) => report?,
        _ = interrupt.recv() => bail!("interrupted: nothing is written"),
        _ = terminate.recv() => bail!("told to end: nothing is written"),
    };
    report.label(begun.end());
    report.tell();
    report.write(&arguments.out)
}

async fn measure(job: &Job) -> Result<Report> {
    match job {
        Job::Boot(options) => sandbox::boot(options).await,
        Job::Burst(options) => burst::measure(options).await,
        Job::Restore(options) => sandbox::restore(options).await,
        Job::Snapshot(options) => sandbox::snapshot(options).await,
        Job::ControlPlane(options) => control_plane::run(options).await,
        Job::ColdStart(options) => cold_start::measure(options).await,
        Job::Warm(options) => warm::measure(options).await,
        Job::Density(options) => density::measure(options).await,
        Job::Compare(options) => compare::measure(options).await,
        Job::BareDensity(options) => sandbox::density(options).await,
        Job::ServeEcho => bail!("it serves and finds nothing"),
    }
}
