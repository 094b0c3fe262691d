//! Snapshots of sandboxes on this host's disk: what sandboxes start from when one like them was there before.
//!
//! ```text
//! begin ─▶ Making ─done─▶ find ─▶ Snapshot ─restored─▶ used … evicted, unusable or stale: removed
//! ```
//!
//! Each has a directory of its own: `machine`, which is the launcher's, and `key`, which says what it is a snapshot of
//! and what it depends on. `key` is written last, so a directory that has it is whole. A worker takes up what an earlier
//! one left if all that it depends on is the same, and removes the rest. A start of the machine is among that: what was
//! not on disk yet when the power went would be missing without a trace.
//!
//! A directory may be removed while sandboxes run that came of it: they have its files open.

mod cleanup;
mod shelf;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_daemon::Clock;
use prometheus::IntGauge;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

pub(crate) use self::cleanup::Cleanup;
use self::shelf::{Shelf, SnapshotNumber};
use crate::pool::now;

/// The launcher's part of a snapshot's directory.
const MACHINE: &str = "machine";
/// What a snapshot is of; makes it whole.
const KEY: &str = "key";
/// There once it is known what to bring in ahead.
const PREFETCHED: &str = "prefetched";

/// All snapshots of a worker.
#[derive(Debug)]
pub(crate) struct Snapshots {
    root: PathBuf,
    generation: String,
    shelf: Mutex<Shelf>,
    clock: Clock,
    bytes: IntGauge,
}

/// A snapshot that sandboxes can be restored from.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    of: Arc<Snapshots>,
    key: Arc<str>,
    number: SnapshotNumber,
}

/// A snapshot that is being made. Dropping it gives up.
#[derive(Debug)]
pub(crate) struct Making {
    snapshot: Snapshot,
    done: bool,
}

impl Snapshots {
    /// Takes up what lies under `root` and depends on the same things, which `generation` names, and removes the rest.
    pub(crate) fn open(
        root: &Path,
        generation: String,
        max_bytes: u64,
        clock: Clock,
        bytes: IntGauge,
    ) -> io::Result<Arc<Self>> {
        fs::create_dir_all(root)?;
        // What functions had in memory is in them.
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        let mut shelf = Shelf::new(max_bytes);
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            match read_whole(&path, &generation) {
                Some((number, key)) => {
                    shelf.take_up(key, number, allocated_bytes(&path)?, path.join(PREFETCHED).exists());
                }
                None => remove(&path)?,
            }
        }
        let snapshots = Self { root: root.to_owned(), generation, shelf: Mutex::new(shelf), clock, bytes };
        let evicted = snapshots.shelf().evict(0);
        for number in evicted {
            remove(&snapshots.dir(number))?;
        }
        snapshots.tell_size();
        Ok(Arc::new(snapshots))
    }

    /// The snapshot of `key`, if there is one.
    pub(crate) fn find(self: &Arc<Self>, key: &Arc<str>) -> Option<Snapshot> {
        let number = self.shelf().find(key)?;
        Some(Snapshot { of: self.clone(), key: key.clone(), number })
    }

    /// Whether one of `key` is missing and may be made now.
    pub(crate) fn lacks(&self, key: &str) -> bool {
        self.shelf().lacks(now(&self.clock), key)
    }

    /// Begins to make one, unless it is there, somebody makes it, or it failed a short while ago.
    pub(crate) fn begin(self: &Arc<Self>, key: &Arc<str>) -> io::Result<Option<Making>> {
        let Some(number) = self.shelf().begin(now(&self.clock), key) else { return Ok(None) };
        let making = Making { snapshot: Snapshot { of: self.clone(), key: key.clone(), number }, done: false };
        fs::create_dir(self.dir(number))?;
        Ok(Some(making))
    }

    /// What there are snapshots of.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.shelf().keys()
    }

    /// Removes those of these keys.
    pub(crate) fn remove(self: &Arc<Self>, keys: &[String]) {
        let removed = self.shelf().retain(|key| !keys.iter().any(|gone| gone == key));
        self.discard(removed);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, number: SnapshotNumber) -> PathBuf {
        self.root.join(format!("{number:016x}"))
    }

    fn tell_size(&self) {
        self.bytes.set(i64::try_from(self.shelf().size().1).unwrap_or(i64::MAX));
    }

    /// In the background: nobody waits for it, and what is left of it a later worker removes.
    fn discard(self: &Arc<Self>, numbers: Vec<SnapshotNumber>) {
        self.tell_size();
        let (snapshots, Ok(runtime)) = (self.clone(), Handle::try_current()) else { return };
        runtime.spawn_blocking(move || {
            for number in numbers {
                if let Err(error) = remove(&snapshots.dir(number)) {
                    warn!(%error, "a snapshot can't be removed");
                }
            }
        });
    }
}

impl Snapshot {
    /// The launcher's directory.
    pub(crate) fn machine(&self) -> PathBuf {
        self.of.dir(self.number).join(MACHINE)
    }

    /// A sandbox of it came up.
    pub(crate) fn used(&self) {
        self.of.shelf().on_used(&self.key);
    }

