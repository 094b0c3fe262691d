//! Zips of code: checked when they are uploaded, unpacked where they run. Both treat every byte as hostile.
//!
//! The reader is our own and strict, because what matters here is what lenient readers pass over: names that occur
//! twice, entries that share bytes, headers that contradict each other. An archive is accepted only if every reader
//! would see the same files in it.
//!
//! 1. [`directory`] finds the entries and the bytes of each.
//! 2. [`names`] turns an entry's name into a path below the root, or refuses it.
//! 3. [`plan`] lays out the tree: no path twice, nothing below a file or a symlink, no symlink that leaves.
//! 4. [`content`] inflates, counting, and compares size and checksum.
//! 5. [`write`] makes the tree under a temporary name; symlinks last, so that nothing is ever written through one.

mod content;
mod directory;
mod names;
mod plan;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hearth_domain::limits::{BUNDLE_MAX_ENTRIES, BUNDLE_UNZIPPED_MAX_BYTES};

use crate::unzip::plan::Plan;

/// Longest name of an entry, bytes. Leaves room below `PATH_MAX` for the directory it is unpacked into.
pub const ENTRY_NAME_MAX_BYTES: usize = 2_048;
/// Longest part of a name between slashes, bytes (`NAME_MAX` of Linux file systems).
pub const ENTRY_NAME_PART_MAX_BYTES: usize = 255;
/// Longest target of a symlink, bytes.
pub const SYMLINK_TARGET_MAX_BYTES: u64 = 2_048;

/// What a sound bundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleSummary {
    /// Files, directories and symlinks, with the directories that are only implied by names.
    pub entries: usize,
    /// Size of all files together, bytes.
    pub unzipped_bytes: u64,
}

/// Why a bundle is refused. Names are cut to 200 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Truncated, damaged beyond finding its entries, or no zip at all.
    #[error("not a sound zip file: {0}")]
    NotAZip(&'static str),
    /// There is nothing in it.
    #[error("the zip file holds no entries")]
    Empty,
    /// More than [`BUNDLE_UNZIPPED_MAX_BYTES`].
    #[error("unzipped size must be smaller than {BUNDLE_UNZIPPED_MAX_BYTES} bytes")]
    TooLarge,
    /// More than [`BUNDLE_MAX_ENTRIES`].
    #[error("more than {BUNDLE_MAX_ENTRIES} files, directories and symlinks")]
    TooManyEntries,
    /// The content of an entry can't be read, or is not what its header says.
    #[error("entry {name:?} is damaged: {reason}")]
    Damaged {
        /// The entry.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Two entries share bytes of the file, as in a zip bomb.
    #[error("entry {0:?} overlaps another")]
    Overlapping(String),
    /// A part of the name is `..`.
    #[error("the name of entry {0:?} leads out of the bundle with `..`")]
    ParentDirectory(String),
    /// The name begins with `/`.
    #[error("the name of entry {0:?} is absolute")]
    AbsoluteName(String),
    /// The name has a backslash, as some Windows tools write them.
    #[error("the name of entry {0:?} has a backslash; zip names are separated by /")]
    Backslash(String),
    /// The name has a NUL byte, is no UTF-8, is empty or too long.
    #[error("the name of entry {name:?} {problem}")]
    BadName {
        /// The entry.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The path occurs twice.
    #[error("entry {0:?} occurs twice")]
    Duplicate(String),
    /// Something lies below a path that is a file or a symlink.
    #[error("entry {name:?} lies below {above:?}, which is no directory")]
    BelowFile {
        /// The entry.
        name: String,
        /// The file or symlink above it.
        above: String,
    },
    /// A symlink points out of the bundle, itself or by way of others.
    #[error("symlink {name:?} leads out of the bundle: {target:?}")]
    SymlinkLeaves {
        /// The symlink.
        name: String,
        /// Its target.
        target: String,
    },
    /// A symlink whose target can't be followed to an end.
    #[error("symlink {0:?} goes in a circle or through too many others")]
    SymlinkLoop(String),
    /// An encrypted entry.
    #[error("entry {0:?} is encrypted")]
    Encrypted(String),
    /// A device, a pipe or a socket.
    #[error("entry {0:?} is neither file nor directory nor symlink")]
    SpecialFile(String),
    /// Neither stored nor deflated.
    #[error("entry {name:?} uses compression method {method}; only stored and deflated are supported")]
    UnsupportedCompression {
        /// The entry.
        name: String,
        /// The method's number in the zip format.
        method: u16,
    },
}

/// Why a bundle was not unpacked. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A file could not be read or written.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Reads a bundle through, content included. Takes as long as inflating all of it: call it off the async threads.
pub fn inspect(zip: &[u8]) -> Result<BundleSummary, BundleError> {
    let plan = Plan::of(zip)?;
    for (_, entry) in plan.files() {
        content::verify(zip, entry)?;
    }
    Ok(plan.summary())
}

/// Unpacks the bundle in the file `zip` so that its tree stands at `into`, which must not exist or be an empty directory.
/// Directories get mode 0755; files get 0755 if anybody may execute them according to the zip, else 0644; a zip that
/// carries no modes (made on Windows, say) gets an executable `bootstrap`. The tree is made beside `into` (in a directory
/// whose name begins with [`UNPACKING_PREFIX`]; a crash may leave one) and renamed, so `into` is either whole or not there.
/// It is not synced: after a power failure, unpack again. Blocks.
pub fn unpack(zip: &Path, into: &Path) -> Result<BundleSummary, UnpackError> {
    let bytes = read(zip)?;
    let plan = Plan::of(&bytes)?;
    write::write(&bytes, &plan, into)?;
    Ok(plan.summary())
}

/// How the name of a directory begins in which a bundle is being unpacked.
pub const UNPACKING_PREFIX: &str = ".unpacking-";

fn read(zip: &Path) -> Result<Vec<u8>, UnpackError> {
    let failed = |source| UnpackError::Io { action: "read", path: zip.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(zip).map_err(failed)?;
    file.take(BUNDLE_UNZIPPED_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BUNDLE_UNZIPPED_MAX_BYTES {
        return Err(BundleError::TooLarge.into());
    }
    Ok(bytes)
}

/// A name as it is shown in an error.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).collect()
}
