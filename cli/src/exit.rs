//! How a command ends: exit codes that scripts can rely on, and failures that say what to do.

use std::fmt;
use std::process::ExitCode;

/// Exit codes of client commands. They stand in `hearth --help`; changing one breaks scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Success = 0,
    /// The function answered with an error (`invoke`).
    FunctionError = 1,
    /// The command can't be carried out as it was typed.
    Usage = 2,
    /// Credentials are missing or were refused.
    Denied = 3,
    /// The platform refused the request: no such function, an invalid value, a conflict.
    Refused = 4,
    /// The platform can't be reached, is out of capacity or failed; trying again may help.
    Unavailable = 5,
}

/// For `hearth --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   all went well
  1   the function answered with an error, or a role ended by a failure
  2   the command can't be carried out as it was typed
  3   credentials are missing or were refused
  4   the platform refused the request: no such function, an invalid value, a conflict
  5   the platform can't be reached, is out of capacity or failed; trying again may help
  64  the configuration of a role is wrong";

/// Why a command ended without doing what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: None }
    }

    /// Nobody reads the output any more (`hearth logs | head`): nothing is left to do, and nothing to say.
    pub(crate) fn nobody_reads() -> Self {
        Self::new(Exit::Success, "")
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Says on standard error what there is to say.
    pub(crate) fn tell(&self) {
        if !self.message.is_empty() {
            eprintln!("{self}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "\n  {}", remedy.replace('\n', "\n  ")))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
