//! All segment files of a worker: `ROOT/ACCOUNT/GROUP/FIRST.log`, where FIRST is the number of the file's first line. A
//! function's own group has the function's name there; any other has its own after an `@`, with `@` for `/`.
//!
//! Blocking; called from blocking threads only. Numbers begin at the microsecond a log was begun, so that a log that
//! was evicted as a whole and begun anew never numbers a line lower than before.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hearth_daemon::Clock;
use hearth_domain::{AccountId, FunctionName, InvalidId, LogGroup};
use hearth_protocol::worker::{LogLine, LogPage, LogSummary};

use super::segment::{self, Record};
use super::{LogKey, Selection, Stamped};
use crate::LogBounds;

/// Most lines of one page.
const PAGE_MAX_LINES: u32 = 10_000;
/// Text of one page, bytes, after which it ends: well within one message between roles.
const PAGE_MAX_BYTES: usize = 1024 * 1024;

/// Most streams of one list.
const STREAMS_MAX: usize = 10_000;

/// Every group's log.
#[derive(Debug)]
pub(super) struct LogStore {
    root: PathBuf,
    bounds: LogBounds,
    groups: BTreeMap<LogKey, GroupLog>,
    bytes: u64,
}

#[derive(Debug)]
struct GroupLog {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    first: u64,
    bytes: u64,
}

/// Part of a log as it stood at one moment, to be read without the store.
#[derive(Debug)]
pub(super) struct Span {
    dir: PathBuf,
    segments: Vec<Segment>,
}

impl LogStore {
    /// Takes up what lies under `root`, cutting off what a crash left half written.
    pub(super) fn open(root: PathBuf, bounds: LogBounds) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let mut store = Self { root, bounds, groups: BTreeMap::new(), bytes: 0 };
        for (account, account_dir) in named_dirs(&store.root, AccountId::new)? {
            for (group, dir) in named_dirs(&account_dir, group_of)? {
                let log = GroupLog::open(dir)?;
                store.bytes += log.bytes();
                store.groups.insert(LogKey { account: account.clone(), group }, log);
            }
        }
        store.evict()?;
        Ok(store)
    }

    /// Appends entries to a group's log.
    pub(super) fn append(&mut self, key: &LogKey, entries: &[Stamped]) -> io::Result<()> {
        if !self.groups.contains_key(key) {
            let dir = self.root.join(key.account.as_str()).join(directory_of(&key.group));
            fs::create_dir_all(&dir)?;
            self.groups.insert(key.clone(), GroupLog { dir, segments: VecDeque::new(), next: begin() });
        }
        let Some(log) = self.groups.get_mut(key) else { return Ok(()) };
        let before = log.bytes();
        let appended = log.append(entries, &self.bounds);
        let trimmed = log.trim(self.bounds.function_max_bytes);
        self.bytes = self.bytes + log.bytes() - before;
        appended.and(trimmed).and_then(|()| self.evict())
    }

    /// What there is to read after line `after`.
    pub(super) fn span(&self, key: &LogKey, after: u64) -> Option<Span> {
        let log = self.groups.get(key).filter(|log| after + 1 < log.next || after == 0)?;
        let start = log.segments.partition_point(|segment| segment.first <= after + 1).saturating_sub(1);
        Some(Span { dir: log.dir.clone(), segments: log.segments.range(start..).copied().collect() })
    }

    /// The groups of an account.
    pub(super) fn groups(&self, account: &AccountId) -> Vec<LogSummary> {
        let of_account = self.groups.iter().filter(|(key, log)| key.account == *account && log.bytes() > 0);
        of_account.map(|(key, log)| log.summary(key.group.to_string())).collect()
    }

    /// Removes a group.
    pub(super) fn delete(&mut self, key: &LogKey) -> io::Result<()> {
        let Some(log) = self.groups.get_mut(key) else { return Ok(()) };
        while !log.segments.is_empty() {
            self.bytes -= log.remove_front()?;
        }
        let _ = fs::remove_dir(&log.dir);
        self.groups.remove(key);
        Ok(())
    }

    /// Removes oldest segments, whosever they are, until all fit.
    fn evict(&mut self) -> io::Result<()> {
        while self.bytes > self.bounds.total_max_bytes {
            let oldest = self.groups.iter().min_by_key(|(_, log)| log.segments.front().map(|segment| segment.first));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return Ok(()) };
            let Some(log) = self.groups.get_mut(&key) else { return Ok(()) };
            self.bytes -= log.remove_front()?;
            if log.segments.is_empty() {
                // The directory is empty now; should it not be, it does no harm.
                let _ = fs::remove_dir(&log.dir);
                self.groups.remove(&key);
            }
        }
        Ok(())
    }
}

