//! What functions wrote: kept by log group in segment files, read by cursor, followed without polling.
//!
//! ```text
//! slot tasks ──write (never waits)──▶ queue ──▶ writer task ──▶ segment files ◀── read(after, limit, wait)
//! ```
//!
//! A read sees all that was written before it began.
//!
//! Invariants: [`Logs::write`] does no I/O and never blocks: above [`QUEUE_MAX_BYTES`] it drops and counts, and the
//! group says so. A line's number only grows, also over restarts and after all of a log was evicted. A torn
//! record at the end of a file, left by a crash, is cut off when the log is opened.

mod segment;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_daemon::{Clock, OnFailure, Tasks};
use hearth_domain::{AccountId, LogGroup, RequestId};
use hearth_protocol::worker::{LogDeletion, LogList, LogListQuery, LogPage, LogQuery};
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

/// Which log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LogKey {
    /// The account.
    pub(crate) account: AccountId,
    /// The group: in general all versions of one function together.
    pub(crate) group: LogGroup,
}

/// Where an execution environment's lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LogSource {
    /// The log.
    pub(crate) key: LogKey,
    /// The environment's stream in it.
    pub(crate) stream: Arc<str>,
}

/// An entry with the stream it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamped {
    stream: Arc<str>,
    entry: LogEntry,
}

/// Which lines of a group are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selection {
    stream: Option<String>,
    from_unix_ms: u64,
    until_unix_ms: u64,
}

impl Selection {
    fn has(&self, record: &segment::Record<'_>) -> bool {
        (self.from_unix_ms..self.until_unix_ms).contains(&record.unix_ms)
            && self.stream.as_ref().is_none_or(|stream| stream == record.stream)
    }
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
    queue: mpsc::Sender<(Arc<LogSource>, LogEntry)>,
    backlog: Arc<Backlog>,
    store: Arc<Mutex<LogStore>>,
    /// Entries that left the queue and are in the files, since the start.
    flushed: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    /// Entries that were put into the queue, since the start.
    queued: AtomicU64,
    dropped: Mutex<BTreeMap<Arc<LogSource>, u64>>,
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
    pub(crate) fn write(&self, source: &Arc<LogSource>, entry: LogEntry) {
        let bytes = entry.text.len();
        let queued = self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed);
        let kept = queued + bytes <= QUEUE_MAX_BYTES
            && self
                .queue
                .try_reserve()
                .map(|place| {
                    // Counted before it can be taken out, so that no reader waits for less than there is.
                    self.backlog.queued.fetch_add(1, Ordering::Release);
                    place.send((source.clone(), entry));
                })
                .is_ok();
        if !kept {
            self.backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.backlog.count_dropped(source);
        }
    }

    /// Until all that was written so far is in the files.
    async fn written(&self) {
        let queued = self.backlog.queued.load(Ordering::Acquire);
        // A writer that has ended writes no more: there is nothing to wait for.
        let _ = self.flushed.clone().wait_for(|flushed| *flushed >= queued).await;
    }

    /// Lines after `query.after`; waits for the first one if asked to.
    pub(crate) async fn read(&self, query: LogQuery) -> io::Result<LogPage> {
        self.written().await;
        let mut flushed = self.flushed.clone();
        let give_up = tokio::time::sleep(query.wait.min(WAIT_MAX));
        tokio::pin!(give_up);
        let mut query = query;
        loop {
            flushed.mark_unchanged();
            let (store, wanted) = (self.store.clone(), query.clone());
            let page = spawn_blocking(move || read_page(&store, &wanted)).await.map_err(io::Error::other)??;
            if !page.lines.is_empty() || query.wait.is_zero() {
                return Ok(page);
            }
            // What was looked at and not wanted is not looked at again.
            query.after = page.next;
            tokio::select! {
                () = &mut give_up => return Ok(page),
                changed = flushed.changed() => if changed.is_err() { return Ok(page) },
            }
        }
    }

    /// The groups of an account, or the streams of a group.
    pub(crate) async fn list(&self, query: LogListQuery) -> io::Result<LogList> {
        self.written().await;
        let store = self.store.clone();
        let listed = spawn_blocking(move || {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let LogListQuery { account, group } = query;
            let Some(group) = group else { return Ok(store.groups(&account)) };
            let span = store.span(&LogKey { account, group }, 0);
            drop(store);
            span.map_or_else(|| Ok(Vec::new()), |span| span.streams())
        });
        listed.await.map_err(io::Error::other)?.map(LogList)
    }

    /// Removes a group.
    pub(crate) async fn delete(&self, deletion: LogDeletion) -> io::Result<()> {
        let (store, key) = (self.store.clone(), LogKey { account: deletion.account, group: deletion.group });
        let deleted = spawn_blocking(move || store.lock().unwrap_or_else(PoisonError::into_inner).delete(&key));
        deleted.await.map_err(io::Error::other)?
    }
}

fn read_page(store: &Mutex<LogStore>, query: &LogQuery) -> io::Result<LogPage> {
    let key = LogKey { account: query.account.clone(), group: query.group.clone() };
    let selection = Selection {
        stream: query.stream.clone(),
        from_unix_ms: query.from_unix_ms,
        until_unix_ms: query.until_unix_ms,
    };
    let span = store.lock().unwrap_or_else(PoisonError::into_inner).span(&key, query.after);
    span.map_or_else(
        || Ok(LogPage { lines: Vec::new(), next: query.after, at_end: true }),
        |span| span.read(query.after, query.limit, &selection),
    )
}

impl Backlog {
    fn count_dropped(&self, source: &Arc<LogSource>) {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner).entry(source.clone()).or_default() += 1;
    }

    fn take_dropped(&self) -> BTreeMap<Arc<LogSource>, u64> {
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Owner of the queue's end: writes what waits, in one go, then lets more gather.
struct Writer {
    entries: mpsc::Receiver<(Arc<LogSource>, LogEntry)>,
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

    async fn write(&mut self, first: (Arc<LogSource>, LogEntry)) -> Result<(), String> {
        let mut batch = BTreeMap::<LogKey, Vec<Stamped>>::new();
        let mut add = |source: &LogSource, entry| {
            let stamped = Stamped { stream: source.stream.clone(), entry };
            match batch.get_mut(&source.key) {
                Some(entries) => entries.push(stamped),
                None => drop(batch.insert(source.key.clone(), vec![stamped])),
            }
        };
        let (mut bytes, mut taken) = (0, 0);
        let mut next = Some(first);
        while let Some((source, entry)) = next {
            bytes += entry.text.len();
            taken += 1;
            add(&source, entry);
            next = self.entries.try_recv().ok();
        }
        for (source, count) in self.backlog.take_dropped() {
            self.dropped.inc_by(count);
            add(&source, dropped_note(count));
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
            error!(account = %key.account, group = %key.group, %error, "log lines were lost");
        }
        self.flushed.send_modify(|flushed| *flushed += taken);
        Ok(())
    }
}

fn dropped_note(count: u64) -> LogEntry {
    let text = format!("{count} log messages were dropped here: the worker could not write them fast enough");
    LogEntry { unix_ms: Clock::unix_ms(), request_id: None, text: text.into_bytes() }
}

#[cfg(test)]
mod tests;
