//! Notes which commit this is, for the head of reports: figures without one can't be compared.

use std::process::Command;

fn main() {
    // Written at every commit and checkout; of this worktree.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    println!("cargo:rerun-if-changed=src");
    // Nothing where the sources are no checkout.
    let commit = git(&["describe", "--always", "--dirty=, changed", "--exclude=*"]).unwrap_or_default();
    println!("cargo:rustc-env=HEARTH_COMMIT={commit}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