impl GroupLog {
    fn open(dir: PathBuf) -> io::Result<Self> {
        let mut segments = Vec::new();
        for file in fs::read_dir(&dir)? {
            let file = file?;
            let name = file.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
            let Some(first) = first else { continue };
            segments.push(Segment { first, bytes: file.metadata()?.len() });
        }
        segments.sort_by_key(|segment| segment.first);
        let mut log = Self { dir, segments: segments.into(), next: begin() };
        log.recover()?;
        Ok(log)
    }

    /// Only the newest file can have been cut short by a crash.
    fn recover(&mut self) -> io::Result<()> {
        let Some(Segment { first, .. }) = self.segments.back().copied() else { return Ok(()) };
        let path = self.path(first);
        let (bytes, lines) = segment::sound(&fs::read(&path)?);
        if bytes == 0 {
            self.segments.pop_back();
            fs::remove_file(&path)?;
        } else if let Some(last) = self.segments.back_mut() {
            OpenOptions::new().write(true).open(&path)?.set_len(bytes)?;
            last.bytes = bytes;
        }
        self.next = (first + lines).max(self.next);
        // A file numbers its lines from its name on, and there is a gap now: new lines get a file of their own.
        self.segments.push_back(Segment { first: self.next, bytes: 0 });
        Ok(())
    }

    fn append(&mut self, entries: &[Stamped], bounds: &LogBounds) -> io::Result<()> {
        let mut buffer = Vec::new();
        let mut lines = 0;
        for entry in entries {
            lines += u64::from(segment::encode(&entry.stream, &entry.entry, &mut buffer));
            if buffer.len() as u64 >= bounds.segment_max_bytes {
                self.write(&buffer, lines, bounds)?;
                buffer.clear();
                lines = 0;
            }
        }
        if buffer.is_empty() { Ok(()) } else { self.write(&buffer, lines, bounds) }
    }

