//! Jails as an ordinary user: the same walls through user namespaces; what can't be enforced is told. A program of
//! its own, without the usual test harness, because the step into the namespace must come before any thread. Root
//! starts it again as an ordinary user.

#[path = "support/agent.rs"]
mod agent;
#[path = "support/host.rs"]
mod host;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use agent::{Agent, config, is_root, spec};
use hearth_microvm::Launcher;
use hearth_microvm::jail::{JailLauncher, enter_rootless};
use serde_json::json;

/// An ordinary user that every Linux has: nobody.
const NOBODY: u32 = 65_534;

fn main() -> ExitCode {
    if is_root() {
        return as_nobody();
    }
    if let Some(setting) = forbidding_setting() {
        agent::skip(&format!("ordinary users may not make user namespaces here: {setting}"));
        return ExitCode::SUCCESS;
    }
    assert!(enter_rootless().expect("user namespaces for ordinary users"));
    assert!(is_root(), "root of its own namespace");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(checks());
    println!("rootless: all checks passed");
    ExitCode::SUCCESS
}

/// The host's setting that keeps ordinary users from user namespaces, if there is one.
fn forbidding_setting() -> Option<&'static str> {
    let settings = [
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("user/max_user_namespaces", "0"),
    ];
    let forbids = |(name, value): &(&str, &str)| {
        std::fs::read_to_string(Path::new("/proc/sys").join(name)).is_ok_and(|now| now.trim() == *value)
    };
    settings.into_iter().find(forbids).map(|(name, _)| name)
}

/// From a copy that anybody may execute: the build directory may be closed to others.
fn as_nobody() -> ExitCode {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = directory.path().join("rootless");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let status = Command::new(copy).uid(NOBODY).gid(NOBODY).current_dir("/").status().unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn checks() {
    let directory = tempfile::tempdir().unwrap();
    let launcher = JailLauncher::new(config(directory.path())).unwrap();
    boots_with_its_walls(&launcher, directory.path()).await;
    attaches_pauses_measures(&launcher, directory.path()).await;
    bounds_processes(&launcher).await;
    memory_holds_or_is_told(&launcher).await;
    // A killed sandbox's groups and record are gone when the kill returns; a dropped one's a little later.
    host::eventually(|| std::fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count() == 0).await;
}

async fn boots_with_its_walls(launcher: &JailLauncher, directory: &Path) {
    let mut agent = Agent::boot(launcher, spec("rootless")).await;
    assert_eq!(agent.ask("answer = os.getpid()").await, json!(1));
    assert_eq!(agent.ask("answer = [name for _, name in socket.if_nameindex()]").await, json!(["lo"]));
    assert_eq!(agent.refused(&format!("os.stat({directory:?})")).await, i64::from(libc::ENOENT));
    assert_eq!(agent.refused("os.stat('/home')").await, i64::from(libc::ENOENT));
    // The user may own what is shown inside; the mount is read-only all the same.
    for place in ["/", "/usr", "/etc", "/var/task", "/proc/sys/kernel/core_pattern", "/run/hearth/init"] {
        let errno =
            agent.refused(&format!("open('{place}' if os.path.isfile('{place}') else '{place}/new', 'w')")).await;
        assert!(
            [libc::EROFS, libc::EACCES, libc::ENOENT, libc::ENOTDIR].map(i64::from).contains(&errno),
            "{place}: {errno}"
        );
    }
    let status = agent.ask("answer = [line.split()[1] for line in open('/proc/self/status') if line[:4] in ('CapE', 'CapB', 'NoNe', 'Secc')]").await;
    assert_eq!(
        status.as_array().unwrap()[..4],
        [json!("00000000000000e0"), json!("00000000000000e0"), json!("1"), json!("2")]
    );
    agent.sandbox.kill().await.unwrap();
}

async fn attaches_pauses_measures(launcher: &JailLauncher, directory: &Path) {
    let mut agent = Agent::boot(launcher, spec("code")).await;
    std::fs::create_dir(directory.join("code")).unwrap();
    std::fs::write(directory.join("code/main.py"), "x").unwrap();
    agent.sandbox.attach_code(&directory.join("code")).await.unwrap();
    assert_eq!(agent.ask("answer = open('/var/task/main.py').read()").await, json!("x"));
    assert_eq!(agent.refused("open('/var/task/main.py', 'w')").await, i64::from(libc::EROFS));
    assert!(agent.sandbox.usage().unwrap().memory_peak_bytes > 1 << 20);
    agent.sandbox.pause().await.unwrap();
    agent.sandbox.resume().await.unwrap();
    assert_eq!(agent.ask("answer = 1").await, json!(1));
    let fill = "file = open('/tmp/full', 'wb', 0)\nfor _ in range(64): file.write(bytes(1 << 20))";
    assert_eq!(agent.refused(fill).await, i64::from(libc::ENOSPC));
    agent.sandbox.kill().await.unwrap();
}

async fn bounds_processes(launcher: &JailLauncher) {
    let mut agent = Agent::boot(launcher, spec("bomb")).await;
    let code = "
import time
count = 0
try:
    while count < 200:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        count += 1
except OSError as error:
    pass
answer = count";
    let count = agent.ask(code).await.as_u64().unwrap();
    assert!(count <= u64::from(agent::limits().max_processes), "{count}");
    agent.sandbox.kill().await.unwrap();
}

/// Where a cgroup is delegated to this user its limits hold; elsewhere that they don't is told.
async fn memory_holds_or_is_told(launcher: &JailLauncher) {
    let untold = |what: &str| !launcher.unenforced().iter().any(|told| told.what.contains(what));
    assert_eq!(untold("memory"), untold("CPU"), "{:?}", launcher.unenforced());
    println!("rootless: memory and CPU limits {}", if untold("memory") { "hold" } else { "are told not to hold" });
    if untold("memory") {
        let mut agent = Agent::boot(launcher, spec("hungry")).await;
        agent.leave("held = bytearray(400 << 20)").await;
        assert!(agent.sandbox.ended().await.out_of_memory);
    }
}
