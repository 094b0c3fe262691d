//! Nothing is left: not after two hundred sandboxes, not after the launcher's own violent end. In a program of its
//! own, because it counts what the whole process holds; its tests take turns.

#[path = "support/agent.rs"]
mod agent;
#[path = "support/host.rs"]
mod host;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use agent::{Agent, config, launcher, spec};
use hearth_microvm::Launcher;
use hearth_microvm::jail::JailLauncher;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// The directory that a test gives to its victim.
const VICTIM: &str = "HEARTH_TEST_VICTIM";

static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_come_and_go_and_leak_nothing() {
    let _turn = TURN.lock().await;
    let Some(launcher) = launcher() else { return };
    let state = launcher.directory.path().join("state/sandboxes");
    let empty = || std::fs::read_dir(&state).unwrap().count() == 0;
    drop(Agent::boot(&*launcher, spec("warm")).await);
    host::eventually(empty).await;
    let before = host::Held::now(&launcher.directory);
    for round in 0..50 {
        let name = |index: usize| format!("many-{round}-{index}");
        let boots = (0..4).map(|index| launcher.boot(spec(&name(index))));
        let mut sandboxes = Vec::new();
        for boot in boots {
            sandboxes.push(boot.await.unwrap());
        }
        // Half are killed, half dropped.
        for mut sandbox in sandboxes.drain(..2) {
            sandbox.kill().await.unwrap();
        }
    }
    host::eventually(empty).await;
    host::eventually(|| host::Held::now(&launcher.directory) == before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_launcher_was_killed_its_successor_cleans_up() {
    let _turn = TURN.lock().await;
    // Only to know whether there can be one here.
    if launcher().is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let victim = Victim::start(&directory);
    let (pids, groups) = (victim.pids.clone(), host::groups(&directory));
    assert!(pids.len() == 3 && !groups.is_empty());
    // While it lives nobody else gets its directory.
    assert!(JailLauncher::new(config(directory.path())).is_err());
    victim.kill();
    // Their parent's death is theirs, before anybody cleans up; but a frozen process of cgroup version 1 can't die.
    host::eventually(|| pids.iter().filter(|pid| host::runs(pid)).count() <= 1).await;
    let launcher = JailLauncher::new(config(directory.path())).unwrap();
    let mut own = Agent::boot(&launcher, spec("own")).await;
    let started = std::time::Instant::now();
    assert_eq!(launcher.clean_up().await.unwrap(), 3);
    assert!(started.elapsed() < std::time::Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
    assert!(!pids.iter().any(|pid| host::runs(pid)));
    assert_eq!(own.ask("answer = 1").await, serde_json::json!(1));
    assert_eq!(launcher.clean_up().await.unwrap(), 0);
    own.sandbox.kill().await.unwrap();
    assert!(!host::mounts().contains(directory.path().to_str().unwrap()));
}

#[test]
#[ignore = "started by another test, as the process that is killed"]
fn victim() {
    let directory = PathBuf::from(std::env::var_os(VICTIM).expect("to be started by its test"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let launcher = JailLauncher::new(config(&directory)).unwrap();
        let mut agents = Vec::new();
        for index in 0..3 {
            agents.push(Agent::boot(&launcher, spec(&format!("victim-{index}"))).await);
        }
        agents[0].sandbox.pause().await.unwrap();
        println!("up");
        std::future::pending::<()>().await;
    });
}

/// A process with a launcher and three sandboxes.
struct Victim {
    process: std::process::Child,
    /// Of the sandboxes' first processes.
    pids: Vec<String>,
}

impl Victim {
    fn start(directory: &TempDir) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "victim", "--nocapture"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("up")));
        let records = std::fs::read_dir(directory.path().join("state/sandboxes")).unwrap();
        let content =
            |record: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(record.unwrap().path()).unwrap();
        let pids = records.map(content).map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
        Self { process, pids }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
