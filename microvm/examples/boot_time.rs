//! How long a sandbox takes from nothing to the end of a program that does nothing, beside `bwrap` with the same
//! walls, taking turns. As root:
//!
//!     cargo run --release -p hearth-microvm --example boot_time -- /path/to/static/program [rounds]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hearth_microvm::jail::{JailConfig, JailLauncher};
use hearth_microvm::{BootSpec, Launcher, Limits};

const ROUNDS: usize = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args_os().skip(1);
    let program = PathBuf::from(args.next().expect("a program to run"));
    let rounds = args.next().map_or(ROUNDS, |text| text.to_string_lossy().parse().expect("a number of rounds"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launcher = JailLauncher::new(JailConfig::new(directory.path())).expect("jails");
    let (mut booted, mut ours, mut removed, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let start = Instant::now();
        let mut sandbox = launcher.boot(spec(&program, round)).await.expect("a sandbox");
        booted.push(start.elapsed());
        sandbox.ended().await;
        ours.push(start.elapsed());
        let start = Instant::now();
        sandbox.kill().await.expect("its end");
        removed.push(start.elapsed());
        theirs.push(bwrap(&program));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "jail: program started after {:?}, ended after {ours:?}, removed in {:?}",
        median(booted),
        median(removed)
    );
    println!("bwrap: program ended after {theirs:?}");
    println!("ratio {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn spec(program: &std::path::Path, round: usize) -> BootSpec {
    BootSpec {
        id: format!("round-{round}"),
        init: program.to_path_buf(),
        args: Vec::new(),
        env: Vec::new(),
        read_only: Vec::new(),
        limits: Limits {
            memory_bytes: 128 << 20,
            milli_cpus: 1_000,
            max_processes: 64,
            max_open_files: 1_024,
            tmp_bytes: 512 << 20,
        },
        image: None,
        snapshot_into: None,
    }
}

fn bwrap(program: &std::path::Path) -> Duration {
    let start = Instant::now();
    let status = Command::new("bwrap")
        .args(["--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"])
        .args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev"])
        .args(["--tmpfs", "/tmp", "--ro-bind"])
        .arg(program)
        .args(["/init", "/init"])
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("bwrap").success());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
