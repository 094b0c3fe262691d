//! Payloads too large for the database, as files of their own, named by the event they came with.
//!
//! A file is on disk before the transaction that refers to it and is removed after the one that no longer does. What a
//! crash leaves between the two is swept at the next start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::StoreFailure;

/// Largest payload kept within the database, bytes: sled rewrites neighbouring values together.
const INLINE_MAX_BYTES: usize = 4 * 1024;

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// Behind the document, in the same value.
    Inline,
    /// In a file.
    File {
        /// Its name.
        name: u64,
        /// Its length.
        bytes: u64,
    },
}

pub(super) struct Payloads {
    dir: PathBuf,
}

impl Payloads {
    pub(super) fn open(dir: PathBuf) -> Result<Self, StoreFailure> {
        fs::create_dir_all(&dir).map_err(|error| failure("create directory", &dir, error))?;
        Ok(Self { dir })
    }

    /// Stores a payload, and returns where and what belongs behind the document.
    pub(super) fn write(&self, name: u64, payload: &Bytes) -> Result<(Place, Bytes), StoreFailure> {
        if payload.len() <= INLINE_MAX_BYTES {
            return Ok((Place::Inline, payload.clone()));
        }
        let path = self.path(name);
        self.write_file(&path, payload).map_err(|error| failure("write", &path, error))?;
        Ok((Place::File { name, bytes: payload.len() as u64 }, Bytes::new()))
    }

    pub(super) fn read(&self, place: Place, inline: Bytes) -> Result<Bytes, StoreFailure> {
        let Place::File { name, bytes } = place else { return Ok(inline) };
        let path = self.path(name);
        let payload = fs::read(&path).map_err(|error| failure("read", &path, error))?;
        if payload.len() as u64 != bytes {
            let reason = format!("the file has {} bytes, not {bytes}", payload.len());
            return Err(failure("read", &path, io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        Ok(payload.into())
    }

    /// Removes a payload that nothing refers to. What can't be removed now is swept at the next start.
    pub(super) fn remove(&self, place: Place) {
        let Place::File { name, .. } = place else { return };
        if let Err(error) = fs::remove_file(self.path(name)) {
            tracing::warn!(path = %self.path(name).display(), %error, "payload not removed");
        }
    }

    /// Removes every file that is not in `known`.
    pub(super) fn sweep(&self, known: &BTreeSet<u64>) -> Result<(), StoreFailure> {
        let failed = |error| failure("sweep", &self.dir, error);
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
            if !name.is_some_and(|name| known.contains(&name)) {
                fs::remove_file(&path).map_err(|error| failure("sweep", &path, error))?;
            }
        }
        Ok(())
    }

    fn write_file(&self, path: &Path, payload: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(payload)?;
        file.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self, name: u64) -> PathBuf {
        self.dir.join(format!("{name:016x}"))
    }
}

fn failure(verb: &str, path: &Path, source: io::Error) -> StoreFailure {
    StoreFailure::new(format!("{verb} {}", path.display()), source)
}
