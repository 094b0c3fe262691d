//! Logs: order, cursors, following, bounds, and what a restart finds.

use std::io::Write as _;
use std::path::Path;

use super::*;

const STREAM: &str = "2026/11/22/[$LATEST]00";

fn key() -> LogKey {
    LogKey { account: AccountId::new("000000000000").unwrap(), group: LogGroup::new("/aws/lambda/hello").unwrap() }
}

fn source() -> Arc<LogSource> {
    Arc::new(LogSource { key: key(), stream: STREAM.into() })
}

fn stamped(stream: &str, entry: LogEntry) -> Stamped {
    Stamped { stream: stream.into(), entry }
}

fn everything() -> Selection {
    Selection { stream: None, from_unix_ms: 0, until_unix_ms: u64::MAX }
}

fn entry(text: &str) -> LogEntry {
    LogEntry { unix_ms: 1, request_id: None, text: text.as_bytes().to_vec() }
}

fn query(after: u64, limit: u32, wait: Duration) -> LogQuery {
    let LogKey { account, group } = key();
    LogQuery { after, wait, ..LogQuery::all(account, group, limit) }
}

async fn open(root: &Path, bounds: LogBounds, tasks: &Tasks) -> Logs {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    Logs::open(root.to_owned(), bounds, tasks, dropped).await.unwrap()
}

fn texts(page: &LogPage) -> Vec<&str> {
    page.lines.iter().map(|line| line.text.as_str()).collect()
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_reader_follows_a_writer() {
    let (dir, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    let logs = Arc::new(open(dir.path(), LogBounds::default(), &tasks).await);
    let nothing = LogPage { at_end: true, ..LogPage::default() };
    assert_eq!(logs.read(query(0, 10, Duration::ZERO)).await.unwrap(), nothing);
    let waiting = tokio::spawn({
        let logs = logs.clone();
        async move { logs.read(query(0, 2, SOON)).await.unwrap() }
    });
    tokio::task::yield_now().await;
    logs.write(&source(), entry("one\ntwo\nthree"));
    let page = waiting.await.unwrap();
    assert_eq!(texts(&page), ["one", "two"]);
    let page = logs.read(query(page.next, 10, SOON)).await.unwrap();
    assert_eq!(texts(&page), ["three"]);
    let end = page.next;
    logs.write(&source(), entry("four"));
    let page = logs.read(query(end, 10, SOON)).await.unwrap();
    assert_eq!(texts(&page), ["four"]);
    assert!(tasks.stop(SOON).await);
}

#[tokio::test]
async fn a_log_survives_a_crash_that_tore_its_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let logs = open(dir.path(), LogBounds::default(), &tasks).await;
    logs.write(&source(), entry("one"));
    logs.write(&source(), entry("two"));
    assert!(tasks.stop(SOON).await);
    let cursor = logs.read(query(0, 10, Duration::ZERO)).await.unwrap().next;
    let function_dir = dir.path().join("000000000000/hello");
    let file = std::fs::read_dir(&function_dir).unwrap().next().unwrap().unwrap().path();
    let mut torn = Vec::new();
    segment::encode(STREAM, &entry("torn"), &mut torn);
    let mut file = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    file.write_all(&torn[..torn.len() - 1]).unwrap();

    let tasks = Tasks::new();
    let logs = open(dir.path(), LogBounds::default(), &tasks).await;
    logs.write(&source(), entry("three"));
    assert_eq!(texts(&logs.read(query(cursor, 10, SOON)).await.unwrap()), ["three"]);
    assert_eq!(texts(&logs.read(query(0, 10, SOON)).await.unwrap()), ["one", "two", "three"]);
    assert!(tasks.stop(SOON).await);
}

#[test]
fn bounds_hold_and_the_newest_lines_stay() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = LogBounds { segment_max_bytes: 1_000, function_max_bytes: 5_000, total_max_bytes: 7_000 };
    let mut store = LogStore::open(dir.path().to_owned(), bounds).unwrap();
    let other = LogKey { group: LogGroup::new("/my/group").unwrap(), ..key() };
    for round in 0..200 {
        let line = format!("{round:03} {}", "x".repeat(96));
        store.append(&key(), &[stamped(STREAM, entry(&line))]).unwrap();
        store.append(&other, &[stamped(STREAM, entry(&line))]).unwrap();
    }
    assert!(disk_bytes(dir.path()) <= 7_000, "{} bytes on disk", disk_bytes(dir.path()));
    for key in [&key(), &other] {
        let page = store.span(key, 0).unwrap().read(0, 10_000, &everything()).unwrap();
        assert!(page.lines.last().unwrap().text.starts_with("199 "));
        assert!(page.lines.len() > 5, "only {} lines are left", page.lines.len());
    }
}

fn disk_bytes(dir: &Path) -> u64 {
    let size = |path: std::path::PathBuf| {
        if path.is_dir() { disk_bytes(&path) } else { std::fs::metadata(path).unwrap().len() }
    };
    std::fs::read_dir(dir).unwrap().map(|entry| size(entry.unwrap().path())).sum()
}

#[test]
fn streams_and_times_are_told_apart_and_groups_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(dir.path().to_owned(), LogBounds::default()).unwrap();
    let at = |unix_ms, text: &str| LogEntry { unix_ms, ..entry(text) };
    let entries = [stamped("a", at(10, "one\ntwo")), stamped("b", at(20, "three")), stamped("a", at(30, "four"))];
    store.append(&key(), &entries).unwrap();
    let read = |selection: Selection, limit| store.span(&key(), 0).unwrap().read(0, limit, &selection).unwrap();
    let of_a = read(Selection { stream: Some("a".into()), ..everything() }, 10);
    assert_eq!((texts(&of_a), of_a.at_end), (vec!["one", "two", "four"], true));
    let middle = read(Selection { from_unix_ms: 20, until_unix_ms: 30, ..everything() }, 10);
    assert_eq!((texts(&middle), middle.next), (vec!["three"], of_a.next));
    let first = read(everything(), 2);
    assert_eq!((texts(&first), first.at_end), (vec!["one", "two"], false));
    let streams = store.span(&key(), 0).unwrap().streams().unwrap();
    let seen: Vec<_> =
        streams.iter().map(|stream| (stream.name.as_str(), stream.first_unix_ms, stream.last_unix_ms)).collect();
    assert_eq!(seen, [("a", 10, 30), ("b", 20, 20)]);
    assert_eq!(store.groups(&key().account)[0].name, "/aws/lambda/hello");
    store.delete(&key()).unwrap();
    assert!(store.groups(&key().account).is_empty() && store.span(&key(), 0).is_none());
    assert_eq!(disk_bytes(dir.path()), 0);
}
