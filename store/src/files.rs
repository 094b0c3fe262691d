//! Bundles as files in one directory, each named by its SHA-256.
//!
//! A bundle is written under a temporary name, synced and renamed, so a name always stands for a whole file. The first
//! [`fetch`](BundleStore::fetch) of each bundle after a start reads it through and compares its digest.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::BundleDigest;
use sha2::{Digest, Sha256};

use crate::{BundleStore, StoreFailure};

/// How old an unreferenced bundle must be before [`BundleStore::retain`] removes it: between an upload and the record
/// that refers to it lies less.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(3_600);

/// Bundles in a directory. Several processes may read it; one stores and removes.
pub struct FileBundles(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    grace: Duration,
    /// Held while a file's age is judged and what follows from it is done: between the look of [`Shared::retain`] and
    /// its removal no upload may take the file for stored.
    aging: Mutex<()>,
    /// Bundles that this process wrote or read through.
    verified: Mutex<HashSet<BundleDigest>>,
}

/// A bundle file whose content is not what its name says.
#[derive(Debug, thiserror::Error)]
#[error("the file is damaged: its content has SHA-256 {found}")]
struct DamagedBundle {
    found: BundleDigest,
}

impl FileBundles {
    /// Opens the directory, making it if it is not there.
    pub async fn open(dir: &Path) -> Result<Self, StoreFailure> {
        Self::open_with(dir, GRACE_DEFAULT).await
    }

    /// As [`Self::open`], with another grace period.
    pub async fn open_with(dir: &Path, grace: Duration) -> Result<Self, StoreFailure> {
        let shared =
            Arc::new(Shared { dir: dir.to_owned(), grace, aging: Mutex::default(), verified: Mutex::default() });
        let bundles = Self(shared);
        bundles.off_thread(|shared| fs::create_dir_all(&shared.dir).map_err(failed("create", &shared.dir))).await?;
        Ok(bundles)
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreFailure> + Send + 'static,
    ) -> Result<T, StoreFailure> {
        let shared = self.0.clone();
        let joined = tokio::task::spawn_blocking(move || work(&shared)).await;
        joined.unwrap_or_else(|error| Err(StoreFailure::new(format!("use {}", self.0.dir.display()), error)))
    }
}

#[async_trait]
impl BundleStore for FileBundles {
    async fn put(&self, zip: Bytes) -> Result<BundleDigest, StoreFailure> {
        self.off_thread(move |shared| shared.put(&zip)).await
    }

    async fn fetch(&self, digest: BundleDigest) -> Result<Option<PathBuf>, StoreFailure> {
        self.off_thread(move |shared| shared.fetch(digest)).await
    }

    async fn retain(&self, keep: &[BundleDigest]) -> Result<usize, StoreFailure> {
        let keep: HashSet<_> = keep.iter().copied().collect();
        self.off_thread(move |shared| shared.retain(&keep)).await
    }
}

impl Shared {
    fn put(&self, zip: &[u8]) -> Result<BundleDigest, StoreFailure> {
        let digest = BundleDigest(Sha256::digest(zip).into());
        let path = self.path(digest);
        let stored = self.touch(&path, zip).map_err(failed("check", &path))?;
        if !stored {
            self.write(&path, zip).map_err(failed("write", &path))?;
        }
        self.verified().insert(digest);
        Ok(digest)
    }

    /// Whether the bundle is there and sound. Makes it new, so that its grace period begins again.
    fn touch(&self, path: &Path, zip: &[u8]) -> io::Result<bool> {
        let _aging = self.aging();
        let file = match File::options().write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        file.set_modified(SystemTime::now())?;
        Ok(fs::read(path).is_ok_and(|content| content == zip))
    }

    fn write(&self, path: &Path, zip: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".upload-").tempfile_in(&self.dir)?;
        file.write_all(zip)?;
        // Readable by workers that run as somebody else.
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.dir)?.sync_all()
    }

    fn fetch(&self, digest: BundleDigest) -> Result<Option<PathBuf>, StoreFailure> {
        let path = self.path(digest);
        if self.verified().contains(&digest) && path.exists() {
            return Ok(Some(path));
        }
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash).map_err(failed("read", &path))?;
        let found = BundleDigest(hash.finalize().into());
        if found != digest {
            return Err(StoreFailure::new(format!("read {}", path.display()), DamagedBundle { found }));
        }
        self.verified().insert(digest);
        Ok(Some(path))
    }

    /// Removes old files that are not kept, uploads that a crash cut off included.
    fn retain(&self, keep: &HashSet<BundleDigest>) -> Result<usize, StoreFailure> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.dir).map_err(failed("list", &self.dir))? {
            let path = entry.map_err(failed("list", &self.dir))?.path();
            let _aging = self.aging();
            let digest = digest_of(&path);
            if digest.is_some_and(|digest| keep.contains(&digest)) || !self.is_ours_and_old(&path) {
                continue;
            }
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            if let Some(digest) = digest {
                self.verified().remove(&digest);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn is_ours_and_old(&self, path: &Path) -> bool {
        let is_upload =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".upload-"));
        let age = || fs::metadata(path).ok()?.modified().ok()?.elapsed().ok();
        (is_upload || digest_of(path).is_some()) && age().is_some_and(|age| age >= self.grace)
    }

    fn path(&self, digest: BundleDigest) -> PathBuf {
        self.dir.join(format!("{digest}.zip"))
    }

    fn aging(&self) -> MutexGuard<'_, ()> {
        self.aging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verified(&self) -> MutexGuard<'_, HashSet<BundleDigest>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest_of(path: &Path) -> Option<BundleDigest> {
    path.file_name()?.to_str()?.strip_suffix(".zip")?.parse().ok()
}

fn failed<'a>(verb: &'a str, path: &'a Path) -> impl Fn(io::Error) -> StoreFailure + 'a {
    move |error| StoreFailure::new(format!("{verb} {}", path.display()), error)
}
