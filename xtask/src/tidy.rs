//! `tidy`: the rules of the house, held against the tree. Also runs as a test.

mod edges;
mod sources;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Something in the tree that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// From the top of the tree.
    path: PathBuf,
    /// Line, from 1, where the rule is about one.
    line: Option<usize>,
    problem: String,
}

/// Checks every rule and tells every violation.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut violations = sources::violations(root)?;
    violations.extend(edges::violations(root)?);
    violations.sort();
    if violations.is_empty() {
        return Ok(());
    }
    let told: String = violations.iter().map(|violation| format!("\n{violation}")).collect();
    bail!("{} violations of the house's rules:{told}", violations.len())
}

impl Violation {
    fn new(path: impl Into<PathBuf>, line: Option<usize>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), line, problem: problem.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.problem),
            None => write!(f, "{}: {}", self.path.display(), self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_keeps_the_rules_of_the_house() {
        if let Err(told) = super::check(&crate::workspace_root()) {
            panic!("{told}");
        }
    }
}
