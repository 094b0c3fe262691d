//! Read-only images from directories: what a microVM mounts as its root, and as its function's code.
//!
//! The format is EROFS without compression, 4 KiB blocks, which Debian's stock kernel and our small one both mount.
//! The pages of an image are in the host's page cache once for all guests. It is written here rather than by a tool
//! because it is made at every deployment: one pass over the directory's metadata, then one over its files, each
//! byte of which is read once and held nowhere.
//!
//! ```text
//!  tree: what is there ──▶ layout: where it goes ──▶ output: superblock, inodes and small tails, then whole blocks
//!                                  └──── format: the bytes of each structure ────┘
//! ```
//!
//! Invariants: equal directories give equal images, whatever order the file system lists them in, provided times are
//! [`Times::Fixed`] · everything belongs to [`Options::owner`] · modes, links and hard links are kept · the output is
//! written front to back, never read, never sought.
//!
//! Absent on purpose: compression (the host would hold pages twice), extended attributes (they can grant privileges),
//! devices, sockets and pipes (refused), reading images.

mod format;
mod layout;
mod output;
#[cfg(test)]
mod tests;
mod tree;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How to write an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// User and group of everything in it.
    pub owner: (u32, u32),
    /// When it was all last changed.
    pub times: Times,
}

/// Times of files in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// As in the directory, to the nanosecond.
    Kept,
    /// All this, seconds since 1970.
    Fixed(i64),
}

impl Default for Options {
    /// Root's, and all of the first second of 1980, the earliest that a zip file can tell.
    fn default() -> Self {
        Self { owner: (0, 0), times: Times::Fixed(315_532_800) }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Size of the image, bytes; a multiple of 4096.
    pub bytes: u64,
    /// Files, directories and links in it, the top included.
    pub inodes: u64,
}

/// There is no image. What is in the output is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Something in the directory can't be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device, socket or pipe.
    #[error("{path} is neither file, directory nor link: remove it")]
    Special {
        /// What it is called.
        path: PathBuf,
    },
    /// A file was changed meanwhile.
    #[error("{path} changed while the image was written: try again when nothing writes there")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// More than the format can tell: 16 TiB, or 2^32 files.
    #[error("the directory is too large for an image")]
    TooLarge,
    /// The image can't be written.
    #[error("writing the image: {0}")]
    Write(#[source] io::Error),
}

/// Writes the image of `directory` to `out`, from its current position, which should be its start. Does not sync.
///
/// # Errors
/// Where something can't be read, written or told in the format; the output is then incomplete.
pub fn write(directory: &Path, out: &File, options: Options) -> Result<Written, ImageError> {
    let tree = tree::Tree::scan(directory, options.times)?;
    let layout = layout::Layout::plan(&tree, options)?;
    output::write(directory, &tree, &layout, options, out)?;
    Ok(Written { bytes: layout.bytes(), inodes: tree.nodes.len() as u64 })
}
