//! A sandbox whose first process does what the test says: see `agent.py`.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hearth_microvm::jail::{JailConfig, JailLauncher};
use hearth_microvm::{BootSpec, Isolation, Launcher, Limits, Sandbox};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

const PYTHON: &str = "/usr/bin/python3";
/// Longest time an answer may take: an emulated machine on a host that is busy ten times over is that slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(240);

/// A launcher in a directory of its own.
pub(crate) struct Host {
    pub(crate) launcher: JailLauncher,
    pub(crate) directory: TempDir,
}

impl std::ops::Deref for Host {
    type Target = JailLauncher;
    fn deref(&self) -> &JailLauncher {
        &self.launcher
    }
}

/// A launcher, if this is root of a host that allows jails; says so if not.
pub(crate) fn launcher() -> Option<Host> {
    if !is_root() {
        skip("jails with all their limits need root; run as root to test them");
        return None;
    }
    if let Err(refused) = hearth_microvm::probe::examine(&Default::default()).choose(Some(Isolation::Jail)) {
        skip(&refused.to_string());
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let launcher = JailLauncher::new(config(directory.path())).unwrap();
    Some(Host { launcher, directory })
}

/// Says what is not tested, past the harness, which keeps back what passing tests print.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED, not tested: {test}: {why}");
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

pub(crate) fn config(directory: &Path) -> JailConfig {
    JailConfig::new(directory.join("state"))
}

pub(crate) fn limits() -> Limits {
    Limits { memory_bytes: 128 << 20, milli_cpus: 1_000, max_processes: 64, max_open_files: 256, tmp_bytes: 16 << 20 }
}

/// Python as the first process, with the agent as its program.
pub(crate) fn spec(id: &str) -> BootSpec {
    let os = |text: &str| OsString::from(text);
    BootSpec {
        id: id.to_owned(),
        init: std::fs::canonicalize(PYTHON).unwrap(),
        args: vec![os("-c"), os(include_str!("agent.py"))],
        env: vec![(os("PYTHONHOME"), os("/usr")), (os("PATH"), os("/usr/bin:/bin"))],
        read_only: Vec::new(),
        limits: limits(),
        image: None,
        snapshot_into: None,
    }
}

pub(crate) struct Agent {
    pub(crate) sandbox: Box<dyn Sandbox>,
    peer: BufReader<UnixStream>,
}

impl Agent {
    pub(crate) async fn boot(launcher: &dyn Launcher, spec: BootSpec) -> Self {
        let mut sandbox = launcher.boot(spec).await.unwrap();
        let peer = BufReader::new(sandbox.channel().unwrap());
        assert!(sandbox.channel().is_none());
        Self { sandbox, peer }
    }

    /// Runs Python inside; the whole reply.
    pub(crate) async fn tell(&mut self, code: &str) -> Value {
        let mut line = serde_json::to_string(code).unwrap();
        line.push('\n');
        self.peer.get_mut().write_all(line.as_bytes()).await.unwrap();
        let mut reply = String::new();
        tokio::time::timeout(ANSWER_TIMEOUT, self.peer.read_line(&mut reply)).await.expect("an answer").unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?} to {code}"))
    }

    /// Runs Python inside and answers what it put in `answer`.
    pub(crate) async fn ask(&mut self, code: &str) -> Value {
        let reply = self.tell(code).await;
        reply.get("ok").unwrap_or_else(|| panic!("{code}: {reply}")).clone()
    }

    /// Runs Python inside that ends the first process: no answer comes.
    pub(crate) async fn leave(&mut self, code: &str) {
        let line = format!("{}\n", serde_json::to_string(code).unwrap());
        self.peer.get_mut().write_all(line.as_bytes()).await.unwrap();
    }

    /// Runs Python inside that must fail; the error number.
    pub(crate) async fn refused(&mut self, code: &str) -> i64 {
        let reply = self.tell(code).await;
        reply["errno"].as_i64().unwrap_or_else(|| panic!("{code}: {reply}"))
    }
}
