//! Documents in the embedded engine: conditions, order, and what a restart finds.

use std::sync::Arc;

use hearth_store::document::{Collection, CommitError, Document, Documents, Expected};
use hearth_store::embedded::Database;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Document for Note {
    const KIND: &'static str = "note";
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Other(u32);

impl Document for Other {
    const KIND: &'static str = "noted";
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

async fn open(dir: &tempfile::TempDir) -> Arc<dyn Documents> {
    Database::open(&dir.path().join("state")).await.unwrap().documents()
}

async fn text(notes: &Collection<Note>, path: &str) -> Option<String> {
    notes.get(path).await.unwrap().map(|found| found.value.text.clone())
}

#[tokio::test]
async fn a_change_happens_only_as_expected() {
    let dir = tempfile::tempdir().unwrap();
    let notes = Collection::<Note>::new(open(&dir).await);
    notes.put("a/1", &note("one"), Expected::Absent).await.unwrap();
    let taken = notes.put("a/1", &note("two"), Expected::Absent).await;
    assert!(matches!(taken, Err(CommitError::Unexpected { .. })));
    let first = notes.get("a/1").await.unwrap().unwrap();
    notes.put("a/1", &note("two"), Expected::Revision(first.revision)).await.unwrap();
    let stale = notes.put("a/1", &note("three"), Expected::Revision(first.revision)).await;
    assert!(matches!(stale, Err(CommitError::Unexpected { .. })));
    assert_eq!(text(&notes, "a/1").await.as_deref(), Some("two"));
    notes.remove("a/1", Expected::Present).await.unwrap();
    assert!(notes.remove("a/1", Expected::Present).await.is_err());
    assert_eq!(text(&notes, "a/1").await, None);
    // A document that is there again has another revision than any before.
    notes.put("a/1", &note("one"), Expected::Absent).await.unwrap();
    assert!(notes.get("a/1").await.unwrap().unwrap().revision > first.revision);
}

#[tokio::test]
async fn a_commit_is_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let documents = open(&dir).await;
    let (notes, others) = (Collection::<Note>::new(documents.clone()), Collection::<Other>::new(documents.clone()));
    notes.put("a", &note("one"), Expected::Anything).await.unwrap();
    let changes = vec![
        Collection::putting("b", &note("two"), Expected::Absent).unwrap(),
        Collection::<Note>::removing("a", Expected::Present),
        Collection::<Other>::removing("missing", Expected::Present),
    ];
    assert!(documents.commit(changes.clone()).await.is_err());
    assert_eq!((text(&notes, "a").await.as_deref(), text(&notes, "b").await), (Some("one"), None));
    others.put("missing", &Other(1), Expected::Anything).await.unwrap();
    documents.commit(changes).await.unwrap();
    assert_eq!((text(&notes, "a").await, text(&notes, "b").await.as_deref()), (None, Some("two")));
    assert!(others.get("missing").await.unwrap().is_none());
}

#[tokio::test]
async fn a_scan_keeps_to_its_kind_prefix_order_and_limit() {
    let dir = tempfile::tempdir().unwrap();
    let documents = open(&dir).await;
    let notes = Collection::<Note>::new(documents.clone());
    for path in ["f/b", "f/a", "f/c", "g/a", "e"] {
        notes.put(path, &note(path), Expected::Absent).await.unwrap();
    }
    Collection::new(documents).put("f/a", &Other(1), Expected::Absent).await.unwrap();
    let paths = async |prefix: &str, after: Option<&str>, limit: usize| {
        let found = notes.scan(prefix, after, limit).await.unwrap();
        found
            .into_iter()
            .map(|(path, found)| {
                assert_eq!(path, found.value.text);
                path
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(paths("f/", None, 10).await, ["f/a", "f/b", "f/c"]);
    assert_eq!(paths("f/", Some("f/a"), 1).await, ["f/b"]);
    assert_eq!(paths("f/", Some("a"), 1).await, ["f/a"]);
    assert_eq!(paths("f/", Some("f/c"), 10).await, Vec::<String>::new());
    assert_eq!(paths("", None, 10).await, ["e", "f/a", "f/b", "f/c", "g/a"]);
}

#[tokio::test]
async fn a_restart_finds_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let revision = {
        let notes = Collection::<Note>::new(open(&dir).await);
        notes.put("a", &note("one"), Expected::Absent).await.unwrap();
        notes.get("a").await.unwrap().unwrap().revision
    };
    let notes = Collection::<Note>::new(open(&dir).await);
    let found = notes.get("a").await.unwrap().unwrap();
    assert_eq!((found.revision, &*found.value), (revision, &note("one")));
}
