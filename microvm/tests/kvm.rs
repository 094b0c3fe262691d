//! MicroVMs with Linux in them: from boot to the shim's first word, snapshots, sudden deaths, and that nothing is left.
//! Needs root, a KVM that can carry a kernel (native, or nested in an emulated machine), and what is installed: the
//! directory of guest images in `HEARTH_GUEST_IMAGES`, `hearth-vmm` and `hearth-shim` in `HEARTH_PROGRAMS`.

#[path = "support/agent.rs"]
mod agent;
#[path = "support/guests.rs"]
mod guests;
#[path = "support/host.rs"]
mod host;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agent::{is_root, skip};
use guests::Host;
use hearth_microvm::kvm::KvmLauncher;
use hearth_microvm::probe::{Installation, examine};
use hearth_microvm::{BootSpec, Isolation, Launcher, RestoreError, RestoreSpec, Sandbox};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longest time for a guest in an emulated machine to say something.
const WORD_TIMEOUT: Duration = Duration::from_secs(120);
/// Machines at once.
const MANY: usize = 20;
/// For the test that starts itself as a launcher to be killed: where to keep its state.
const VICTIM: &str = "HEARTH_TEST_VICTIM";
/// What it says when there is something to kill.
const UP: &str = "the machines are up";

fn installed() -> Option<(PathBuf, PathBuf)> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    Some((from("HEARTH_GUEST_IMAGES")?, from("HEARTH_PROGRAMS")?))
}

/// A launcher, if this host can have one that boots Linux; says so if not.
fn host() -> Option<Host> {
    let directory = tempfile::tempdir().unwrap();
    let launcher = launcher(directory.path())?;
    Some(Host { launcher, directory })
}

fn launcher(directory: &Path) -> Option<KvmLauncher> {
    let Some((images, programs)) = installed() else {
        skip("microVMs: set HEARTH_GUEST_IMAGES and HEARTH_PROGRAMS to test them");
        return None;
    };
    if !is_root() {
        skip("microVMs with all their limits need root; run as root to test them");
        return None;
    }
    let vmm = programs.join("hearth-vmm");
    let installation = Installation { vmm: Some(vmm.clone()), guest_images: Some(images.clone()), cgroup_parent: None };
    if let Err(refused) = examine(&installation).choose(Some(Isolation::Kvm)) {
        skip(&refused.to_string());
        return None;
    }
    Some(KvmLauncher::new(guests::config(directory, vmm, images)).unwrap())
}

fn spec(id: &str) -> BootSpec {
    let (_, programs) = installed().unwrap();
    let mut spec = BootSpec { init: programs.join("hearth-shim"), args: Vec::new(), ..guests::spec(id) };
    spec.limits.memory_bytes = 160 << 20;
    spec
}

fn restored(id: &str, snapshot: &Path) -> RestoreSpec {
    RestoreSpec { id: id.to_owned(), snapshot: snapshot.to_owned(), limits: spec(id).limits, snapshot_into: None }
}

/// The first frame of a shim: `Ready`.
async fn ready(sandbox: &mut Box<dyn Sandbox>) -> UnixStream {
    let mut channel = sandbox.channel().unwrap();
    let mut first = [0; 8];
    let read = timeout(WORD_TIMEOUT, channel.read_exact(&mut first)).await.expect("no word from the guest");
    read.unwrap_or_else(|error| panic!("{}: {error}", sandbox.id()));
    channel
}

