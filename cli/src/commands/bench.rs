//! `hearth bench JOB`: hands over to `hearth-bench` beside this program, as git does with its subcommands. What is only
//! for measuring is no part of what ships, and nothing here depends on it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use crate::exit::{Exit, Failure};

const PROGRAM: &str = "hearth-bench";

/// `hearth bench boot --help` tells what one takes.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Bench {
    /// density, compare, boot, restore and others (`hearth bench --help` tells them), and its options
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "JOB")]
    arguments: Vec<OsString>,
}

impl Bench {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let own = std::env::current_exe();
        let own = own.map_err(|error| Failure::new(Exit::Unavailable, format!("find this program: {error}")))?;
        let program = own.with_file_name(PROGRAM);
        // Returns only if there is no such program.
        let error = Command::new(&program).args(self.arguments).exec();
        let failure = Failure::new(Exit::Unavailable, format!("{}: {error}", program.display()));
        Err(failure.remedy("make it: cargo build --release -p hearth-benches --bin hearth-bench"))
    }
}
