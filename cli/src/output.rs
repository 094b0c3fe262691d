//! Tables for people, JSON for machines.

mod table;
mod time;

use clap::ValueEnum;

pub(crate) use table::Table;
pub(crate) use time::utc;

use crate::exit::Failure;

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For machines: the API's own documents.
    Json,
}

/// Writes a line to standard output. That nobody reads it any more (`hearth logs | head`) ends the command quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| Failure::new(crate::exit::Exit::Success, format!("standard output: {error}")))
}
