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

use std::process::ExitCode;

use arguments::Arguments;
use clap::{CommandFactory, FromArgMatches};

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command.run(environment) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit().into()
        }
    }
}

/// One variable of the process's environment; an empty one counts as not set.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
