//! Every setting of every role: one table, from which flags, variables, file keys and help texts come.

mod config;
mod guest;
mod isolation;
mod table;

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use hearth_daemon::config::{Layers, Mistakes};

pub(crate) use config::{ProcessConfig, RoleConfig, Switch, WorkerSettings, beside_this_program};
pub(crate) use guest::Discovery;
pub(crate) use isolation::IsolationChoice;

use self::table::SETTINGS;

/// Variables of the client commands, which a role does not read and does not object to.
const CLIENT_VARIABLES: [&str; 5] = ["endpoint", "credentials", "profile", "output", "config"];

/// What a process of ours can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All four in one process.
    Up,
    /// The HTTP edge.
    Frontend,
    /// The router.
    WorkerManager,
    /// The ledger of leases.
    Placement,
    /// One host's sandboxes.
    Worker,
}

impl Role {
    /// All, in the order help shows them.
    pub(crate) const ALL: [Self; 5] = [Self::Up, Self::Frontend, Self::WorkerManager, Self::Placement, Self::Worker];

    /// The subcommand.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Frontend => "frontend",
            Self::WorkerManager => "worker-manager",
            Self::Placement => "placement",
            Self::Worker => "worker",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Up => "Run the whole platform in one process",
            Self::Frontend => "Run a frontend: the HTTP edge, joined to a worker manager",
            Self::WorkerManager => "Run a worker manager: routes calls to warm slots, joined to placement",
            Self::Placement => "Run placement: grants leases and chooses workers",
            Self::Worker => "Run a worker: the sandboxes of this host, joined to placement",
        }
    }
}

/// One setting.
struct Setting {
    /// In kebab case: flag `--name`, variable `HEARTH_NAME`, key `name`.
    name: &'static str,
    /// What stands for its value in help.
    value: &'static str,
    /// One line, with the default.
    help: &'static str,
    /// Who reads it.
    roles: &'static [Role],
}

/// The subcommand of a role, with a flag for each of its settings.
pub(crate) fn command(role: Role) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("TOML file with settings; flags and HEARTH_… variables go before it [HEARTH_CONFIG]");
    let flags = SETTINGS.iter().filter(|setting| setting.roles.contains(&role)).map(|setting| {
        Arg::new(setting.name).long(setting.name).value_name(setting.value).help(setting.help).allow_hyphen_values(true)
    });
    Command::new(role.name()).about(role.about()).arg(config).args(flags)
}

/// Reads the configuration of a role. All mistakes come together.
pub(crate) fn read(
    role: Role,
    matches: &ArgMatches,
    mut layers: Layers,
    config_file: Option<PathBuf>,
    default_data_dir: &Path,
) -> Result<ProcessConfig, Mistakes> {
    let own = || SETTINGS.iter().filter(|setting| setting.roles.contains(&role));
    for setting in own() {
        layers = layers.with_flag(setting.name, matches.get_one::<String>(setting.name));
    }
    if let Some(path) = config_file {
        layers = layers.with_file(&path);
    }
    let mut reader = layers.reader();
    // One file, and one environment, may serve several roles: settings of the others are no mistakes.
    reader.also_known(&SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>());
    reader.also_known(&CLIENT_VARIABLES);
    let config = config::read(role, &mut reader, default_data_dir);
    reader.finish(config)
}
