//! Rules about files: their names, their first line, where `unsafe` and the environment may stand.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::Violation;
use super::text::code_only;

/// Folders at any depth that are not ours to check.
const LEFT_OUT: &[&str] = &["target", ".git", ".venv", "node_modules"];
/// Names that say nothing: a missing concept hides behind each.
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];
/// Crates whose `sys` modules may hold `unsafe`; all others forbid it.
const UNSAFE_CRATES: &[&str] = &["microvm", "shim"];
/// Folders whose code may read the process's environment: binaries, and (at any depth) what tests them.
const ENVIRONMENT_READERS: &[&str] = &["cli", "shim", "tests", "benches", "xtask", "sdk", "examples"];
const TESTS: &str = "tests";

/// Every violation in every Rust file below `root`.
pub(super) fn violations(root: &Path) -> Result<Vec<Violation>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    let mut violations = Vec::new();
    for path in files {
        let text = fs::read_to_string(root.join(&path)).with_context(|| format!("reading {}", path.display()))?;
        violations.extend(of_file(&path, &text));
    }
    Ok(violations)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if !LEFT_OUT.iter().any(|&left_out| name == left_out) {
                collect(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.strip_prefix(root)?.to_path_buf());
        }
    }
    Ok(())
}

/// The violations of one file, by its path from the top of the tree.
fn of_file(path: &Path, text: &str) -> Vec<Violation> {
    let mut violations = name_violations(path);
    let generated = path.components().any(|part| part.as_os_str() == "generated");
    if !text.starts_with("//!") {
        violations.push(Violation::new(path, Some(1), "does not begin with //! saying what the file is"));
    }
    if generated {
        return violations;
    }
    let code = code_only(text);
    violations.extend(unsafe_violations(path, &code));
    let in_tests = path.components().any(|part| part.as_os_str() == TESTS);
    if !in_tests && !in_one_of(path, ENVIRONMENT_READERS) {
        let reads = lines_with(&code, |line| line.contains("env::var"));
        let problem = "reads the environment: only binaries do, and hand in what a library needs";
        violations.extend(reads.map(|line| Violation::new(path, Some(line), problem)));
    }
    violations
}

fn name_violations(path: &Path) -> Vec<Violation> {
    let mut violations = Vec::new();
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        violations.push(Violation::new(path, None, "is a mod.rs: write foo.rs beside foo/"));
    }
    let named =
        |part: Component<'_>| Path::new(part.as_os_str()).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    for name in path.components().filter_map(named) {
        if NAMELESS.contains(&name.as_str()) {
            violations.push(Violation::new(path, None, format!("is named {name}: name what is in it")));
        }
    }
    violations
}

fn unsafe_violations(path: &Path, code: &str) -> Vec<Violation> {
    let in_sys = path.components().any(|part| part.as_os_str() == "sys" || part.as_os_str() == "sys.rs");
    if in_one_of(path, UNSAFE_CRATES) && in_sys {
        return Vec::new();
    }
    let problem = format!("`unsafe` outside a sys module of {}", UNSAFE_CRATES.join(" or "));
    let mut violations: Vec<Violation> =
        lines_with(code, has_unsafe).map(|line| Violation::new(path, Some(line), problem.clone())).collect();
    let is_root = path.components().count() == 3 && (path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"));
    if is_root && !in_one_of(path, UNSAFE_CRATES) && !code.contains("#![forbid(unsafe_code)]") {
        violations.push(Violation::new(path, None, "does not #![forbid(unsafe_code)]"));
    }
    violations
}

/// Whether the keyword stands in a line of code.
fn has_unsafe(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

fn lines_with<'a>(code: &'a str, matches: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| matches(line)).map(|(index, _)| index + 1)
}

fn in_one_of(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        of_file(Path::new(path), text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_rule_finds_its_violation() {
        assert_eq!(problems("domain/src/id.rs", "//! Ids.\n"), Vec::<String>::new());
        let cases = [
            ("domain/src/id.rs", "use x;", "domain/src/id.rs:1: does not begin with //!"),
            ("domain/src/id/mod.rs", "//! x", "domain/src/id/mod.rs: is a mod.rs"),
            ("domain/src/utils.rs", "//! x", "domain/src/utils.rs: is named utils"),
            ("common/src/lib.rs", "//! x\n#![forbid(unsafe_code)]", "common/src/lib.rs: is named common"),
            ("worker/src/a.rs", "//! x\nfn f() { unsafe { g() } }", "worker/src/a.rs:2: `unsafe` outside"),
            ("shim/src/a.rs", "//! x\nunsafe fn f() {}", "shim/src/a.rs:2: `unsafe` outside"),
            ("worker/src/lib.rs", "//! x\n// #![forbid(unsafe_code)]", "worker/src/lib.rs: does not #![forbid"),
            ("worker/src/a.rs", "//! x\nlet x = std::env::var(\"X\");", "worker/src/a.rs:2: reads the environment"),
        ];
        for (path, text, expected) in cases {
            let problems = problems(path, text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}: {problems:?}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        for (path, text) in [
            ("shim/src/sys.rs", "//! x\nunsafe { f() }"),
            ("microvm/src/sys/mount.rs", "//! x\nunsafe { f() }"),
            ("worker/src/a.rs", "//! x\n// unsafe in a comment, \nlet unsafe_code = \"unsafe\";"),
            ("cli/src/a.rs", "//! x\nstd::env::var(\"X\");"),
        ] {
            assert_eq!(problems(path, text), Vec::<String>::new());
        }
    }
}
