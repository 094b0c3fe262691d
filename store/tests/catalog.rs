//! The embedded catalog: against a model, over restarts, and with damaged values.

#[path = "support/records.rs"]
#[expect(dead_code, reason = "shared with the tests of the queue")]
mod records;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use hearth_domain::{RevisionId, Version};
use hearth_store::Catalog;
use hearth_store::catalog::{AccessKey, CatalogError, FunctionRecord};
use hearth_store::embedded::Database;
use proptest::prelude::*;
use records::{account, record};

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Replace(usize, bool),
    Publish(usize),
    Delete(usize, Option<u64>),
    Reopen,
}

const NAMES: [&str; 3] = ["a", "a-b", "ab"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        3 => (name.clone(), any::<bool>()).prop_map(|(name, stale)| Step::Replace(name, stale)),
        4 => name.clone().prop_map(Step::Publish),
        2 => (name, proptest::option::of(1..4_u64)).prop_map(|(name, version)| Step::Delete(name, version)),
        1 => Just(Step::Reopen),
    ]
}

/// What the catalog should hold.
#[derive(Default)]
struct Model {
    records: BTreeMap<(&'static str, Version), FunctionRecord>,
    published: BTreeMap<&'static str, u64>,
    revisions: u64,
}

impl Model {
    fn new_record(&mut self, name: &str) -> FunctionRecord {
        self.revisions += 1;
        record(name, &format!("r{}", self.revisions))
    }

    async fn apply(&mut self, catalog: &dyn Catalog, step: &Step) {
        match *step {
            Step::Create(name) => {
                let record = self.new_record(NAMES[name]);
                let created = catalog.create(record.clone()).await;
                match self.records.entry((NAMES[name], Version::Latest)) {
                    Entry::Occupied(_) => assert!(matches!(created, Err(CatalogError::Exists(_))), "{created:?}"),
                    Entry::Vacant(vacant) => {
                        created.unwrap();
                        vacant.insert(record);
                    }
                }
            }
            Step::Replace(name, stale) => self.replace(catalog, NAMES[name], stale).await,
            Step::Publish(name) => self.publish(catalog, NAMES[name]).await,
            Step::Delete(name, version) => self.delete(catalog, NAMES[name], version.map(Version::Number)).await,
            Step::Reopen => {}
        }
    }

    async fn replace(&mut self, catalog: &dyn Catalog, name: &'static str, stale: bool) {
        let record = self.new_record(name);
        let current = self.records.get(&(name, Version::Latest)).map(|record| record.function.revision.clone());
        let stale_revision = RevisionId::new("stale").unwrap();
        let expected = current.clone().filter(|_| !stale).unwrap_or(stale_revision);
        match (catalog.replace(record.clone(), &expected).await, current) {
            (Ok(()), Some(_)) if !stale => drop(self.records.insert((name, Version::Latest), record)),
            (Err(CatalogError::RevisionMismatch { found, .. }), Some(current)) if stale => assert_eq!(found, current),
            (Err(CatalogError::NotFound { .. }), None) => {}
            (other, current) => panic!("{other:?} with {current:?} stored"),
        }
    }

    async fn publish(&mut self, catalog: &dyn Catalog, name: &'static str) {
        let Some(latest) = self.records.get(&(name, Version::Latest)).cloned() else {
            let refused = catalog.publish(record(name, "r")).await;
            assert!(matches!(refused, Err(CatalogError::NotFound { .. })), "{refused:?}");
            return;
        };
        let number = self.published.entry(name).or_default();
        *number += 1;
        let mut expected = latest.clone();
        expected.function.version = Version::Number(*number);
        assert_eq!(*catalog.publish(latest).await.unwrap(), expected);
        self.records.insert((name, Version::Number(*number)), expected);
    }

    async fn delete(&mut self, catalog: &dyn Catalog, name: &'static str, version: Option<Version>) {
        let doomed = |key: &(&str, Version)| key.0 == name && version.is_none_or(|version| key.1 == version);
        let deleted = catalog.delete(&account(), &name.parse().unwrap(), version).await;
        assert_eq!(deleted.is_ok(), self.records.keys().any(doomed), "{deleted:?}");
        self.records.retain(|key, _| !doomed(key));
    }

    async fn check(&self, catalog: &dyn Catalog) {
        for name in NAMES {
            let own: Vec<_> = self.records.iter().filter(|(key, _)| key.0 == name).map(|(_, r)| r.clone()).collect();
            assert_eq!(plain(catalog.list_versions(&account(), &name.parse().unwrap(), None, 99).await), own);
            for version in [Version::Latest, Version::Number(1), Version::Number(2)] {
                let found = catalog.get(&account(), &name.parse().unwrap(), version).await.unwrap();
                assert_eq!(found.as_deref(), self.records.get(&(name, version)));
            }
        }
        for all_versions in [true, false] {
            let wanted = self.records.values().filter(|r| all_versions || r.function.version == Version::Latest);
            assert_eq!(paged(catalog, all_versions).await, wanted.cloned().collect::<Vec<_>>());
        }
    }
}

fn plain<E: std::fmt::Debug>(records: Result<Vec<Arc<FunctionRecord>>, E>) -> Vec<FunctionRecord> {
    records.unwrap().iter().map(|record| (**record).clone()).collect()
}

/// The whole list, two records at a time.
async fn paged(catalog: &dyn Catalog, all_versions: bool) -> Vec<FunctionRecord> {
    let mut listed: Vec<FunctionRecord> = Vec::new();
    loop {
        let after = listed.last().map(|record| (record.function.name.clone(), record.function.version));
        let page = plain(catalog.list(&account(), all_versions, after, 2).await);
        if page.is_empty() {
            return listed;
        }
        listed.extend(page);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_catalog_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut database = Database::open(dir.path()).await.unwrap();
            let mut model = Model::default();
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    drop(database);
                    database = Database::open(dir.path()).await.unwrap();
                }
                let catalog = database.catalog();
                model.apply(&*catalog, step).await;
                model.check(&*catalog).await;
            }
        });
    }
}

