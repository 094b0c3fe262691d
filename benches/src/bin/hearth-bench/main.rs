//! `hearth-bench`: what Hearth costs and how fast it is, on this machine. `hearth bench JOB` runs it. Each job is a module
//! with options of its own, shows how far it is, ends by itself and gives a report.
//!
//! Times are CLOCK_MONOTONIC's. In an emulated machine that counts instructions instead (`tests/nested/machine.sh -I`), a
//! millisecond is a million of them.
#![forbid(unsafe_code)]

mod arguments;
mod sandbox;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

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

async fn run(arguments: Arguments) -> Result<()> {
    let report = match &arguments.job {
        Job::Boot(options) => sandbox::boot(options).await?,
        Job::Restore(options) => sandbox::restore(options).await?,
        Job::Density(options) => sandbox::density(options).await?,
    };
    report.tell();
    report.write(&arguments.out)
}
