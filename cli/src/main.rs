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
use exit::Exit;

fn main() -> ExitCode {
    let matches = match arguments::tree().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return told(&error),
    };
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

/// Help that was asked for, or a command line that can't be followed. A flag that a role does not have is a mistake of
/// its configuration, as an unknown variable or key is.
fn told(error: &clap::Error) -> ExitCode {
    // Where nothing can be written any more there is nobody to tell.
    let _ = error.print();
    let names_role = std::env::args().nth(1).is_some_and(|name| serve::is_role(&name));
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if names_role => ExitCode::from(serve::EXIT_CONFIGURATION),
        _ => Exit::Usage.into(),
    }
}

/// One variable of the process's environment; an empty one counts as not set.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
