//! Snapshots as this launcher has them: opened and checked once, and kept.
//!
//! Beside what `hearth_vmm::snapshot` keeps in its directory there are two files here, of what a machine's drives were:
//!
//! | file | what |
//! | --- | --- |
//! | `drives.json` | the runtime image's name and checksum; written last, so that a directory without it is none |
//! | `code` | the code image, if one was attached: a second name of the file, or a copy |

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_vmm::snapshot::{Checksums, Draft, HostCpu, Snapshot};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::images::Images;
use super::machine::open_image;

const DRIVES: &str = "drives.json";
const CODE: &str = "code";
/// The form of [`DRIVES`].
const DRIVES_VERSION: u32 = 1;
/// Most snapshots that are kept open; the one used least is closed for another.
const OPEN_MAX: usize = 256;

/// What a machine's drives are made of.
#[derive(Debug, Clone)]
pub(super) struct Drives {
    /// The runtime image's name.
    pub(super) image: String,
    /// The code image's file, once attached.
    pub(super) code: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    image: String,
    sha256: String,
    code: bool,
}

/// A snapshot that can be restored any number of times.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// The runtime image's name.
    pub(super) image: String,
    pub(super) code: Option<File>,
    /// Device and number of its list of drives: another snapshot may come to have the same path.
    identity: (u64, u64),
}

/// All snapshots of a launcher.
pub(super) struct Snapshots {
    host: HostCpu,
    images: Arc<Images>,
    open: Mutex<HashMap<PathBuf, Entry>>,
    /// Held while a memory is copied: the copy moves the position of the file it is made from.
    drafting: Mutex<()>,
}

struct Entry {
    loaded: Arc<OnceCell<Arc<Loaded>>>,
    /// Rises with every use.
    used: u64,
}

impl Loaded {
    /// The code image's file, for a snapshot of what was restored from this one.
    pub(super) fn code_path(&self) -> Option<PathBuf> {
        self.code.as_ref().map(|_| self.snapshot.path().join(CODE))
    }
}

impl Snapshots {
    /// None as yet. `host` is what this host's processor offers.
    pub(super) fn new(host: HostCpu, images: Arc<Images>) -> Self {
        Self { host, images, open: Mutex::default(), drafting: Mutex::default() }
    }

    /// Prepares a snapshot at `into` of a machine that starts from the memory `image`. Blocking.
    pub(super) fn begin(&self, into: &Path, image: &File) -> io::Result<Draft> {
        if into.exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", into.display())));
        }
        let _turn = self.drafting.lock().unwrap_or_else(PoisonError::into_inner);
        Draft::begin(into, image)
    }

    /// Completes the snapshot of a machine that has ended. Blocking. Nothing is left if it fails.
    pub(super) fn finish(&self, draft: Draft, checksums: &Checksums, drives: Drives) -> io::Result<PathBuf> {
        let snapshot = draft.finish(checksums, &self.host).map_err(io::Error::other)?;
        let path = snapshot.path().to_owned();
        match self.complete(snapshot, drives) {
            Ok(loaded) => {
                let cell = Arc::new(OnceCell::new_with(Some(Arc::new(loaded))));
                let mut open = self.lock();
                let used = next(&open);
                open.insert(path.clone(), Entry { loaded: cell, used });
                Ok(path)
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    fn complete(&self, snapshot: Snapshot, drives: Drives) -> io::Result<Loaded> {
        let path = snapshot.path();
        if let Some(code) = &drives.code {
            // The image's owner may remove its name; the snapshot needs it as long as it is there itself.
            fs::hard_link(code, path.join(CODE)).or_else(|_| fs::copy(code, path.join(CODE)).map(drop))?;
        }
        let sha256 = self.images.get(&drives.image)?.sha256.clone();
        let written = Written { version: DRIVES_VERSION, image: drives.image, sha256, code: drives.code.is_some() };
        let draft = path.join(".drives.draft");
        fs::write(&draft, serde_json::to_vec(&written)?)?;
        fs::rename(&draft, path.join(DRIVES))?;
        self.load_drives(snapshot)
    }

    /// The snapshot in a directory; what is wrong with it, in words, if it can't be used.
    pub(super) async fn get(self: &Arc<Self>, path: &Path) -> Result<Arc<Loaded>, String> {
        let identity = identity(path).map_err(|error| error.to_string())?;
        let cell = self.cell(path, identity);
        let (this, path) = (Arc::clone(self), path.to_owned());
        let loaded = cell.get_or_try_init(|| async move {
            let load = move || {
                let snapshot = Snapshot::open(&path, &this.host).map_err(|refusal| refusal.to_string())?;
                this.load_drives(snapshot).map(Arc::new).map_err(|error| error.to_string())
            };
            tokio::task::spawn_blocking(load).await.map_err(|error| error.to_string())?
        });
        loaded.await.cloned()
    }

    /// Closes a snapshot that turned out to be of no use.
    pub(super) fn forget(&self, path: &Path) {
        self.lock().remove(path);
    }

    fn cell(&self, path: &Path, identity: (u64, u64)) -> Arc<OnceCell<Arc<Loaded>>> {
        let mut open = self.lock();
        let used = next(&open);
        if let Some(entry) = open.get_mut(path)
            && entry.loaded.get().is_none_or(|loaded| loaded.identity == identity)
        {
            entry.used = used;
            return Arc::clone(&entry.loaded);
        }
        if open.len() >= OPEN_MAX
            && let Some(oldest) = open.iter().min_by_key(|(_, entry)| entry.used).map(|(path, _)| path.clone())
        {
            open.remove(&oldest);
        }
        let loaded = Arc::default();
        open.insert(path.to_owned(), Entry { loaded: Arc::clone(&loaded), used });
        loaded
    }

    fn load_drives(&self, snapshot: Snapshot) -> io::Result<Loaded> {
        let path = snapshot.path();
        let written: Written = serde_json::from_slice(&fs::read(path.join(DRIVES))?)?;
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if written.version != DRIVES_VERSION {
            return Err(wrong(format!("its list of drives has version {}, not {DRIVES_VERSION}", written.version)));
        }
        if self.images.get(&written.image)?.sha256 != written.sha256 {
            return Err(wrong(format!("the guest image {} is another now", written.image)));
        }
        let code = if written.code { Some(open_image(&path.join(CODE))?) } else { None };
        let identity = identity(path)?;
        Ok(Loaded { image: written.image, code, identity, snapshot })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(open: &HashMap<PathBuf, Entry>) -> u64 {
    open.values().map(|entry| entry.used).max().unwrap_or(0) + 1
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::metadata(path.join(DRIVES))?;
    Ok((found.dev(), found.ino()))
}
