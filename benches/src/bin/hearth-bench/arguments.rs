//! The command line: the jobs. Each job's options stand in its module.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{burst, cold_start, compare, control_plane, density, sandbox, warm};

/// Measures Hearth on this machine.
#[derive(Debug, Parser)]
#[command(name = "hearth-bench", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) job: Job,
    /// Where reports go
    #[arg(long, global = true, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// A bare sandbox: from the launcher's call to the shim's word that it is ready
    Boot(sandbox::Options),
    /// Many calls at once to a cold function: until all are answered, environments made, CPU time beside single starts
    Burst(burst::Options),
    /// A bare sandbox: from the launcher's call to the shim's word that it is restored from a snapshot
    Restore(sandbox::Options),
    /// A bare sandbox at rest: from the launcher's call until its snapshot is there
    Snapshot(sandbox::Options),
    /// Routing, leases and placement alone, over simulated workers in virtual time: what they cost and how that grows
    ControlPlane(control_plane::Options),
    /// Calls that meet no idle slot, each taken apart into its phases
    ColdStart(cold_start::Options),
    /// Calls that find their environment: latency at a steady rate, best rate, CPU time of each call
    Warm(warm::Options),
    /// Idle slots on a platform of its own: how many, what each costs, what limits them
    Density(density::Options),
    /// Warm calls, cold calls and idle slots beside what else is on this machine, in turn
    Compare(compare::Options),
    /// Memory of bare idle sandboxes, by how many there are; restored from one snapshot where there are snapshots
    BareDensity(sandbox::Options),
    /// The echo server that warm calls are compared with
    #[command(hide = true)]
    ServeEcho,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["hearth-bench", "restore", "--count", "0"]).is_err());
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        assert!(parses(
            "hearth-bench warm --concurrency 1,8 --payload 7,1M --load 0.5,0.8 --runtime node --runtime python"
        ));
        assert!(parses("hearth-bench cold-start -n 20 --pool 4 --isolation jail"));
        assert!(!parses("hearth-bench warm --payload 7M") && !parses("hearth-bench warm --rate 5 --load 0.5"));
        assert!(!parses("hearth-bench cold-start --url http://127.0.0.1:1"), "a platform needs its keys");
        let arguments = Arguments::try_parse_from(["hearth-bench", "boot", "--out", "there"]).unwrap();
        assert_eq!(arguments.out, PathBuf::from("there"));
    }
}
