//! `hearth-bench`: how fast sandboxes start, how fast they come back from a snapshot, and what an idle one costs, on this
//! machine. `hearth bench …` runs it. It drives the launchers directly: no platform, no network, nothing else in the way.
//!
//! Prints a table, and writes `JOB.json`, `JOB.svg` and `JOB.html` (with the plot in it, needing nothing else).
//!
//! Times are CLOCK_MONOTONIC's. In an emulated machine that counts instructions instead (`nested.sh -I`), a millisecond
//! is a million of them.
#![forbid(unsafe_code)]

mod arguments;
mod bed;
mod density;
mod dialogue;
mod plot;
mod report;
mod start;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::arguments::{Arguments, Job};
use crate::bed::Bed;
use crate::report::Report;

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

async fn run(arguments: Arguments) -> Result<()> {
    let (job, options) = arguments.job.options();
    let mut report = Report::new(job, options);
    for isolation in options.isolations() {
        let bed = Bed::make(isolation, options)?;
        match &arguments.job {
            Job::Boot(_) => report.add_starts(isolation, start::boots(&bed, options).await?),
            Job::Restore(_) => report.add_starts(isolation, start::restores(&bed, options).await?),
            Job::Density(_) => report.add_density(isolation, density::measure(&bed, options).await?),
        }
    }
    report.tell();
    report.write(&options.out)
}
