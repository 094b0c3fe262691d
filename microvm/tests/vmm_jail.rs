//! The launcher of microVMs and a process that has been taken over, or fails: a stand-in for hearth-vmm plays it. Needs
//! root and a /dev/kvm that opens; no guest runs here (`kvm.rs` has those).

#[path = "support/agent.rs"]
mod agent;
#[path = "support/guests.rs"]
mod guests;
#[path = "support/host.rs"]
mod host;

use std::fs;

use agent::{is_root, skip};
use guests::{Host, config, images, spec, stand_in};
use hearth_microvm::kvm::KvmLauncher;
use hearth_microvm::{BootError, Launcher, Sandbox};

/// A launcher whose hearth-vmm behaves in this way, if this host can have one; says so if not.
fn host(way: &str) -> Option<Host> {
    if !is_root() {
        skip("the jail of hearth-vmm needs root; run as root to test it");
        return None;
    }
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        skip(&format!("/dev/kvm: {error}"));
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let (vmm, images) = (stand_in(directory.path(), way), images(directory.path(), &[0xf4]));
    let launcher = KvmLauncher::new(config(directory.path(), vmm, images)).unwrap();
    Some(Host { launcher, directory })
}

async fn boot(host: &Host, id: &str) -> Box<dyn Sandbox> {
    host.boot(spec(id)).await.unwrap()
}

async fn refused(host: &Host, id: &str) -> BootError {
    host.boot(spec(id)).await.err().expect("no machine")
}

fn records(host: &Host) -> usize {
    let records = fs::read_dir(host.directory.path().join("state/sandboxes")).unwrap();
    records.filter(|record| !record.as_ref().unwrap().file_name().to_string_lossy().starts_with('_')).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boots_and_leaves_nothing() {
    let Some(host) = host("willing") else { return };
    assert_eq!(host.unenforced(), []);
    let mut sandbox = boot(&host, "first").await;
    assert!(sandbox.channel().is_some() && sandbox.channel().is_none());
    assert_eq!((sandbox.id(), records(&host)), ("first", 1));
    sandbox.pause().await.unwrap();
    sandbox.resume().await.unwrap();
    sandbox.set_limits(spec("first").limits).await.unwrap();
    assert!(sandbox.usage().unwrap().memory_bytes > 0);
    let code = host.directory.path().join("code");
    fs::create_dir(&code).unwrap();
    fs::write(code.join("main.py"), "print('hello')").unwrap();
    let image = host.prepare_code(&code).unwrap();
    assert_eq!(sandbox.attach_code(&image).await.unwrap().to_str(), Some("/var/task"));
    assert!(sandbox.attach_code(&image).await.is_err());
    let ended = sandbox.kill().await.unwrap();
    assert_eq!((ended.signal, ended.status, ended.out_of_memory), (Some(9), None, false));
    assert_eq!(sandbox.kill().await.unwrap(), ended);
    assert_eq!(records(&host), 0);
    let groups = host::groups(&host.directory);
    assert!(!groups.is_empty());
    let Host { launcher, directory } = host;
    drop((sandbox, launcher));
    assert!(groups.iter().all(|group| !group.exists()));
    assert_eq!(fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
    assert!(!host::mounts().contains(directory.path().to_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_taken_over_finds_nothing() {
    let Some(host) = host("looks") else { return };
    let seen = refused(&host, "looking").await.source.to_string();
    let (eperm, enosys) = (libc::EPERM, libc::ENOSYS);
    for line in [
        format!("/=error {eperm};"),
        format!("/proc/self/status=error {eperm};"),
        format!("/dev/null=error {eperm};"),
        format!("write=error {eperm};"),
        format!("tcp=error {eperm};"),
        format!("unix=error {eperm};"),
        format!("program=error {eperm};"),
        format!("uid=error {eperm};"),
        format!("mounts=error {eperm};"),
        format!("ptrace=error {eperm};"),
        format!("unshare=error {eperm};"),
        "fd=3;".to_owned(),
    ] {
        assert!(seen.contains(&line), "{line} in {seen}");
    }
    // 0, 1, 2 lead nowhere or to the launcher; 3 is the control socket; what was sent was never taken.
    assert!(!seen.contains("fd=4;") && !seen.contains(&format!("error {enosys}")), "{seen}");
}
