//! Unpacked bundles, by digest, on this host's disk.
//!
//! Invariants: a bundle is unpacked once, however many slots ask at the same time; what a slot uses ([`CodeLease`]) is
//! never removed; the rest is, least recently used first, when all takes more than its bound. A directory with a
//! digest's name is whole: it got that name last. Code is given out when its programs can be executed (see `starting`)
//! and it is in the form that sandboxes take: the directory itself, or an image of it that the launcher made beside it,
//! which is counted and goes with it.
//!
//! What an earlier worker unpacked is used again, but not after the machine was started anew: what was not yet on disk
//! when the power went would be missing without a trace.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_domain::BundleDigest;
use hearth_microvm::Launcher;
use hearth_store::unzip::{UnpackError, unpack};
use hearth_store::{BundleStore, StoreFailure};
use prometheus::IntGauge;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::starting::Starting;

/// Newest bundles that a report names.
const REPORTED_MAX: usize = 256;

/// The cache.
pub(crate) struct CodeCache {
    root: PathBuf,
    bundles: Arc<dyn BundleStore>,
    launcher: Arc<dyn Launcher>,
    max_bytes: u64,
    starting: Starting,
    shelf: Mutex<Shelf>,
    bytes: IntGauge,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<BundleDigest, Shelved>,
    uses: u64,
}

struct Shelved {
    unpacked: Arc<Unpacked>,
    last_use: u64,
}

/// One bundle; whole once its size is known.
#[derive(Debug)]
struct Unpacked {
    dir: PathBuf,
    bytes: OnceCell<u64>,
    prepared: OnceCell<Prepared>,
}

/// What sandboxes get of a bundle.
#[derive(Debug)]
struct Prepared {
    path: PathBuf,
    /// What it takes besides the directory.
    bytes: u64,
}

/// Code that stays on disk for as long as this lives.
#[derive(Debug, Clone)]
pub(crate) struct CodeLease(Arc<Unpacked>);

impl CodeLease {
    /// Its directory on the host, or the image of it: readable by everybody, to be changed by nobody.
    pub(crate) fn path(&self) -> &Path {
        self.0.prepared.get().map_or(&self.0.dir, |prepared| &prepared.path)
    }
}

/// Why a bundle's code can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    /// The store does not have it.
    #[error("bundle {0} is not in the store")]
    Missing(BundleDigest),
    /// The store failed.
    #[error("bundle {digest}: {source}")]
    Store {
        /// Which bundle.
        digest: BundleDigest,
        /// Its word.
        source: StoreFailure,
    },
    /// It can't be unpacked.
    #[error("bundle {digest}: {source}")]
    Unpack {
        /// Which bundle.
        digest: BundleDigest,
        /// What is wrong.
        source: UnpackError,
    },
    /// No image can be made of it.
    #[error("bundle {digest}: its image can't be made: {source}")]
    Prepare {
        /// Which bundle.
        digest: BundleDigest,
        /// What is wrong.
        source: io::Error,
    },
    /// The task that unpacked it broke.
    #[error("bundle {0}: unpacking was cut short")]
    CutShort(BundleDigest),
}

