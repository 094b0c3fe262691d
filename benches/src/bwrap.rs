//! bubblewrap starting the same programs: what un-pooled starts are compared with.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Whether bwrap is on this machine.
pub(crate) fn available() -> bool {
    Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Starts `program` in the namespaces a jail has, over the host's read-only `/usr`, and waits until it has ended.
pub(crate) fn run(program: &[&str]) -> Result<Duration> {
    let begun = Instant::now();
    let status = Command::new("bwrap")
        .args([
            "--unshare-all",
            "--clearenv",
            "--ro-bind",
            "/usr",
            "/usr",
            "--symlink",
            "usr/lib",
            "/lib",
            "--symlink",
            "usr/lib64",
            "/lib64",
        ])
        .args([
            "--symlink",
            "usr/bin",
            "/bin",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "--die-with-parent",
        ])
        .args(program)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "bwrap {program:?} ended with {status}");
    Ok(begun.elapsed())
}

/// The same for a static program anywhere on the host.
pub(crate) fn run_bound(program: &Path, args: &[&str]) -> Result<Duration> {
    let begun = Instant::now();
    let status = Command::new("bwrap")
        .args([
            "--unshare-all",
            "--clearenv",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "--die-with-parent",
            "--ro-bind",
        ])
        .arg(program)
        .args(["/program", "/program"])
        .args(args)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "bwrap {} ended with {status}", program.display());
    Ok(begun.elapsed())
}
