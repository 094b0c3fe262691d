//! The embedded usage counters.

use hearth_domain::{AccountId, FunctionName};
use hearth_store::embedded::Database;
use hearth_store::usage::Usage;

fn key(account: &str, name: &str) -> (AccountId, FunctionName) {
    (account.parse().unwrap(), name.parse().unwrap())
}

#[tokio::test]
async fn counters_add_up_over_restarts_and_accounts_stay_apart() {
    let (one, two) = ("000000000000", "111111111111");
    let dir = tempfile::tempdir().unwrap();
    let addition = Usage { invocations: 2, errors: 1, throttles: 3, cold_starts: 1, billed_ms: 10, mb_ms: 1280 };
    for _ in 0..3 {
        let database = Database::open(dir.path()).await.unwrap();
        let usage = database.usage();
        let additions = vec![
            (key(one, "b"), addition),
            (key(one, "a"), addition),
            (key(two, "a"), addition),
            (key(one, "b"), addition),
        ];
        usage.add(additions).await.unwrap();
        usage.add(Vec::new()).await.unwrap();
    }
    let database = Database::open(dir.path()).await.unwrap();
    let times = |count: u64| {
        let mut sum = Usage::default();
        (0..count).for_each(|_| sum.add(&addition));
        sum
    };
    let name = |name: &str| name.parse::<FunctionName>().unwrap();
    let read = database.usage().read(&one.parse().unwrap()).await.unwrap();
    assert_eq!(read, [(name("a"), times(3)), (name("b"), times(6))]);
    assert_eq!(database.usage().read(&two.parse().unwrap()).await.unwrap(), [(name("a"), times(3))]);
    assert_eq!(database.usage().read(&"222222222222".parse().unwrap()).await.unwrap(), []);
}