#[tokio::test]
async fn version_numbers_are_not_used_again_after_delete_and_create() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let database = Database::open(dir.path()).await.unwrap();
        let catalog = database.catalog();
        catalog.create(record("f", "r")).await.unwrap();
        let published = catalog.publish(record("f", "r")).await.unwrap();
        assert_eq!(published.function.version, Version::Number(round));
        catalog.delete(&account(), &"f".parse().unwrap(), None).await.unwrap();
    }
}

#[tokio::test]
async fn of_two_replacements_of_one_revision_one_happens() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).await.unwrap();
    let catalog = database.catalog();
    catalog.create(record("f", "r0")).await.unwrap();
    let expected = RevisionId::new("r0").unwrap();
    let (one, two) =
        tokio::join!(catalog.replace(record("f", "r1"), &expected), catalog.replace(record("f", "r2"), &expected));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1, "{one:?} {two:?}");
}

#[test]
fn a_change_nobody_waits_for_is_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut happened = 0;
    for round in 0..10 {
        let name = format!("f{round}");
        let working = tokio::runtime::Runtime::new().unwrap();
        let catalog = working.block_on(Database::open(dir.path())).unwrap().catalog();
        working.block_on(async {
            // Polled once, so that the work is handed over, then dropped.
            let mut creation = catalog.create(record(&name, "r"));
            assert!(poll_once(&mut creation).is_pending());
        });
        // Waits for work that has begun; what has not is dropped.
        drop(working);
        let reading = tokio::runtime::Runtime::new().unwrap();
        let get = |catalog: Arc<dyn Catalog>| {
            reading.block_on(catalog.get(&account(), &name.parse().unwrap(), Version::Latest)).unwrap()
        };
        let seen = get(catalog);
        let kept = get(reading.block_on(Database::open(dir.path())).unwrap().catalog());
        assert_eq!(seen, kept);
        happened += usize::from(kept.is_some());
    }
    assert!(happened > 0, "no change was ever begun");
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn access_keys_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let key = AccessKey::root("AKIAXXXXXXXXXXXXXXXX", "s".repeat(40), account());
    for _ in 0..2 {
        let database = Database::open(dir.path()).await.unwrap();
        database.catalog().put_access_key(key.clone()).await.unwrap();
        assert_eq!(database.catalog().access_key(&key.id).await.unwrap().as_deref(), Some(&key));
        assert_eq!(database.catalog().access_keys().await.unwrap(), [Arc::new(key.clone())]);
        assert_eq!(database.catalog().access_key("AKIA").await.unwrap(), None);
    }
    for _ in 0..2 {
        let database = Database::open(dir.path()).await.unwrap();
        database.catalog().remove_access_key(&key.id).await.unwrap();
        assert_eq!(database.catalog().access_keys().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_damaged_value_is_named_not_guessed() {
    let dir = tempfile::tempdir().unwrap();
    drop(Database::open(dir.path()).await.unwrap());
    for (tree, key, value) in [
        ("functions", &b"000000000000/f\0\0\0\0\0\0\0\0\0"[..], &b"\x01{"[..]),
        ("access_keys", b"AKIA", b"\x07{}"),
        ("events", b"\0\0\0\0\0\0\0\x01", b"\x01\xff\xff\xff\xff"),
        ("events", b"short", b"\x01\0\0\0\0"),
        ("dead_letters", b"000000000000\0\0\0\0\0\0\0\x01", b""),
    ] {
        edit(dir.path(), tree, |tree| drop(tree.insert(key, value).unwrap()));
        let failure = Database::open(dir.path()).await.err().expect("a damaged value was taken");
        assert_eq!(failure.operation, format!("read {tree}/{}", key.escape_ascii()));
        edit(dir.path(), tree, |tree| drop(tree.remove(key).unwrap()));
    }
    Database::open(dir.path()).await.unwrap();
}

fn edit(dir: &std::path::Path, tree: &str, edit: impl FnOnce(&sled::Tree)) {
    let database = sled::open(dir).unwrap();
    edit(&database.open_tree(tree).unwrap());
    database.flush().unwrap();
}

#[tokio::test]
async fn a_second_process_is_told_that_the_database_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Database::open(dir.path()).await.unwrap();
    let second = Database::open(dir.path()).await.err().expect("opened twice");
    assert!(second.to_string().contains("lock"), "{second}");
}
