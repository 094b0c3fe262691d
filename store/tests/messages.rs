//! Messages of channels: received once until their time is up, kept over a restart, bounded.

#[path = "support/records.rs"]
#[expect(dead_code, reason = "shared with the tests of catalog and events")]
mod records;

use std::collections::BTreeMap;
use std::path::Path;

use hearth_store::embedded::{Database, QueueLimits};
use hearth_store::message::{Attribute, Message, MessageCounts, SendError};
use records::message;

const Q: &str = "arn:aws:sqs:us-east-1:000000000000:q";
const OTHER: &str = "arn:aws:sqs:us-east-1:000000000000:q2";

async fn open(dir: &Path) -> Database {
    let limits = QueueLimits { max_messages: 3, ..QueueLimits::default() };
    Database::open_with(dir, limits).await.unwrap()
}

#[tokio::test]
async fn what_was_sent_is_received_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.messages();
    let attributes =
        BTreeMap::from([("ErrorCode".into(), Attribute { data_type: "Number".into(), value: "200".into() })]);
    let large = Message { attributes, ..message(Q, "large", &[7; 100_000]) };
    let number = store.send(large.clone()).await.unwrap();
    store.send(message(OTHER, "other", b"x")).await.unwrap();
    let received = store.receive(Q, 10, 40, 10).await.unwrap();
    assert_eq!((received[0].number, received[0].receive_count, received.len()), (number, 1, 1));
    assert_eq!(received[0].message, large);
    assert_eq!(store.receive(Q, 39, 80, 10).await.unwrap(), []);
    let again = store.receive(Q, 40, 80, 10).await.unwrap();
    assert_eq!((again[0].receive_count, again[0].first_received_unix_ms), (2, 10));
    assert!(store.hide_until(Q, number, 60).await.unwrap());
    let hidden = MessageCounts { in_flight: 1, next_visible_unix_ms: Some(60), ..MessageCounts::default() };
    assert_eq!(store.counts(Q, 59).await.unwrap(), hidden);
    assert!(store.delete(Q, number).await.unwrap() && !store.delete(Q, number).await.unwrap());
    assert_eq!(store.counts(Q, 99).await.unwrap(), MessageCounts::default());
    assert_eq!(std::fs::read_dir(dir.path().join("payloads")).unwrap().count(), 0, "its file is still there");
    assert_eq!(store.purge(OTHER).await.unwrap(), 1);
}

#[tokio::test]
async fn messages_outlive_a_restart_and_are_visible_again() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.messages().send(message(Q, "m", &[1; 5_000])).await.unwrap();
    database.messages().receive(Q, 1, u64::MAX, 1).await.unwrap();
    drop(database);
    let store = open(dir.path()).await.messages();
    let received = store.receive(Q, 1, 2, 9).await.unwrap();
    assert_eq!((received.len(), received[0].message.body.len(), received[0].receive_count), (1, 5_000, 1));
}

#[tokio::test]
async fn a_full_channel_refuses_and_an_empty_place_is_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.messages();
    for id in ["a", "b", "c"] {
        store.send(message(Q, id, b"")).await.unwrap();
    }
    let full = store.send(message(Q, "d", b"")).await;
    assert!(matches!(full, Err(SendError::Full { messages: 3, .. })), "{full:?}");
    let first = store.receive(Q, 1, 9, 1).await.unwrap()[0].number;
    store.delete(Q, first).await.unwrap();
    store.send(message(Q, "d", b"")).await.unwrap();
    let ids: Vec<String> = store.peek(Q, Some(first), 9).await.unwrap().into_iter().map(|(_, m)| m.id).collect();
    assert_eq!(ids, ["b", "c", "d"]);
}
