//! Which crate may depend on which: the table in ARCHITECTURE.md against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Violation;

/// Where the table stands, in a block that begins with [`FENCE`].
const TABLE_FILE: &str = "ARCHITECTURE.md";
const FENCE: &str = "```edges";
/// What only proves and builds: it may use anything, and nothing may use it.
const PROOF: &[&str] = &["tests", "benches", "xtask"];

/// Folder of a crate → folders of ours it depends on.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Violations of the table in the workspace at `root`.
pub(super) fn violations(root: &Path) -> Result<Vec<Violation>> {
    let text = std::fs::read_to_string(root.join(TABLE_FILE)).with_context(|| format!("reading {TABLE_FILE}"))?;
    Ok(judge(&allowed(&text)?, &actual(root)?))
}

fn judge(allowed: &Edges, actual: &Edges) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut wrong = |problem: String| violations.push(Violation::new(TABLE_FILE, None, problem));
    for (from, dependencies) in actual {
        for to in dependencies.iter().filter(|to| PROOF.contains(&to.as_str())) {
            wrong(format!("{from} depends on {to}, which nothing may depend on"));
        }
        if PROOF.contains(&from.as_str()) {
            continue;
        }
        match allowed.get(from) {
            None if dependencies.is_empty() => {}
            None => wrong(format!("{from} depends on crates of ours and stands not in the table")),
            Some(allowed) => {
                for to in dependencies.difference(allowed) {
                    wrong(format!("{from} depends on {to}, which the table does not allow"));
                }
            }
        }
    }
    for name in allowed.keys().chain(allowed.values().flatten()) {
        if !actual.contains_key(name) {
            wrong(format!("the table names {name}, and there is no such crate"));
        }
    }
    violations
}

/// The table: one line a crate, `name: dependency, dependency`.
fn allowed(text: &str) -> Result<Edges> {
    let mut lines = text.lines().skip_while(|line| line.trim() != FENCE).skip(1).peekable();
    if lines.peek().is_none() {
        bail!("{TABLE_FILE} has no block {FENCE}");
    }
    lines
        .take_while(|line| line.trim() != "```")
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (from, to) = line.split_once(':').with_context(|| format!("{TABLE_FILE}: {line:?} is no edge"))?;
            let names = to.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
            Ok((from.trim().to_owned(), names.collect()))
        })
        .collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: std::path::PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    /// Absent for what ships; `dev` and `build` otherwise.
    kind: Option<String>,
    /// Only for crates of ours.
    path: Option<std::path::PathBuf>,
}

/// What `cargo metadata` says of what ships: dev-dependencies are free.
fn actual(root: &Path) -> Result<Edges> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let folder = |path: &Path| path.strip_prefix(root).map(|path| path.to_string_lossy().into_owned());
    let mut edges = Edges::new();
    for package in metadata.packages {
        let from = folder(package.manifest_path.parent().unwrap_or(root))?;
        let ships = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        let ours = ships.filter_map(|dependency| dependency.path.as_deref());
        edges.insert(from, ours.map(folder).collect::<Result<_, _>>()?);
    }
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &[&str])]) -> Edges {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(from, to)| ((*from).to_owned(), set(to))).collect()
    }

    #[test]
    fn the_table_is_read_from_its_block() {
        let text = "# Title\n```edges\ndomain:\nshim: domain, guest-protocol\n```\nother: text\n";
        let expected = edges(&[("domain", &[]), ("shim", &["domain", "guest-protocol"])]);
        assert_eq!(allowed(text).unwrap(), expected);
        assert!(allowed("no table").is_err());
        assert!(allowed("```edges\nnonsense\n```").is_err());
    }

    #[test]
    fn every_kind_of_wrong_edge_is_told() {
        let table = edges(&[("domain", &[]), ("worker", &["domain"]), ("ghost", &[])]);
        let tree = edges(&[
            ("domain", &["tests"]),
            ("worker", &["domain", "frontend"]),
            ("frontend", &["domain"]),
            ("sdk/rust", &[]),
            ("tests", &["worker", "xtask"]),
            ("xtask", &[]),
        ]);
        let told: Vec<String> = judge(&table, &tree).into_iter().map(|violation| violation.problem).collect();
        let expected = [
            "domain depends on tests, which nothing may depend on",
            "domain depends on tests, which the table does not allow",
            "frontend depends on crates of ours and stands not in the table",
            "tests depends on xtask, which nothing may depend on",
            "worker depends on frontend, which the table does not allow",
            "the table names ghost, and there is no such crate",
        ];
        assert_eq!(told, expected);
    }
}
