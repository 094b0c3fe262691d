//! `hearth up` and the four roles: from settings to running roles, and back down in order.
//!
//! Absent on purpose: decisions. What a role does is its crate's affair; this is wiring.

mod first_start;
mod isolation;
mod process;
mod roles;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use hearth_daemon::config::Layers;

pub(crate) use self::isolation::VMM;
use self::settings::Role;
pub(crate) use self::settings::beside_this_program;
use crate::data_dir::default_data_dir;

/// Bad configuration: `EX_USAGE` of sysexits(3).
pub(crate) const EXIT_CONFIGURATION: u8 = 64;

/// The subcommands that start roles.
pub(crate) fn commands() -> Vec<Command> {
    Role::ALL.into_iter().map(settings::command).collect()
}

/// Whether a subcommand starts a role.
pub(crate) fn is_role(name: &str) -> bool {
    Role::ALL.into_iter().any(|role| role.name() == name)
}

/// Runs the role that `name` stands for until it is asked to stop; `None` if it stands for none.
pub(crate) fn run(name: &str, matches: &ArgMatches, variable: impl Fn(&str) -> Option<String>) -> Option<ExitCode> {
    let role = Role::ALL.into_iter().find(|role| role.name() == name)?;
    let file = matches.get_one::<String>("config").cloned().or_else(|| variable("HEARTH_CONFIG")).map(PathBuf::from);
    let layers = Layers::new().with_environment(std::env::vars_os());
    let mut config = match settings::read(role, matches, layers, file, &default_data_dir(variable)) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("hearth {name}: the configuration has mistakes:\n{mistakes}");
            return Some(ExitCode::from(EXIT_CONFIGURATION));
        }
    };
    if let Err(error) = isolation::settle(&mut config.role) {
        eprintln!("hearth {name}: {error:#}");
        return Some(ExitCode::FAILURE);
    }
    Some(process::run(config))
}
