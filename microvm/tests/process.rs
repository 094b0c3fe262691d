//! Plain processes: what they start is found and ended with them.

#[path = "support/agent.rs"]
mod agent;
#[path = "support/host.rs"]
mod host;

use agent::{Agent, spec};
use hearth_microvm::process::{ProcessConfig, ProcessLauncher};
use hearth_microvm::{Isolation, Launcher};
use serde_json::json;

fn launcher(directory: &tempfile::TempDir) -> ProcessLauncher {
    ProcessLauncher::new(ProcessConfig { state_dir: directory.path().join("state") }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_measures_and_says_what_does_not_hold() {
    let directory = tempfile::tempdir().unwrap();
    let launcher = launcher(&directory);
    assert_eq!(launcher.isolation(), Isolation::Process);
    assert!(launcher.unenforced().iter().any(|limit| limit.what.contains("security boundary")));
    let mut agent = Agent::boot(&launcher, spec("measured")).await;
    let home = agent.ask("answer = os.environ['TMPDIR']").await;
    assert_eq!(agent.ask("answer = sorted(os.listdir('/proc/self/fd'))[:4]").await, json!(["0", "1", "2", "3"]));
    assert!(agent.sandbox.usage().unwrap().memory_bytes > 1 << 20);
    agent.sandbox.kill().await.unwrap();
    assert!(!std::path::Path::new(home.as_str().unwrap()).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_its_session_and_its_parent_ends_too() {
    let directory = tempfile::tempdir().unwrap();
    let launcher = launcher(&directory);
    let mut agent = Agent::boot(&launcher, spec("escaping")).await;
    // Twice forked, own session: an orphan.
    let code = "
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
        import time
        time.sleep(600)
    os._exit(0)
os.wait()
answer = int(os.read(read, 20))";
    let escaped = agent.ask(code).await;
    assert!(host::runs(&escaped.to_string()));
    agent.sandbox.kill().await.unwrap();
    assert!(!host::runs(&escaped.to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_of_a_first_process_that_ended_by_itself_end_too() {
    let directory = tempfile::tempdir().unwrap();
    let launcher = launcher(&directory);
    let mut agent = Agent::boot(&launcher, spec("leaving")).await;
    let code = "
child = os.fork()
if child == 0:
    import time
    os.setsid()
    time.sleep(600)
answer = child";
    let orphan = agent.ask(code).await;
    agent.leave("os._exit(7)").await;
    assert_eq!(agent.sandbox.ended().await.status, Some(7));
    assert!(host::runs(&orphan.to_string()));
    agent.sandbox.kill().await.unwrap();
    assert!(!host::runs(&orphan.to_string()));
}
