//! Tables for people, JSON for machines.

mod table;
mod time;

use std::io::{ErrorKind, Write};

use clap::ValueEnum;

pub(crate) use table::Table;
pub(crate) use time::utc;

use crate::exit::{Exit, Failure};

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For machines: the API's own documents.
    Json,
}

/// Writes a line to standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::nobody_reads(),
        _ => Failure::new(Exit::Unavailable, format!("standard output: {error}")),
    })
}
