//! Client commands, one a file. Each speaks the public API and writes its result to standard output.

mod accounts;
mod bench;
mod channels;
mod completions;
mod dead_letters;
mod deploy;
mod doctor;
mod functions;
mod invoke;
mod keys;
mod logs;
mod usage;
mod workers;

use clap::{Args, Subcommand};

use crate::api::Api;
use crate::connection::ConnectionArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Commands that use a running platform, and those that need none.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create a function from a directory or a zip, or update it
    Deploy(OnPlatform<deploy::Deploy>),
    /// Call a function
    Invoke(OnPlatform<invoke::Invoke>),
    /// Show what a function wrote
    Logs(OnPlatform<logs::Logs>),
    /// List functions
    Ls(OnPlatform<functions::List>),
    /// Delete functions
    Rm(OnPlatform<functions::Remove>),
    /// Show invocations, errors and GB-seconds by function
    Usage(OnPlatform<usage::Usage>),
    /// Show the fleet: workers, slots, leases, load
    Workers(OnPlatform<workers::Workers>),
    /// List events that were given up
    DeadLetters(OnPlatform<dead_letters::DeadLetters>),
    /// List queues and topics, or the messages in one
    Queue(OnPlatform<channels::Queue>),
    /// Show the events that came to event buses
    Events(OnPlatform<channels::Events>),
    /// Manage accounts
    Account(OnPlatform<accounts::Accounts>),
    /// Manage access keys
    Key(OnPlatform<keys::Keys>),
    /// Say what this machine can run, and what to do about the rest
    Doctor(doctor::Doctor),
    /// Measure how fast sandboxes start here and what they cost: boot, restore, density
    Bench(bench::Bench),
    /// Write a completion script for a shell
    Completions(completions::Completions),
}

/// A command that uses a running platform: its own flags, and those that all of them have.
#[derive(Debug, Args)]
pub(crate) struct OnPlatform<A: Args> {
    #[command(flatten)]
    command: A,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

/// What such a command does.
pub(crate) trait PlatformCommand {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure>;
}

impl ClientCommand {
    /// Carries the command out. `variable` reads the process's environment.
    pub(crate) fn run(self, variable: impl Fn(&str) -> Option<String>) -> Result<Exit, Failure> {
        match self {
            Self::Deploy(command) => command.run(variable),
            Self::Invoke(command) => command.run(variable),
            Self::Logs(command) => command.run(variable),
            Self::Ls(command) => command.run(variable),
            Self::Rm(command) => command.run(variable),
            Self::Usage(command) => command.run(variable),
            Self::Workers(command) => command.run(variable),
            Self::DeadLetters(command) => command.run(variable),
            Self::Queue(command) => command.run(variable),
            Self::Events(command) => command.run(variable),
            Self::Account(command) => command.run(variable),
            Self::Key(command) => command.run(variable),
            Self::Doctor(doctor) => doctor.run(),
            Self::Bench(bench) => bench.run(),
            Self::Completions(completions) => completions.run(),
        }
    }
}

impl<A: Args + PlatformCommand> OnPlatform<A> {
    fn run(self, variable: impl Fn(&str) -> Option<String>) -> Result<Exit, Failure> {
        let api = Api::new(self.connection.resolve(variable)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, format!("no event loop: {error}")))?;
        runtime.block_on(self.command.run(&api, self.output))
    }
}
