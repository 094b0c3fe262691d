//! Logs: order, cursors, following, bounds, and what a restart finds.

use std::io::Write as _;
use std::path::Path;

use super::*;

fn key() -> Arc<LogKey> {
    Arc::new(LogKey { account: AccountId::new("000000000000").unwrap(), name: FunctionName::new("hello").unwrap() })
}

fn entry(text: &str) -> LogEntry {
    LogEntry { unix_ms: 1, request_id: None, text: text.as_bytes().to_vec() }
}

fn query(after: u64, limit: u32, wait: Duration) -> LogQuery {
    let LogKey { account, name } = (*key()).clone();
    LogQuery { account, name, after, limit, wait }
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
    assert_eq!(logs.read(query(0, 10, Duration::ZERO)).await.unwrap(), LogPage::default());
    let waiting = tokio::spawn({
        let logs = logs.clone();
        async move { logs.read(query(0, 2, SOON)).await.unwrap() }
    });
    tokio::task::yield_now().await;
    logs.write(&key(), entry("one\ntwo\nthree"));
    let page = waiting.await.unwrap();
    assert_eq!(texts(&page), ["one", "two"]);
    let page = logs.read(query(page.next, 10, SOON)).await.unwrap();
    assert_eq!(texts(&page), ["three"]);
    let end = page.next;
    logs.write(&key(), entry("four"));
    let page = logs.read(query(end, 10, SOON)).await.unwrap();
    assert_eq!(texts(&page), ["four"]);
    assert!(tasks.stop(SOON).await);
}

#[tokio::test]
async fn a_log_survives_a_crash_that_tore_its_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let logs = open(dir.path(), LogBounds::default(), &tasks).await;
    logs.write(&key(), entry("one"));
    logs.write(&key(), entry("two"));
    assert!(tasks.stop(SOON).await);
    let cursor = logs.read(query(0, 10, Duration::ZERO)).await.unwrap().next;
    let function_dir = dir.path().join("000000000000/hello");
    let file = std::fs::read_dir(&function_dir).unwrap().next().unwrap().unwrap().path();
    let mut torn = Vec::new();
    segment::encode(&entry("torn"), &mut torn);
    let mut file = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    file.write_all(&torn[..torn.len() - 1]).unwrap();

    let tasks = Tasks::new();
    let logs = open(dir.path(), LogBounds::default(), &tasks).await;
    logs.write(&key(), entry("three"));
    assert_eq!(texts(&logs.read(query(cursor, 10, SOON)).await.unwrap()), ["three"]);
    assert_eq!(texts(&logs.read(query(0, 10, SOON)).await.unwrap()), ["one", "two", "three"]);
    assert!(tasks.stop(SOON).await);
}

#[test]
fn bounds_hold_and_the_newest_lines_stay() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = LogBounds { segment_max_bytes: 1_000, function_max_bytes: 5_000, total_max_bytes: 7_000 };
    let mut store = LogStore::open(dir.path().to_owned(), bounds).unwrap();
    let other = LogKey { name: FunctionName::new("other").unwrap(), ..(*key()).clone() };
    for round in 0..200 {
        let line = format!("{round:03} {}", "x".repeat(96));
        store.append(&key(), &[entry(&line)]).unwrap();
        store.append(&other, &[entry(&line)]).unwrap();
    }
    assert!(disk_bytes(dir.path()) <= 7_000, "{} bytes on disk", disk_bytes(dir.path()));
    for key in [&*key(), &other] {
        let page = store.span(key, 0).unwrap().read(0, 10_000).unwrap();
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
