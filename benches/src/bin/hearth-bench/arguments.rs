//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hearth_microvm::Isolation;

/// Measures sandboxes on this machine.
#[derive(Debug, Parser)]
#[command(name = "hearth-bench", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) job: Job,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// From the launcher's call to the shim's word that it is ready
    Boot(Options),
    /// From the launcher's call to the shim's word that it is restored from a snapshot
    Restore(Options),
    /// Memory of idle sandboxes, by how many there are; restored from one snapshot where there are snapshots
    Density(Options),
}

impl Job {
    /// Its name and its options.
    pub(crate) fn options(&self) -> (&'static str, &Options) {
        match self {
            Self::Boot(options) => ("boot", options),
            Self::Restore(options) => ("restore", options),
            Self::Density(options) => ("density", options),
        }
    }
}

/// How to measure it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kind of sandbox: kvm or jail; give it twice to have both in one plot
    #[arg(long, value_name = "KIND", default_value = "kvm")]
    isolation: Vec<Isolation>,
    /// How many sandboxes, one after the other (boot, restore) or at once (density)
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
    /// Memory of each, MiB; a microVM has 32 MiB more, for its kernel
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(96..=10_240))]
    pub(crate) memory: u32,
    /// Runtime image of microVMs
    #[arg(long, value_name = "NAME", default_value = "provided")]
    pub(crate) image: String,
    /// Processes of microVMs that wait ready for one; 0 counts their start, too
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) spares: usize,
    /// What microVMs boot from (`cargo xtask guest-image` makes it); `guest-images` beside this program if absent
    #[arg(long, value_name = "DIR", env = "HEARTH_GUEST_IMAGES")]
    pub(crate) guest_images: Option<PathBuf>,
    /// Where results go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
    /// Where sandboxes and snapshots lie meanwhile; a directory of its own under the system's temporary one if absent
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

impl Options {
    /// Each kind once, in the order given.
    pub(crate) fn isolations(&self) -> Vec<Isolation> {
        let mut kinds = self.isolation.clone();
        let mut seen = Vec::new();
        kinds.retain(|kind| {
            !seen.contains(kind) && {
                seen.push(*kind);
                true
            }
        });
        kinds
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let line = ["hearth-bench", "boot", "--isolation", "jail", "--isolation", "kvm", "--isolation", "jail"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        assert_eq!(arguments.job.options().1.isolations(), [Isolation::Jail, Isolation::Kvm]);
        assert!(Arguments::try_parse_from(["hearth-bench", "boot", "--isolation", "moat"]).is_err());
        assert!(Arguments::try_parse_from(["hearth-bench", "restore", "--count", "0"]).is_err());
    }
}
