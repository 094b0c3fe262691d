//! The command line: `hearth-shim [--guest] [--channel-fd N] [--runtime-api ADDRESS] [--user UID:GID] [--wanted]
//! [-- COMMAND…]`.
//!
//! In a microVM it is what follows the first `--` of the kernel's command line. The kernel keeps a second `--` and all
//! that follows it to itself, so there the command is introduced by `--command`. What the kernel takes for arguments of
//! its first process because it does not know it comes before `--guest`, and is none of ours.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;

use hearth_guest_protocol::CHANNEL_FD;

/// Port of the Runtime API unless the command line says otherwise: AWS's.
const RUNTIME_API_PORT: u16 = 9001;

/// How to use the program, for whoever made a mistake.
pub const USAGE: &str = "usage: hearth-shim [--guest] [--channel-fd N] [--runtime-api ADDRESS:PORT] \
     [--user UID:GID] [--wanted] [-- COMMAND [ARGUMENT…] | --command COMMAND [ARGUMENT…]]";

/// Everything the shim is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whether this is the first process of a microVM.
    pub guest: bool,
    /// Descriptor of the channel to the worker.
    pub channel_fd: RawFd,
    /// Where the Runtime API listens; port 0 takes a free one.
    pub runtime_api: SocketAddr,
    /// Who the runtime process runs as; unchanged if absent.
    pub user: Option<User>,
    /// A function already waits for this sandbox: it is ready at once, and the runtime warms nothing up.
    pub wanted: bool,
    /// The language runtime to start before the function is known; empty for a custom runtime.
    pub command: Vec<OsString>,
    /// The shim's own environment: that of a pre-started runtime until its function is known.
    pub environment: Vec<(OsString, OsString)>,
}

/// User and group of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id within the sandbox.
    pub uid: u32,
    /// Group id within the sandbox.
    pub gid: u32,
}

/// A command line that can't be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such option.
    #[error("unknown argument {0:?}")]
    Unknown(OsString),
    /// An option has no value, or one of the wrong form.
    #[error("{option} needs {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// `--` is not followed by a command.
    #[error("-- or --command needs a command")]
    NoCommand,
}

impl Config {
    /// Reads the arguments (without the program's name); `environment` is taken as it is.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let guest = arguments.iter().position(|argument| argument == "--guest");
        let mut config = Self {
            guest: guest.is_some(),
            channel_fd: CHANNEL_FD,
            runtime_api: SocketAddr::from((Ipv4Addr::LOCALHOST, RUNTIME_API_PORT)),
            user: None,
            wanted: false,
            command: Vec::new(),
            environment,
        };
        if let Some(at) = guest {
            arguments.drain(..=at);
            config.environment.retain(|variable| !is_kernels(variable));
        }
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--channel-fd") => {
                    config.channel_fd = value(&mut arguments, "--channel-fd", "a file descriptor", parse_fd)?;
                }
                Some("--runtime-api") => {
                    config.runtime_api =
                        value(&mut arguments, "--runtime-api", "ADDRESS:PORT", |text| text.parse().ok())?;
                }
                Some("--user") => config.user = Some(value(&mut arguments, "--user", "UID:GID", parse_user)?),
                Some("--wanted") => config.wanted = true,
                Some("--" | "--command") => {
                    config.command = arguments.by_ref().collect();
                    if config.command.is_empty() {
                        return Err(ConfigError::NoCommand);
                    }
                }
                _ => return Err(ConfigError::Unknown(argument)),
            }
        }
        Ok(config)
    }
}

/// What the kernel gives its first process without being asked (`envp_init` in init/main.c).
fn is_kernels((name, value): &(OsString, OsString)) -> bool {
    (name == "HOME" && value == "/") || (name == "TERM" && value == "linux")
}

fn value<T>(
    arguments: &mut impl Iterator<Item = OsString>,
    option: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ConfigError> {
    let given = arguments.next().and_then(|value| parse(value.to_str()?));
    given.ok_or(ConfigError::Value { option, expected })
}

/// Standard input, output and error are never the channel.
fn parse_fd(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|fd| *fd > 2)
}

fn parse_user(text: &str) -> Option<User> {
    let (uid, gid) = text.split_once(':')?;
    Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, ConfigError> {
        Config::parse(arguments.iter().map(OsString::from), Vec::new())
    }

    #[test]
    fn without_arguments_it_is_a_custom_runtime_on_the_usual_descriptors() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.channel_fd, config.runtime_api.port()), (3, 9001));
        assert_eq!((config.user, config.wanted, config.command.len()), (None, false, 0));
    }

    #[test]
    fn every_option_is_read_and_what_follows_the_dashes_is_the_command() {
        let options = ["--user", "993:990", "--channel-fd", "7", "--runtime-api", "127.0.0.1:0", "--wanted"];
        let config = parse(&[&options[..], &["--", "a", "--user"]].concat()).unwrap();
        assert_eq!(config.user, Some(User { uid: 993, gid: 990 }));
        assert_eq!((config.channel_fd, config.runtime_api.port()), (7, 0));
        assert!(config.wanted);
        assert_eq!(config.command, ["a", "--user"]);
    }

    #[test]
    fn in_a_guest_the_kernel_s_own_words_are_left_out() {
        let arguments = ["nosuchoption", "--guest", "--wanted", "--command", "a", "--b"].map(OsString::from);
        let variables = [("HOME", "/"), ("TERM", "linux"), ("PATH", "/bin"), ("pci", "off")];
        let environment = variables.map(|(name, value)| (name.into(), value.into())).to_vec();
        let config = Config::parse(arguments, environment).unwrap();
        assert!(config.guest && config.wanted);
        assert_eq!(config.command, ["a", "--b"]);
        let names: Vec<_> = config.environment.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "pci"]);
        assert_eq!(parse(&["nosuchoption"]), Err(ConfigError::Unknown("nosuchoption".into())));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse(&["--what"]), Err(ConfigError::Unknown("--what".into())));
        assert_eq!(parse(&["--"]), Err(ConfigError::NoCommand));
        for wrong in [&["--channel-fd", "1"][..], &["--channel-fd"], &["--user", "993"], &["--runtime-api", "x"]] {
            assert!(matches!(parse(wrong), Err(ConfigError::Value { .. })), "{wrong:?}");
        }
    }
}
