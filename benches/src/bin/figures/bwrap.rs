//! bubblewrap starting the same programs: what un-pooled starts are compared with.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Whether bwrap is on this machine.
pub(crate) fn available() -> bool {
    Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Starts `program` of the host's `/usr` in the namespaces a jail has, and waits until it has ended.
pub(crate) fn run(program: &[&str]) -> Result<Duration> {
    let root = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"];
    timed(Command::new("bwrap").args(WALLS).args(root).args(["--symlink", "usr/bin", "/bin"]).args(program))
}

/// The same for a static program anywhere on the host.
pub(crate) fn run_bound(program: &Path, args: &[&str]) -> Result<Duration> {
    timed(Command::new("bwrap").args(WALLS).arg("--ro-bind").arg(program).args(["/program", "/program"]).args(args))
}

const WALLS: [&str; 9] =
    ["--unshare-all", "--clearenv", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--die-with-parent"];

fn timed(command: &mut Command) -> Result<Duration> {
    let begun = Instant::now();
    let status = command.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(begun.elapsed())
}
