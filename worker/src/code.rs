//! Unpacked bundles on this host's disk: a function's code by its digest, and layers merged in their order.
//!
//! Where a sandbox can be shown several directories, code and layers are entries of their own, so that functions share
//! what they have in common. A microVM has one drive for both: there a function with layers has an entry with the
//! directories `task` and `opt`, of which the image is made.
//!
//! Invariants: a bundle is unpacked once, however many slots ask at the same time; what a slot uses ([`CodeLease`]) is
//! never removed; the rest is, least recently used first, when all takes more than its bound. A directory that is no
//! draft is whole: it got its name last. Code is given out when its programs can be executed (see `starting`)
//! and it is in the form that sandboxes take: the directory itself, or an image of it that the launcher made beside it,
//! which is counted and goes with it.
//!
//! What an earlier worker unpacked of code (not of layers) is used again, but not after the machine was started anew: what was not yet on disk
//! when the power went would be missing without a trace.

mod tree;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_domain::{BundleDigest, FunctionSpec};
use hearth_microvm::Launcher;
use hearth_store::unzip::{UnpackError, unpack};
use hearth_store::{BundleStore, StoreFailure};
use prometheus::IntGauge;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::starting::Starting;
use tree::{join, remove, tree_bytes};

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
    entries: HashMap<CodeKey, Shelved>,
    uses: u64,
}

/// What is unpacked into one directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum CodeKey {
    /// One bundle.
    Code(BundleDigest),
    /// Several, a later one over an earlier one.
    Layers(Vec<BundleDigest>),
    /// Code in `task`, layers in `opt`.
    Both(BundleDigest, Vec<BundleDigest>),
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

/// Code and layers that stay on disk for as long as this lives.
#[derive(Debug, Clone)]
pub(crate) struct CodeLease {
    code: Arc<Unpacked>,
    layers: Option<Arc<Unpacked>>,
    layers_in_code: bool,
}

impl CodeLease {
    /// The code's directory on the host, or the image of it: readable by everybody, to be changed by nobody.
    pub(crate) fn path(&self) -> &Path {
        self.code.path()
    }

    /// The directory of the merged layers, if they are to be shown on their own.
    pub(crate) fn layers(&self) -> Option<&Path> {
        self.layers.as_ref().map(|layers| layers.path())
    }

