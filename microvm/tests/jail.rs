//! Jails for real: what works inside, what doesn't, and that nothing is left. Needs root (as an ordinary user: the
//! tests in `rootless.rs`).

#[path = "support/agent.rs"]
mod agent;

use agent::{Agent, launcher, spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boots_answers_and_leaves_nothing() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("first")).await;
    assert_eq!(agent.ask("answer = os.getpid()").await, serde_json::json!(1));
    let ended = agent.sandbox.kill().await.unwrap();
    assert_eq!(ended.signal, Some(9));
}
