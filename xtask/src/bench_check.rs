//! Whether what stands in this tree is slower than what it set out from: the micro-benches of both, in turn.
//!
//! ```text
//! merge base ──git worktree──▶ build ─┐
//! this tree ─────────────────▶ build ─┴─▶ base, ours, base, ours, … ──▶ the least of each ──▶ 20 % more in most rounds: an error
//! ```
//!
//! Benches count processor time, and of all rounds the least counts: what disturbs only adds. A bench is called slower only if its
//! least is, and it was in nearly each pair of rounds by itself.

mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Runs of each of the two.
const ROUNDS: usize = 5;
/// Where benches are.
const PACKAGE: &str = "hearth-benches";
const BENCH: &str = "cores";

/// Nanoseconds by bench.
type Times = BTreeMap<String, f64>;

/// Compares with the merge base of this tree and `rev`; without one, with that of `origin/main`, or of `main`.
pub(crate) fn check(root: &Path, rev: Option<&str>) -> Result<()> {
    let base = merge_base(root, rev)?;
    let tree = root.join("target/bench-check/base");
    check_out(root, &tree, &base)?;
    println!("base: {base}");
    let Some(base) = build(&tree)? else {
        println!("bench-check: the base has no benches of this name; there is nothing to compare with");
        return Ok(());
    };
    let ours = build(root)?.context("this tree has no benches")?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        rounds.push((run(root, &tree, &base)?, run(root, root, &ours)?));
    }
    let verdicts = verdict::of(&rounds);
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    let slower: Vec<_> = verdicts.iter().filter(|verdict| verdict.is_slower()).map(|verdict| &*verdict.bench).collect();
    ensure!(slower.is_empty(), "slower than the base: {}", slower.join(", "));
    Ok(())
}

fn merge_base(root: &Path, rev: Option<&str>) -> Result<String> {
    let candidates = rev.map_or_else(|| vec!["origin/main", "main"], |rev| vec![rev]);
    for candidate in &candidates {
        let output = Command::new("git").args(["merge-base", "HEAD", candidate]).current_dir(root).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?.trim().to_owned());
        }
    }
    bail!("no merge base with {}", candidates.join(" or "))
}

/// A worktree of the revision; the one from last time is used again, with what was built in it.
fn check_out(root: &Path, tree: &Path, revision: &str) -> Result<()> {
    let git = |directory: &Path, arguments: &[&str]| -> Result<bool> {
        Ok(Command::new("git").args(arguments).current_dir(directory).stdout(Stdio::null()).status()?.success())
    };
    if tree.join(".git").exists() {
        ensure!(git(tree, &["checkout", "--quiet", "--detach", revision])?, "{} can't be moved", tree.display());
        return Ok(());
    }
    git(root, &["worktree", "prune"])?;
    let path = tree.to_str().context("the tree's path is no text")?;
    ensure!(git(root, &["worktree", "add", "--quiet", "--detach", path, revision])?, "git worktree add {path}");
    Ok(())
}

/// The program with the benches; none if the tree has none.
fn build(tree: &Path) -> Result<Option<PathBuf>> {
    if !tree.join("benches/benches").join(BENCH).exists() {
        return Ok(None);
    }
    let output = Command::new("cargo")
        .args(["bench", "--locked", "-p", PACKAGE, "--bench", BENCH, "--no-run", "--message-format=json"])
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .current_dir(tree)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{} does not build", tree.display());
    let program = |line: &str| -> Option<PathBuf> {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == BENCH).then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    let program = String::from_utf8(output.stdout)?.lines().find_map(program);
    Ok(Some(program.context("cargo names no program")?))
}

fn run(root: &Path, tree: &Path, program: &Path) -> Result<Times> {
    let found = tempfile::tempdir_in(root.join("target"))?;
    let status = Command::new(program)
        .args(["--bench", "--quiet"])
        .env("CRITERION_HOME", found.path())
        .current_dir(tree.join("benches"))
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "{} failed", program.display());
    read(found.path())
}

/// What Criterion wrote: a directory for each bench.
fn read(found: &Path) -> Result<Times> {
    let mut times = Times::new();
    for bench in std::fs::read_dir(found)? {
        let bench = bench?;
        let path = bench.path().join("new/estimates.json");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let estimates: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let median = estimates["median"]["point_estimate"].as_f64().context("no median")?;
        times.insert(bench.file_name().to_string_lossy().into_owned(), median);
    }
    ensure!(!times.is_empty(), "{} has no estimates", found.display());
    Ok(times)
}
