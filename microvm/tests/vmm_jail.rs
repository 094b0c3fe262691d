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

/// The machine is refused, in words that are fit for a log, and nothing is left of it.
async fn is_refused(way: &str, told: &str) {
    let Some(host) = host(way) else { return };
    let error = refused(&host, "hostile").await;
    let text = format!("{}: {}", error.step, error.source);
    assert!(text.contains(told) && !text.contains(char::is_control), "{way}: {text}");
    let Host { launcher, directory } = host;
    drop(launcher);
    assert_eq!(fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0, "{way}");
    assert_eq!(host::groups(&directory).len(), 0, "{way}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_process_answers_comes_to_an_error_and_to_nothing_else() {
    for (way, told) in [
        ("dies", "no such luck"),
        ("refuses", "not  today"),
        ("another-version", "version 99"),
        ("another-reply", "another reply"),
        ("garbage", "no message"),
        ("too-much", "too much"),
        ("events", "too many events"),
    ] {
        is_refused(way, told).await;
    }
}

/// Time stands still but for who waits.
#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_answer_is_given_up() {
    is_refused("silent", "did not answer within").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_stops_is_told_of() {
    let Some(host) = host("resets") else { return };
    let mut sandbox = boot(&host, "resets").await;
    let ended = sandbox.ended().await;
    assert_eq!((ended.status, ended.signal), (Some(0), None));
    assert!(sandbox.pause().await.is_err());
    assert_eq!(sandbox.kill().await.unwrap(), ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_died_waiting_becomes_no_machine() {
    let Some(host) = host("willing") else { return };
    let records = host.directory.path().join("state/sandboxes");
    let waiting = || fs::read_dir(&records).unwrap().next().map(|record| record.unwrap().path());
    let record = fs::read_to_string(waiting().expect("one that waits")).unwrap();
    let pid = record.split_whitespace().nth(1).unwrap().to_owned();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    host::eventually(|| !host::runs(&pid)).await;
    boot(&host, "lives").await.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_given_once_among_the_living() {
    let Some(host) = host("willing") else { return };
    let mut first = boot(&host, "name").await;
    assert_eq!(refused(&host, "name").await.source.kind(), std::io::ErrorKind::AlreadyExists);
    first.resume().await.unwrap();
    first.kill().await.unwrap();
    boot(&host, "name").await.kill().await.unwrap();
    assert!(refused(&host, "../x").await.source.to_string().contains("a-z"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_machine_can_be_is_refused_before_anything_is_made() {
    let Some(host) = host("willing") else { return };
    let mut small = spec("small");
    small.limits.memory_bytes = 64 << 20;
    let mut imageless = spec("imageless");
    imageless.image = None;
    let mut unknown = spec("unknown");
    unknown.image = Some("ruby".into());
    let mut wordy = spec("wordy");
    wordy.env.push(("console".into(), "ttyS1".into()));
    for (spec, told) in [(small, "128"), (imageless, "image"), (unknown, "provided"), (wordy, "capitals")] {
        let error = host.boot(spec).await.err().expect("no machine").source.to_string();
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(records(&host), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_nobody_waits_for_leaves_nothing() {
    let Some(host) = host("willing") else { return };
    for wait_us in [1, 200, 1_000, 3_000] {
        let wait = std::time::Duration::from_micros(wait_us);
        drop(tokio::time::timeout(wait, host.boot(spec("unwanted"))).await);
    }
    let Host { launcher, directory } = host;
    drop(launcher);
    assert_eq!(fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
    assert_eq!(host::groups(&directory).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_static_is_found_at_once() {
    let Some(host) = host("willing") else { return };
    let directory = tempfile::tempdir().unwrap();
    let images = host.directory.path().join("images");
    let error = KvmLauncher::new(config(directory.path(), "/bin/true".into(), images)).err().expect("no launcher");
    let text = error.to_string();
    assert!(text.contains("statically") && text.contains("execute hearth-vmm"), "{text}");
    assert_eq!(fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
    assert_eq!(host::groups(&directory).len(), 0);
}
