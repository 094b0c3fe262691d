//! The command line as a tree.

use clap::{Command, CommandFactory, Parser};

use crate::commands::ClientCommand;
use crate::exit::EXIT_CODES;
use crate::serve;

/// Functions on your own machines: deploy a bundle of code, call it over HTTP.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: ClientCommand,
}

/// Every subcommand: those of clients, then those that start roles.
pub(crate) fn tree() -> Command {
    serve::commands().into_iter().fold(Arguments::command(), Command::subcommand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        tree().debug_assert();
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        let help = tree().render_help().to_string();
        for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "64 "] {
            assert!(help.contains(&format!("\n  {code}")), "{code} is missing:\n{help}");
        }
    }
}
