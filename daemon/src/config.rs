//! Layered configuration: flags, then environment, then a TOML file. Strings become typed values here, and every
//! mistake is collected and told at once with the place it came from.
//!
//! A setting has one name in kebab case, `pool-size`. It is the flag `--pool-size`, the variable `HEARTH_POOL_SIZE`
//! and the key `pool-size` (or `size` in a table `[pool]`) of the file.
//!
//! Absent on purpose: reading the process's environment or arguments (the binary hands them in), and the exit code
//! that a mistake deserves (the binary decides).

mod layers;
mod mistake;
mod reader;
mod value;

pub use layers::Layers;
pub use mistake::{Mistake, Mistakes, Origin};
pub use reader::Reader;
pub use value::{DurationText, InvalidDuration};

/// What the names of our environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "HEARTH_";
/// Largest configuration file, bytes.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;