    /// It is of no use, and goes. Said once, however many find so.
    pub(crate) fn unusable(&self, reason: &str) {
        let first = self.of.shelf().on_unusable(now(&self.of.clock), &self.key, self.number);
        if first {
            warn!(snapshot = &*self.key, reason, "a snapshot is of no use: sandboxes are booted, and it is made anew");
            self.of.discard(vec![self.number]);
        }
    }

    /// Whether the caller is to find out what to bring in ahead: true once for each snapshot.
    pub(crate) fn claim_prefetch(&self) -> bool {
        self.of.shelf().claim_prefetch(&self.key, self.number)
    }

    /// What to bring in ahead is known, and lies in the launcher's directory.
    pub(crate) fn prefetched(&self) {
        if let Err(error) = fs::write(self.of.dir(self.number).join(PREFETCHED), []) {
            debug!(%error, "a later worker will find out anew what to bring in ahead");
        }
    }
}

impl Making {
    /// Where the launcher is to put it: a directory that does not exist yet.
    pub(crate) fn machine(&self) -> PathBuf {
        self.snapshot.machine()
    }

    /// The launcher has put it there.
    pub(crate) async fn done(mut self) -> io::Result<()> {
        let Snapshot { of, key, number } = self.snapshot.clone();
        let (dir, text) = (of.dir(number), format!("{}\n{key}", of.generation));
        let bytes = spawn_blocking(move || {
            let unfinished = dir.join(".key");
            fs::write(&unfinished, text)?;
            fs::rename(unfinished, dir.join(KEY))?;
            allocated_bytes(&dir)
        });
        let bytes = bytes.await.map_err(io::Error::other)??;
        self.done = true;
        info!(snapshot = &*key, bytes, "a snapshot is there");
        let (wanted, mut gone) = of.shelf().on_made(&key, number, bytes);
        if !wanted {
            gone.push(number);
        }
        of.discard(gone);
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            let Snapshot { of, key, number } = &self.snapshot;
            of.shelf().on_unmade(now(&of.clock), key, *number);
            of.discard(vec![*number]);
        }
    }
}

/// The number and key of a directory that is whole and of this generation.
fn read_whole(dir: &Path, generation: &str) -> Option<(SnapshotNumber, String)> {
    let number = u64::from_str_radix(dir.file_name()?.to_str()?, 16).ok()?;
    let text = fs::read_to_string(dir.join(KEY)).ok()?;
    let key = text.strip_prefix(generation)?.strip_prefix('\n')?;
    Some((number, key.to_owned()))
}

/// What a directory takes on disk: its files are full of holes.
fn allocated_bytes(dir: &Path) -> io::Result<u64> {
    const BYTES_PER_BLOCK: u64 = 512;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { allocated_bytes(&entry.path())? } else { metadata.blocks() * BYTES_PER_BLOCK };
    }
    Ok(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Path, generation: &str) -> Arc<Snapshots> {
        let bytes = IntGauge::new("bytes", "bytes").unwrap();
        Snapshots::open(root, generation.into(), 1 << 30, Clock::start(), bytes).unwrap()
    }

    async fn make(snapshots: &Arc<Snapshots>, key: &str) {
        let making = snapshots.begin(&key.into()).unwrap().unwrap();
        fs::create_dir(making.machine()).unwrap();
        fs::write(making.machine().join("memory"), [1; 10_000]).unwrap();
        making.done().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_whole_and_of_the_same_generation_outlives_the_worker() {
        let root = tempfile::tempdir().unwrap();
        let snapshots = open(root.path(), "boot 1, shim 1");
        make(&snapshots, "python3.11 of 128 MB").await;
        let snapshot = snapshots.find(&"python3.11 of 128 MB".into()).unwrap();
        assert!(snapshot.claim_prefetch());
        snapshot.prefetched();
        // One that was not finished when the worker was killed.
        let unfinished = snapshots.begin(&"provided of 128 MB".into()).unwrap().unwrap();
        fs::create_dir(unfinished.machine()).unwrap();
        std::mem::forget(unfinished);

        let again = open(root.path(), "boot 1, shim 1");
        let snapshot = again.find(&"python3.11 of 128 MB".into()).unwrap();
        assert!(snapshot.machine().join("memory").exists() && !snapshot.claim_prefetch());
        assert!(again.bytes.get() >= 10_000);
        assert!(again.lacks("provided of 128 MB"));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        let newer = open(root.path(), "boot 1, shim 2");
        assert!(newer.find(&"python3.11 of 128 MB".into()).is_none());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let snapshots = open(root.path(), "1");
        drop(snapshots.begin(&"a".into()).unwrap().unwrap());
        assert!(!snapshots.lacks("a"), "it waits before it is tried again");
        make(&snapshots, "b").await;
        snapshots.find(&"b".into()).unwrap().unusable("it is of another build");
        assert!(snapshots.find(&"b".into()).is_none());
        // Removal is in the background, on threads that are waited for here.
        while fs::read_dir(root.path()).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
