//! `gen`, second part: AWS's service model of Lambda as a table of facts for the frontend.
//!
//! The model is the one that botocore ships (PyPI, `data/lambda/2015-03-31/service-2.json.gz`, Apache-2.0), of the
//! version that tests/e2e/requirements.txt pins, read from `.venv`. Only facts are taken: operations, members, where
//! they stand, bounds, patterns, enumerations; no prose. The result is committed; a test here fails when the two have
//! drifted apart, and says so when there is no botocore to look at.

mod deviations;
mod shapes;
mod table;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use shapes::ServiceModel;

/// The one file that comes out.
const GENERATED: &str = "frontend/src/model/generated.rs";
/// What people read.
const DOCUMENT: &str = "docs/lambda-api.md";
/// Where botocore keeps the model, below its own folder.
const MODEL: &str = "data/lambda/2015-03-31/service-2.json.gz";

/// Writes the table into the tree; nothing if no botocore is installed.
pub(crate) fn write(root: &Path) -> Result<()> {
    let Some(botocore) = botocore(root) else {
        eprintln!("xtask: no botocore in .venv (`make packages-test` installs it): {GENERATED} is left as it is");
        return Ok(());
    };
    let target = root.join(GENERATED);
    fs::write(&target, generated(&botocore)?).with_context(|| format!("writing {}", target.display()))
}

/// Writes the document that the frontend tells of its routes and that table; a test of the frontend holds it.
pub(crate) fn document(root: &Path) -> Result<()> {
    let arguments = ["run", "--quiet", "--locked", "-p", "hearth-frontend", "--example", "lambda_api"];
    let told = Command::new("cargo").args(arguments).current_dir(root).output().context("running cargo")?;
    if !told.status.success() {
        bail!("the frontend tells no document: {}", String::from_utf8_lossy(&told.stderr));
    }
    let target = root.join(DOCUMENT);
    fs::write(&target, told.stdout).with_context(|| format!("writing {}", target.display()))
}

/// The text that belongs into [`GENERATED`].
fn generated(botocore: &Path) -> Result<String> {
    let path = botocore.join(MODEL);
    let packed = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text)?;
    let mut model: ServiceModel = serde_json::from_str(&text)?;
    deviations::apply(&mut model)?;
    table::of(&model, &version(botocore)?)
}

/// botocore's folder in the virtual environment of the tests.
fn botocore(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join(".venv/lib")).ok()?;
    let mut found = versions.flatten().map(|python| python.path().join("site-packages/botocore"));
    found.find(|botocore| botocore.join(MODEL).is_file())
}

fn version(botocore: &Path) -> Result<String> {
    let text = fs::read_to_string(botocore.join("__init__.py"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "));
    Ok(line.context("botocore tells no version")?.trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_what_the_service_model_gives() {
        let root = crate::workspace_root();
        let Some(botocore) = botocore(&root) else {
            eprintln!("NOT TESTED: no botocore in .venv, so nobody knows whether {GENERATED} has drifted");
            return;
        };
        let committed = fs::read_to_string(root.join(GENERATED)).unwrap();
        // Not `assert_eq!`: nobody wants to read both texts whole.
        assert!(
            generated(&botocore).unwrap() == committed,
            "{GENERATED} has drifted: run `cargo xtask gen` and commit"
        );
    }
}