    /// Whether [`Self::path`] holds code in `task` and layers in `opt`.
    pub(crate) const fn layers_in_code(&self) -> bool {
        self.layers_in_code
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
    /// Layers can't be merged.
    #[error("merging layers: {0}")]
    Merge(io::Error),
    /// No image can be made of it.
    #[error("{dir}: its image can't be made: {source}")]
    Prepare {
        /// Its directory.
        dir: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The task that unpacked it broke.
    #[error("unpacking was cut short")]
    CutShort,
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

    /// What a function runs with: its code, and its layers if it has any.
    pub(crate) async fn of(self: &Arc<Self>, function: &FunctionSpec) -> Result<CodeLease, CodeError> {
        let (bundle, layers) = (function.bundle, function.layers.clone());
        if layers.is_empty() {
            let code = self.get(CodeKey::Code(bundle)).await?;
            return Ok(CodeLease { code, layers: None, layers_in_code: false });
        }
        if self.launcher.layers_in_code() {
            let code = self.get(CodeKey::Both(bundle, layers)).await?;
            return Ok(CodeLease { code, layers: None, layers_in_code: true });
        }
        let (code, layers) = tokio::try_join!(self.get(CodeKey::Code(bundle)), self.get(CodeKey::Layers(layers)))?;
        Ok(CodeLease { code, layers: Some(layers), layers_in_code: false })
    }

    /// An entry, unpacked first if it is not here yet. Whoever stops waiting does not stop the unpacking: two of the
    /// same would meet in one directory.
    async fn get(self: &Arc<Self>, key: CodeKey) -> Result<Arc<Unpacked>, CodeError> {
        let unpacked = self.entry(&key);
        if !unpacked.prepared.initialized() {
            let (cache, unpacked) = (self.clone(), unpacked.clone());
            let fetching = tokio::spawn(async move { cache.fetch(&key, &unpacked).await });
            fetching.await.map_err(|_| CodeError::CutShort)??;
        }
        Ok(unpacked)
    }

    /// Bundles that are here, the most recently used first.
    pub(crate) fn newest(&self) -> Vec<BundleDigest> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = shelf.entries.iter().filter(|(_, entry)| entry.unpacked.bytes.initialized());
        let code = whole.filter_map(|(key, entry)| match key {
            CodeKey::Code(digest) | CodeKey::Both(digest, _) => Some((entry.last_use, *digest)),
            CodeKey::Layers(_) => None,
        });
        let mut by_use: Vec<_> = code.collect();
        by_use.sort_unstable_by(|a, b| b.cmp(a));
        by_use.into_iter().take(REPORTED_MAX).map(|(_, digest)| digest).collect()
    }

    async fn fetch(&self, key: &CodeKey, unpacked: &Arc<Unpacked>) -> Result<(), CodeError> {
        unpacked.bytes.get_or_try_init(|| self.unpack(key, unpacked.dir.clone())).await?;
        unpacked.prepared.get_or_try_init(|| self.prepare(unpacked.dir.clone())).await?;
        self.make_room().await;
        Ok(())
    }

    async fn prepare(&self, dir: PathBuf) -> Result<Prepared, CodeError> {
        let launcher = self.launcher.clone();
        let preparing = spawn_blocking(move || {
            let prepared = launcher.prepare_code(&dir).and_then(|path| {
                let bytes = if path == dir { 0 } else { fs::metadata(&path)?.len() };
                Ok(Prepared { path, bytes })
            });
            prepared.map_err(|source| CodeError::Prepare { dir, source })
        });
        preparing.await.map_err(|_| CodeError::CutShort)?
    }

    async fn unpack(&self, key: &CodeKey, dir: PathBuf) -> Result<u64, CodeError> {
        let bytes = match key {
            CodeKey::Code(digest) => self.unpack_into(*digest, dir).await?,
            CodeKey::Layers(layers) => self.merged(None, layers, dir).await?,
            CodeKey::Both(code, layers) => self.merged(Some(*code), layers, dir).await?,
        };
        self.starting.settled().await;
        Ok(bytes)
    }

    /// Unpacks a bundle; returns what it takes.
    async fn unpack_into(&self, digest: BundleDigest, dir: PathBuf) -> Result<u64, CodeError> {
        let fetched = self.bundles.fetch(digest).await.map_err(|source| CodeError::Store { digest, source })?;
        let zip = fetched.ok_or(CodeError::Missing(digest))?;
        let unpacked = spawn_blocking(move || unpack(&zip, &dir)).await.map_err(|_| CodeError::CutShort)?;
        Ok(unpacked.map_err(|source| CodeError::Unpack { digest, source })?.unzipped_bytes)
    }

    /// Unpacks layers one over the other into `dir`; with code, that into `task` and the layers into `opt` there. Each is
    /// unpacked on its own first, because each is checked as a whole. Leaves nothing if it fails.
    async fn merged(
        &self,
        code: Option<BundleDigest>,
        layers: &[BundleDigest],
        dir: PathBuf,
    ) -> Result<u64, CodeError> {
        let blocking = |act: Box<dyn FnOnce() -> io::Result<()> + Send>| async {
            spawn_blocking(act).await.map_err(|_| CodeError::CutShort)?.map_err(CodeError::Merge)
        };
        let draft = dir.with_extension("draft");
        let parts: Vec<_> = (0..layers.len()).map(|index| draft.join(index.to_string())).collect();
        let mut wanted: Vec<_> = layers.iter().copied().zip(parts.clone()).collect();
        wanted.extend(code.map(|code| (code, draft.join(tree::TASK))));
        let made = draft.clone();
        blocking(Box::new(move || fs::create_dir_all(made))).await?;
        let mut bytes = 0;
        for (digest, part) in wanted {
            match self.unpack_into(digest, part).await {
                Ok(unpacked) => bytes += unpacked,
                Err(error) => {
                    blocking(Box::new(move || fs::remove_dir_all(draft))).await?;
                    return Err(error);
                }
            }
        }
        let has_code = code.is_some();
        blocking(Box::new(move || join(&parts, &draft, has_code, &dir))).await?;
        Ok(bytes)
    }

    fn entry(&self, key: &CodeKey) -> Arc<Unpacked> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.forget_failed();
        shelf.uses += 1;
        let last_use = shelf.uses;
        let name = match key {
            CodeKey::Code(digest) => digest.to_string(),
            // Not taken up by a later worker, so the name need not say what is in it.
            CodeKey::Layers(_) | CodeKey::Both(..) => format!("layers-{last_use}"),
        };
        let fresh = || Unpacked { dir: self.root.join(name), bytes: OnceCell::new(), prepared: OnceCell::new() };
        let entry =
            shelf.entries.entry(key.clone()).or_insert_with(|| Shelved { unpacked: Arc::new(fresh()), last_use });
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
            let Some((key, unpacked)) = shelf.least_recent() else { break };
            shelf.entries.remove(&key);
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
        self.entries.insert(CodeKey::Code(digest), Shelved { unpacked, last_use: 0 });
    }

    fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.unpacked.all_bytes()).sum()
    }

    /// Lets go of entries that could not be made and that nobody tries any more.
    fn forget_failed(&mut self) {
        self.entries.retain(|_, entry| entry.unpacked.bytes.initialized() || Arc::strong_count(&entry.unpacked) > 1);
    }

    fn least_recent(&self) -> Option<(CodeKey, Arc<Unpacked>)> {
        let unused = self.entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.unpacked) == 1);
        let whole = unused.filter(|(_, entry)| entry.unpacked.bytes.initialized());
        let (key, entry) = whole.min_by_key(|(_, entry)| entry.last_use)?;
        Some((key.clone(), entry.unpacked.clone()))
    }
}

impl Unpacked {
    fn path(&self) -> &Path {
        self.prepared.get().map_or(&self.dir, |prepared| &prepared.path)
    }

    fn all_bytes(&self) -> u64 {
        self.bytes.get().unwrap_or(&0) + self.prepared.get().map_or(0, |prepared| prepared.bytes)
    }

    /// What lies on disk of it.
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let image = self.prepared.get().map(|prepared| prepared.path.as_path()).filter(|path| *path != self.dir);
        std::iter::once(self.dir.as_path()).chain(image)
    }
}

#[cfg(test)]
mod tests;
