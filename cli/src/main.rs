//! `hearth`: the one command people type.
//!
//! Client commands speak the public API like any other client. `main` parses, calls, and turns the outcome into an
//! exit code.
#![forbid(unsafe_code)]

mod api;
mod arguments;
mod bundle;
mod commands;
mod connection;
mod data_dir;
mod exit;
mod output;
mod serve;

use std::process::ExitCode;

use arguments::Arguments;
use clap::FromArgMatches;

fn main() -> ExitCode {
    let matches = arguments::tree().get_matches();
    if let Some(exit) = matches.subcommand().and_then(|(name, matches)| serve::run(name, matches, environment)) {
        return exit;
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command.run(environment) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.tell();
            failure.exit().into()
        }
    }
}

/// One variable of the process's environment; an empty one counts as not set.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