    fn write(&mut self, buffer: &[u8], lines: u64, bounds: &LogBounds) -> io::Result<()> {
        let full =
            |segment: &Segment| segment.bytes > 0 && segment.bytes + buffer.len() as u64 > bounds.segment_max_bytes;
        if self.segments.back().is_none_or(full) {
            self.segments.push_back(Segment { first: self.next, bytes: 0 });
        }
        let Some(Segment { first, bytes }) = self.segments.back().copied() else { return Ok(()) };
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(first))?;
        if let Err(error) = file.write_all(buffer) {
            // Half a record in the middle of a file would hide all that follows it.
            file.set_len(bytes)?;
            return Err(error);
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes += buffer.len() as u64;
        }
        self.next += lines;
        Ok(())
    }

    fn trim(&mut self, max_bytes: u64) -> io::Result<()> {
        while self.bytes() > max_bytes && self.segments.len() > 1 {
            self.remove_front()?;
        }
        Ok(())
    }

    fn remove_front(&mut self) -> io::Result<u64> {
        let Some(segment) = self.segments.pop_front() else { return Ok(0) };
        match fs::remove_file(self.path(segment.first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(segment.bytes),
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// What can be told without reading it all.
    fn summary(&self, name: String) -> LogSummary {
        let written =
            |segment: &Segment| fs::metadata(self.path(segment.first)).and_then(|found| found.modified()).ok();
        let last = self.segments.iter().rev().find(|segment| segment.bytes > 0).and_then(written);
        let last = last.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let last_unix_ms = last.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or_default();
        // Numbers begin at the microsecond in which the log was begun.
        let first_unix_ms = self.segments.front().map_or(0, |segment| segment.first / 1_000);
        LogSummary { name, first_unix_ms, last_unix_ms, bytes: self.bytes() }
    }

    fn path(&self, first: u64) -> PathBuf {
        segment_path(&self.dir, first)
    }
}

impl Span {
    /// The selected lines after line `after`, at most `limit`.
    pub(super) fn read(&self, after: u64, limit: u32, selection: &Selection) -> io::Result<LogPage> {
        let mut page = LogPage { lines: Vec::new(), next: after, at_end: false };
        let mut room = Room { lines: limit.clamp(1, PAGE_MAX_LINES), bytes: PAGE_MAX_BYTES };
        let whole = self.each_record(|first, record| {
            let last = first + u64::from(record.lines);
            if last <= page.next + 1 {
                return true;
            }
            if !selection.has(record) {
                page.next = last - 1;
                return true;
            }
            add_lines(record, first, &mut page, &mut room)
        })?;
        page.at_end = whole;
        Ok(page)
    }

    /// The streams, by name; of very many the newest.
    pub(super) fn streams(&self) -> io::Result<Vec<LogSummary>> {
        let mut streams = BTreeMap::<String, LogSummary>::new();
        self.each_record(|_, record| {
            if !streams.contains_key(record.stream) {
                let (name, first_unix_ms) = (record.stream.to_owned(), record.unix_ms);
                streams.insert(name.clone(), LogSummary { name, first_unix_ms, last_unix_ms: first_unix_ms, bytes: 0 });
            }
            if let Some(stream) = streams.get_mut(record.stream) {
                stream.last_unix_ms = stream.last_unix_ms.max(record.unix_ms);
                stream.bytes += record.text.len() as u64;
            }
            true
        })?;
        let mut streams: Vec<_> = streams.into_values().collect();
        if streams.len() > STREAMS_MAX {
            streams.sort_by_key(|stream| std::cmp::Reverse(stream.last_unix_ms));
            streams.truncate(STREAMS_MAX);
            streams.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(streams)
    }

    /// Shows every record with the number of its first line, until `show` has enough. Tells whether it saw all.
    fn each_record(&self, mut show: impl FnMut(u64, &Record<'_>) -> bool) -> io::Result<bool> {
        for segment in &self.segments {
            let mut bytes = Vec::new();
            match File::open(segment_path(&self.dir, segment.first)) {
                Ok(file) => file.take(segment.bytes).read_to_end(&mut bytes)?,
                // Evicted since the span was taken.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (mut rest, mut first) = (bytes.as_slice(), segment.first);
            while let Some(record) = segment::decode(&mut rest) {
                if !show(first, &record) {
                    return Ok(false);
                }
                first += u64::from(record.lines);
            }
        }
        Ok(true)
    }
}

struct Room {
    lines: u32,
    bytes: usize,
}

/// Adds the lines of a record that the page does not have yet; tells whether there was room for all.
fn add_lines(record: &Record<'_>, first: u64, page: &mut LogPage, room: &mut Room) -> bool {
    let stream: Arc<str> = match page.lines.last() {
        Some(line) if *line.stream == *record.stream => line.stream.clone(),
        _ => record.stream.into(),
    };
    for (text, number) in record.text.split(|byte| *byte == b'\n').zip(first..) {
        if number <= page.next {
            continue;
        }
        if room.lines == 0 || room.bytes == 0 {
            return false;
        }
        room.lines -= 1;
        room.bytes = room.bytes.saturating_sub(text.len());
        page.lines.push(LogLine {
            number,
            unix_ms: record.unix_ms,
            stream: stream.clone(),
            request_id: record.request_id.clone(),
            text: String::from_utf8_lossy(text).into_owned(),
        });
        page.next = number;
    }
    true
}

/// What the directory of a group is called.
fn directory_of(group: &LogGroup) -> String {
    let own = group.as_str().strip_prefix(LogGroup::FUNCTIONS).filter(|name| FunctionName::new(name).is_ok());
    own.map_or_else(|| format!("@{}", group.as_str().replace('/', "@")), str::to_owned)
}

/// The group whose directory is called so.
fn group_of(directory: &str) -> Result<LogGroup, InvalidId> {
    match directory.strip_prefix('@') {
        Some(escaped) => LogGroup::new(&escaped.replace('@', "/")),
        None => FunctionName::new(directory).map(|name| LogGroup::of_function(&name)),
    }
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}

fn begin() -> u64 {
    Clock::unix_ms() * 1_000
}

fn named_dirs<T, E>(dir: &Path, name: impl Fn(&str) -> Result<T, E>) -> io::Result<Vec<(T, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let named = entry.file_name().to_str().and_then(|text| name(text).ok());
        if let Some(named) = named.filter(|_| entry.path().is_dir()) {
            found.push((named, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_directories_of_their_own() {
        for (group, directory) in [
            ("/aws/lambda/hello", "hello"),
            ("/aws/lambda/a/b", "@@aws@lambda@a@b"),
            ("hello", "@hello"),
            ("/my/group.1#x", "@@my@group.1#x"),
        ] {
            let group = LogGroup::new(group).unwrap();
            assert_eq!(directory_of(&group), directory);
            assert_eq!(group_of(directory).unwrap(), group);
        }
        assert!(group_of(".tmp").is_err());
    }
}
