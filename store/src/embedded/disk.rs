//! The sled database itself: opening, committing, and keeping its blocking calls off the async threads.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use sled::transaction::TransactionError;

use crate::StoreFailure;

/// Page cache of the database, bytes. The catalog is in memory anyway; this serves the queue and the counters.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// An open database.
pub(super) struct Disk {
    db: sled::Db,
    /// sled's file, opened once more: sled writes and waits for its pages, but asks neither the file system nor the
    /// drive to make them last.
    file: File,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreFailure> {
        let failed = |what: &str| format!("{what} {}", dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| StoreFailure::new(failed("create directory"), error))?;
        let db = open_patiently(dir).map_err(|error| StoreFailure::new(failed("open database in"), error))?;
        let file =
            File::open(dir.join("db")).map_err(|error| StoreFailure::new(failed("open database file in"), error))?;
        Ok(Self { db, file })
    }

    pub(super) fn tree(&self, name: &str) -> Result<sled::Tree, StoreFailure> {
        self.db.open_tree(name).map_err(|error| StoreFailure::new(format!("open tree {name}"), error))
    }

    /// A number that this database never gave out before.
    pub(super) fn next_id(&self) -> Result<u64, StoreFailure> {
        self.db.generate_id().map_err(|error| StoreFailure::new("draw an id", error))
    }

    /// Returns when everything written so far will survive a crash of the process or of the machine.
    pub(super) fn commit(&self, operation: &str) -> Result<(), StoreFailure> {
        self.db.flush().map_err(|error| StoreFailure::new(format!("flush: {operation}"), error))?;
        self.file.sync_data().map_err(|error| StoreFailure::new(format!("sync: {operation}"), error))
    }
}

/// Opens the database; while it is locked, looks again for a while. sled gives its lock back some time after the last
/// handle is dropped, and a process that was just killed may have left it, for a moment, to children that had not yet
/// become their sandbox's first program. Nothing tells when either is over.
fn open_patiently(dir: &Path) -> Result<sled::Db, sled::Error> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open() {
            Err(error) if is_locked(&error) && Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            opened => return opened,
        }
    }
}

/// sled has no kind of its own for it, only the words.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Runs blocking work away from the async threads. The work goes on to its end even if the caller stops waiting.
pub(super) async fn off_thread<T, E>(
    operation: String,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreFailure> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The engine panicked, or the runtime is being shut down.
        Err(error) => Err(StoreFailure::new(operation, error).into()),
    }
}

/// The result of a transaction as this crate tells it.
pub(super) fn transacted<T>(
    operation: &str,
    result: Result<T, TransactionError<StoreFailure>>,
) -> Result<T, StoreFailure> {
    result.map_err(|error| match error {
        TransactionError::Abort(failure) => failure,
        TransactionError::Storage(error) => StoreFailure::new(operation, error),
    })
}