impl CodeCache {
    /// Takes up what lies under `root` if it is from the same start of the machine, and removes everything else there.
    pub(crate) fn open(
        root: &Path,
        boot: &str,
        bundles: Arc<dyn BundleStore>,
        launcher: Arc<dyn Launcher>,
        max_bytes: u64,
        starting: Starting,
        bytes: IntGauge,
    ) -> io::Result<Self> {
        let of_this_boot = root.join(boot);
        fs::create_dir_all(&of_this_boot)?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path != of_this_boot {
                remove(&path)?;
            }
        }
        let mut shelf = Shelf::default();
        for entry in fs::read_dir(&of_this_boot)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(digest) => shelf.take_up(digest, entry.path(), tree_bytes(&entry.path())?),
                None => remove(&entry.path())?,
            }
        }
        let shelf = Mutex::new(shelf);
        let cache = Self { root: of_this_boot, bundles, launcher, max_bytes, starting, shelf, bytes };
        for path in cache.evict() {
            remove(&path)?;
        }
        Ok(cache)
    }

    /// The code of `digest`, unpacked first if it is not here yet. Whoever stops waiting does not stop the unpacking:
    /// two of the same bundle would meet in one directory.
    pub(crate) async fn get(self: &Arc<Self>, digest: BundleDigest) -> Result<CodeLease, CodeError> {
        let unpacked = self.entry(digest);
        if !unpacked.prepared.initialized() {
            let (cache, unpacked) = (self.clone(), unpacked.clone());
            let fetching = tokio::spawn(async move { cache.fetch(digest, &unpacked).await });
            fetching.await.map_err(|_| CodeError::CutShort(digest))??;
        }
        Ok(CodeLease(unpacked))
    }

    /// Bundles that are here, the most recently used first.
    pub(crate) fn newest(&self) -> Vec<BundleDigest> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = shelf.entries.iter().filter(|(_, entry)| entry.unpacked.bytes.initialized());
        let mut by_use: Vec<_> = whole.map(|(digest, entry)| (entry.last_use, *digest)).collect();
        by_use.sort_unstable_by(|a, b| b.cmp(a));
        by_use.into_iter().take(REPORTED_MAX).map(|(_, digest)| digest).collect()
    }

    async fn fetch(&self, digest: BundleDigest, unpacked: &Arc<Unpacked>) -> Result<(), CodeError> {
        unpacked.bytes.get_or_try_init(|| self.unpack(digest, unpacked.dir.clone())).await?;
        unpacked.prepared.get_or_try_init(|| self.prepare(digest, unpacked.dir.clone())).await?;
        self.make_room().await;
        Ok(())
    }

    async fn prepare(&self, digest: BundleDigest, dir: PathBuf) -> Result<Prepared, CodeError> {
        let launcher = self.launcher.clone();
        let preparing = spawn_blocking(move || {
            let path = launcher.prepare_code(&dir)?;
            let bytes = if path == dir { 0 } else { fs::metadata(&path)?.len() };
            Ok(Prepared { path, bytes })
        });
        let prepared = preparing.await.map_err(|_| CodeError::CutShort(digest))?;
        prepared.map_err(|source| CodeError::Prepare { digest, source })
    }

    async fn unpack(&self, digest: BundleDigest, dir: PathBuf) -> Result<u64, CodeError> {
        let fetched = self.bundles.fetch(digest).await.map_err(|source| CodeError::Store { digest, source })?;
        let zip = fetched.ok_or(CodeError::Missing(digest))?;
        let unpacked = spawn_blocking(move || unpack(&zip, &dir)).await.map_err(|_| CodeError::CutShort(digest))?;
        let summary = unpacked.map_err(|source| CodeError::Unpack { digest, source })?;
        self.starting.settled().await;
        Ok(summary.unzipped_bytes)
    }

    fn entry(&self, digest: BundleDigest) -> Arc<Unpacked> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.forget_failed();
        shelf.uses += 1;
        let last_use = shelf.uses;
        let fresh =
            || Unpacked { dir: self.root.join(digest.to_string()), bytes: OnceCell::new(), prepared: OnceCell::new() };
        let entry = shelf.entries.entry(digest).or_insert_with(|| Shelved { unpacked: Arc::new(fresh()), last_use });
        entry.last_use = last_use;
        entry.unpacked.clone()
    }

    async fn make_room(&self) {
        let evicted = self.evict();
        if evicted.is_empty() {
            return;
        }
        let removed = spawn_blocking(move || evicted.iter().try_for_each(|path| remove(path))).await;
        if let Ok(Err(error)) = removed {
            warn!(%error, "unpacked code can't be removed");
        }
    }

    /// Takes the least recently used entries that nobody uses off the shelf until the rest fits; directories and images
    /// get names that no digest has, so that the same code can be unpacked again at once.
    fn evict(&self) -> Vec<PathBuf> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let mut evicted = Vec::new();
        let mut bytes = shelf.bytes();
        while bytes > self.max_bytes {
            let Some((digest, unpacked)) = shelf.least_recent() else { break };
            shelf.entries.remove(&digest);
            bytes -= unpacked.all_bytes();
            for path in unpacked.paths() {
                let aside = self.root.join(format!("evicted-{}-{}", shelf.uses, evicted.len()));
                match fs::rename(path, &aside) {
                    Ok(()) => evicted.push(aside),
                    Err(error) => warn!(%error, path = %path.display(), "unpacked code can't be removed"),
                }
            }
        }
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        evicted
    }
}

impl Shelf {
    fn take_up(&mut self, digest: BundleDigest, dir: PathBuf, bytes: u64) {
        let bytes = OnceCell::new_with(Some(bytes));
        let unpacked = Arc::new(Unpacked { dir, bytes, prepared: OnceCell::new() });
        self.entries.insert(digest, Shelved { unpacked, last_use: 0 });
    }

    fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.unpacked.all_bytes()).sum()
    }

    /// Lets go of entries that could not be made and that nobody tries any more.
    fn forget_failed(&mut self) {
        self.entries.retain(|_, entry| entry.unpacked.bytes.initialized() || Arc::strong_count(&entry.unpacked) > 1);
    }

    fn least_recent(&self) -> Option<(BundleDigest, Arc<Unpacked>)> {
        let unused = self.entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.unpacked) == 1);
        let whole = unused.filter(|(_, entry)| entry.unpacked.bytes.initialized());
        let (digest, entry) = whole.min_by_key(|(_, entry)| entry.last_use)?;
        Some((*digest, entry.unpacked.clone()))
    }
}

impl Unpacked {
    fn all_bytes(&self) -> u64 {
        self.bytes.get().unwrap_or(&0) + self.prepared.get().map_or(0, |prepared| prepared.bytes)
    }

    /// What lies on disk of it.
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let image = self.prepared.get().map(|prepared| prepared.path.as_path()).filter(|path| *path != self.dir);
        std::iter::once(self.dir.as_path()).chain(image)
    }
}

/// What a directory holds, not following symlinks.
fn tree_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { tree_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests;
