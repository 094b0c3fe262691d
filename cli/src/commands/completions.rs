//! `hearth completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use crate::arguments;
use crate::exit::{Exit, Failure};

/// For bash: `hearth completions bash > /etc/bash_completion.d/hearth`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    #[allow(clippy::unnecessary_wraps, reason = "one signature for all commands")]
    pub(super) fn run(self) -> Result<Exit, Failure> {
        clap_complete::generate(self.shell, &mut arguments::tree(), "hearth", &mut std::io::stdout());
        Ok(Exit::Success)
    }
}
