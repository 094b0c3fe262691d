//! What functions wrote: kept per function in segment files, read by cursor, followed without polling.
//!
//! ```text
//! slot tasks ──write (never waits)──▶ queue ──▶ writer task ──▶ segment files ◀── read(after, limit, wait)
//! ```
//!
//! Invariants: [`Logs::write`] does no I/O and never blocks: above [`QUEUE_MAX_BYTES`] it drops and counts, and the
//! function's log says so. A line's number only grows, also over restarts and after all of a log was evicted. A torn
//! record at the end of a file, left by a crash, is cut off when the log is opened.

mod segment;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_daemon::{Clock, OnFailure, Tasks};
use hearth_domain::{AccountId, FunctionName, RequestId};
use hearth_protocol::worker::{LogPage, LogQuery};
use prometheus::IntCounter;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tracing::error;

use crate::LogBounds;
use store::LogStore;

/// Text that waits to be written, bytes.
const QUEUE_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Entries that wait to be written.
const QUEUE_MAX_ENTRIES: usize = 64 * 1024;
/// What comes within this time of a write is written together with the next.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait that one read asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LogKey {
    /// The account.
    pub(crate) account: AccountId,
    /// The function, all its versions together.
    pub(crate) name: FunctionName,
}

/// One or more whole lines that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// When the worker got them.
    pub(crate) unix_ms: u64,
    /// The request they belong to.
    pub(crate) request_id: Option<RequestId>,
    /// The lines, with line feeds between them and none at the end.
    pub(crate) text: Vec<u8>,
}

/// The logs of a worker.
#[derive(Debug)]
pub(crate) struct Logs {
    queue: mpsc::Sender<(Arc<LogKey>, LogEntry)>,
    backlog: Arc<Backlog>,
    store: Arc<Mutex<LogStore>>,
    flushed: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    dropped: Mutex<BTreeMap<Arc<LogKey>, u64>>,
}

impl Logs {
    /// Opens what an earlier worker left, and starts the writer.
    pub(crate) async fn open(root: PathBuf, bounds: LogBounds, tasks: &Tasks, dropped: IntCounter) -> io::Result<Self> {
        let store = spawn_blocking(move || LogStore::open(root, bounds)).await.map_err(io::Error::other)??;
        let store = Arc::new(Mutex::new(store));
        let backlog = Arc::<Backlog>::default();
        let (queue, entries) = mpsc::channel(QUEUE_MAX_ENTRIES);
        let (flushed_tx, flushed) = watch::channel(0);
        let writer = Writer { entries, backlog: backlog.clone(), store: store.clone(), flushed: flushed_tx, dropped };
        let stop = tasks.clone();
        tasks.spawn("logs", OnFailure::EndRole, async move { writer.run(stop).await });
        Ok(Self { queue, backlog, store, flushed })
    }

    /// Keeps an entry. Never waits.
    pub(crate) fn write(&self, key: &Arc<LogKey>, entry: LogEntry) {
        let bytes = entry.text.len();
        let queued = self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > QUEUE_MAX_BYTES || self.queue.try_send((key.clone(), entry)).is_err() {
            self.backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.backlog.count_dropped(key);
        }
    }

    /// Lines after `query.after`; waits for the first one if asked to.
    pub(crate) async fn read(&self, query: LogQuery) -> io::Result<LogPage> {
        let mut flushed = self.flushed.clone();
        let give_up = tokio::time::sleep(query.wait.min(WAIT_MAX));
        tokio::pin!(give_up);
        loop {
            flushed.mark_unchanged();
            let (store, wanted) = (self.store.clone(), query.clone());
            let page = spawn_blocking(move || read_page(&store, &wanted)).await.map_err(io::Error::other)??;
            if !page.lines.is_empty() || query.wait.is_zero() {
                return Ok(page);
            }
            tokio::select! {
                () = &mut give_up => return Ok(page),
                changed = flushed.changed() => if changed.is_err() { return Ok(page) },
            }
        }
    }
}

fn read_page(store: &Mutex<LogStore>, query: &LogQuery) -> io::Result<LogPage> {
    let key = LogKey { account: query.account.clone(), name: query.name.clone() };
    let span = store.lock().unwrap_or_else(PoisonError::into_inner).span(&key, query.after);
    span.map_or_else(
        || Ok(LogPage { lines: Vec::new(), next: query.after }),
        |span| span.read(query.after, query.limit),
    )
}

impl Backlog {
    fn count_dropped(&self, key: &Arc<LogKey>) {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default() += 1;
    }

    fn take_dropped(&self) -> BTreeMap<Arc<LogKey>, u64> {
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Owner of the queue's end: writes what waits, in one go, then lets more gather.
struct Writer {
    entries: mpsc::Receiver<(Arc<LogKey>, LogEntry)>,
    backlog: Arc<Backlog>,
    store: Arc<Mutex<LogStore>>,
    flushed: watch::Sender<u64>,
    dropped: IntCounter,
}

impl Writer {
    async fn run(mut self, tasks: Tasks) -> Result<(), String> {
        loop {
            let first = tokio::select! {
                first = self.entries.recv() => first,
                () = tasks.stopping() => {
                    self.entries.close();
                    self.entries.recv().await
                }
            };
            let Some(first) = first else { return Ok(()) };
            self.write(first).await?;
            tokio::select! {
                () = tokio::time::sleep(FLUSH_INTERVAL) => {}
                () = tasks.stopping() => {}
            }
        }
    }

    async fn write(&mut self, first: (Arc<LogKey>, LogEntry)) -> Result<(), String> {
        let mut batch = BTreeMap::<Arc<LogKey>, Vec<LogEntry>>::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some((key, entry)) = next {
            bytes += entry.text.len();
            batch.entry(key).or_default().push(entry);
            next = self.entries.try_recv().ok();
        }
        for (key, count) in self.backlog.take_dropped() {
            self.dropped.inc_by(count);
            batch.entry(key).or_default().push(dropped_note(count));
        }
        let store = self.store.clone();
        let written = spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            batch.iter().filter_map(|(key, entries)| store.append(key, entries).err().map(|e| (key.clone(), e))).last()
        });
        let failed = written.await.map_err(|panicked| panicked.to_string())?;
        self.backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // A full disk costs lines, never the worker.
        if let Some((key, error)) = failed {
            self.dropped.inc();
            error!(account = %key.account, function = %key.name, %error, "log lines were lost");
        }
        self.flushed.send_modify(|flushes| *flushes += 1);
        Ok(())
    }
}

fn dropped_note(count: u64) -> LogEntry {
    let text = format!("{count} log messages were dropped here: the worker could not write them fast enough");
    LogEntry { unix_ms: Clock::unix_ms(), request_id: None, text: text.into_bytes() }
}

#[cfg(test)]
mod tests;