/// The process of a sandbox, as its record has it.
fn pid(directory: &Path, id: &str) -> i32 {
    let record = fs::read_to_string(directory.join("state/sandboxes").join(id)).unwrap();
    record.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn kill9(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linux_boots_to_the_shims_word_and_leaves_nothing() {
    let Some(host) = host() else { return };
    let mut sandbox = host.boot(spec("first")).await.unwrap();
    let channel = ready(&mut sandbox).await;
    let usage = sandbox.usage().unwrap();
    assert!(usage.memory_bytes > 1 << 20 && usage.cpu > Duration::ZERO, "{usage:?}");
    sandbox.pause().await.unwrap();
    sandbox.resume().await.unwrap();
    let groups = host::groups(&host.directory);
    let ended = sandbox.kill().await.unwrap();
    assert_eq!((ended.signal, ended.out_of_memory), (Some(9), false));
    let Host { launcher, directory } = host;
    drop((sandbox, channel, launcher));
    assert!(!groups.is_empty() && groups.iter().all(|group| !group.exists()));
    assert_eq!(fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
    assert!(!host::mounts().contains(directory.path().to_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_of_a_machine_is_walled_in() {
    let Some(host) = host() else { return };
    let mut sandbox = host.boot(spec("walled")).await.unwrap();
    let _channel = ready(&mut sandbox).await;
    let process = PathBuf::from(format!("/proc/{}", pid(host.directory.path(), "walled")));
    let status = fs::read_to_string(process.join("status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!((field("Seccomp:").as_str(), field("NoNewPrivs:").as_str()), ("2", "1"));
    assert!(!field("Uid:").split_whitespace().any(|id| id == "0"), "{status}");
    assert_eq!(fs::read_dir(process.join("root")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(process.join("mountinfo")).unwrap().lines().count(), 1);
    for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of = |process: &Path| fs::read_link(process.join("ns").join(namespace));
        let (of_machine, own) = (of(&process), of(Path::new("/proc/self")));
        assert!(
            matches!((&of_machine, &own), (Ok(one), Ok(other)) if one != other),
            "{namespace}: {of_machine:?} {own:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_whose_process_is_killed_ends_and_others_do_not() {
    let Some(host) = host() else { return };
    let mut killed = host.boot(spec("killed")).await.unwrap();
    let mut other = host.boot(spec("other")).await.unwrap();
    let mut channel = ready(&mut killed).await;
    let _others = ready(&mut other).await;
    kill9(pid(host.directory.path(), "killed"));
    assert_eq!(killed.ended().await.signal, Some(9));
    let mut rest = Vec::new();
    let closed = timeout(WORD_TIMEOUT, channel.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "its channel stays open");
    assert!(killed.pause().await.is_err());
    killed.kill().await.unwrap();
    other.pause().await.unwrap();
    other.resume().await.unwrap();
    let mut again = host.boot(spec("killed")).await.unwrap();
    ready(&mut again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_machines_run_at_once() {
    let Some(host) = host() else { return };
    let boots = (0..MANY).map(|count| host.boot(spec(&format!("many-{count}"))));
    let mut machines = Vec::new();
    for boot in boots.collect::<Vec<_>>() {
        machines.push(boot.await.unwrap());
    }
    let mut channels = Vec::new();
    for machine in &mut machines {
        channels.push(ready(machine).await);
    }
    for machine in &mut machines {
        machine.pause().await.unwrap();
    }
    drop((machines, channels));
    let records = host.directory.path().join("state/sandboxes");
    let sandboxes = || fs::read_dir(&records).unwrap().filter(|record| is_sandbox(record.as_ref().unwrap())).count();
    host::eventually(|| sandboxes() == 0).await;
}

fn is_sandbox(record: &fs::DirEntry) -> bool {
    !record.file_name().to_string_lossy().starts_with('_')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_restored_many_times_and_prefetches_what_was_touched() {
    let Some(host) = host() else { return };
    let into = host.directory.path().join("snapshot");
    let mut pooled = host.boot(BootSpec { snapshot_into: Some(into.clone()), ..spec("pooled") }).await.unwrap();
    let _channel = ready(&mut pooled).await;
    assert!(!into.exists());
    assert_eq!(pooled.snapshot().await.unwrap(), into);
    assert_eq!(pooled.ended().await.signal, Some(9));
    let mut first = host.restore(restored("first", &into)).await.unwrap();
    let mut second = host.restore(restored("second", &into)).await.unwrap();
    for sandbox in [&mut first, &mut second] {
        sandbox.record_prefetch().await.unwrap();
        let mut channel = sandbox.channel().unwrap();
        // It goes on: a frame that is none makes its shim end, and the machine with it.
        channel.write_all(&[0xff; 64]).await.unwrap();
        timeout(WORD_TIMEOUT, sandbox.ended()).await.expect("it does not go on");
    }
    assert!(into.join("prefetch").is_file());
    let third = host.restore(restored("third", &into)).await.unwrap();
    drop((third, pooled));
    fs::write(into.join("state"), "damaged").unwrap();
    drop((first, second));
    let another = self::host().unwrap();
    let refused = another.restore(restored("fourth", &into)).await.err().expect("a damaged snapshot");
    assert!(matches!(refused, RestoreError::Unusable { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_launcher_left_is_ended_and_removed() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        return be_killed(Path::new(&directory)).await;
    }
    if host().is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "what_a_killed_launcher_left_is_ended_and_removed";
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VICTIM, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(told.map_while(Result::ok).any(|line| line.contains(UP)), "its machines do not come up");
    let pids = [pid(directory.path(), "one"), pid(directory.path(), "two")];
    victim.kill().unwrap();
    victim.wait().unwrap();
    let launcher = launcher(directory.path()).unwrap();
    let left = host::groups(&directory);
    assert_eq!(launcher.clean_up().await.unwrap(), 2);
    assert!(pids.iter().all(|pid| !host::runs(&pid.to_string())));
    drop(launcher);
    assert!(!left.is_empty() && left.iter().all(|group| !group.exists()));
    assert_eq!(fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
}

/// The launcher that is killed: says when its machines are up, and waits for its end.
async fn be_killed(directory: &Path) {
    let launcher = launcher(directory).unwrap();
    let mut machines = Vec::new();
    for id in ["one", "two"] {
        let mut machine = launcher.boot(spec(id)).await.unwrap();
        let channel = ready(&mut machine).await;
        machines.push((machine, channel));
    }
    println!("{UP}");
    std::future::pending::<()>().await;
}
