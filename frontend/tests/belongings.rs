//! What belongs to a function goes with it, and nothing else does.

use std::sync::Arc;

use hearth_domain::{AccountId, FunctionName, Version};
use hearth_frontend::alias::Alias;
use hearth_frontend::belongings;
use hearth_store::document::{Collection, Expected};
use hearth_store::embedded::Database;

fn account() -> AccountId {
    "000000000000".parse().unwrap()
}

fn function(name: &str) -> FunctionName {
    name.parse().unwrap()
}

fn alias(name: &str) -> Alias {
    Alias {
        name: name.parse().unwrap(),
        version: Version::Number(1),
        description: String::new(),
        shares: Vec::new(),
        revision: "r".parse().unwrap(),
    }
}

/// `f` with two aliases, and `fo`, whose name begins alike, with one.
async fn stored(dir: &tempfile::TempDir) -> (Arc<dyn hearth_store::Documents>, Collection<Alias>) {
    let documents = Database::open(&dir.path().join("state")).await.unwrap().documents();
    let aliases = Collection::<Alias>::new(documents.clone());
    for (owner, name) in [("f", "prod"), ("f", "test"), ("fo", "prod")] {
        let alias = alias(name);
        let path = Alias::path(&account(), &function(owner), &alias.name);
        aliases.put(&path, &alias, Expected::Absent).await.unwrap();
    }
    (documents, aliases)
}

async fn left(aliases: &Collection<Alias>) -> Vec<String> {
    aliases.scan("", None, 10).await.unwrap().into_iter().map(|(path, _)| path).collect()
}

#[tokio::test]
async fn a_function_takes_all_of_its_own_along() {
    let dir = tempfile::tempdir().unwrap();
    let (documents, aliases) = stored(&dir).await;
    belongings::remove(&*documents, &account(), &function("f"), None).await.unwrap();
    assert_eq!(left(&aliases).await, ["000000000000/fo/prod"]);
    belongings::remove(&*documents, &account(), &function("f"), None).await.unwrap();
}

#[tokio::test]
async fn a_qualifier_takes_its_own_along() {
    let dir = tempfile::tempdir().unwrap();
    let (documents, aliases) = stored(&dir).await;
    belongings::remove(&*documents, &account(), &function("f"), Some("prod")).await.unwrap();
    assert_eq!(left(&aliases).await, ["000000000000/f/test", "000000000000/fo/prod"]);
}
