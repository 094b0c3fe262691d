//! `guest-image/images.toml`: which runtime images there are, and what goes into them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipes {
    /// Debian's release.
    pub(super) suite: String,
    /// Packages of every image.
    packages: Vec<String>,
    /// What is removed from every image: paths below it, of which the names may end in a star.
    pub(super) remove: Vec<String>,
    /// The images by what they are called on the command line.
    pub(super) images: BTreeMap<String, Recipe>,
    /// The whole text, by which a change is noticed.
    #[serde(skip)]
    pub(super) text: String,
}

/// One image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    /// What guests call it, if not as on the command line; `{major}` is the interpreter's version.
    name: Option<String>,
    /// Packages besides those of every image.
    packages: Vec<String>,
    /// The interpreter, a path within.
    pub(super) interpreter: Option<String>,
    /// A directory of Python modules to compile.
    pub(super) compile: Option<String>,
    /// Links to make: from (relative to the top), to.
    #[serde(default)]
    pub(super) links: BTreeMap<String, String>,
}

impl Recipes {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut recipes: Self = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        recipes.text = text;
        Ok(recipes)
    }

    /// All packages of an image, sorted, each once, as mmdebstrap takes them.
    pub(super) fn packages(&self, recipe: &Recipe) -> String {
        let mut all: Vec<&str> = self.packages.iter().chain(&recipe.packages).map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all.join(",")
    }
}

impl Recipe {
    /// What guests call the image. `version` is what the interpreter prints as its version, such as `v18.20.4`; it is
    /// asked only where the name depends on it.
    pub(super) fn name(&self, part: &str, version: impl FnOnce() -> Result<String>) -> Result<String> {
        let name = self.name.as_deref().unwrap_or(part);
        if !name.contains("{major}") {
            return Ok(name.to_owned());
        }
        let version = version()?;
        let digits = version.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let major = digits.split('.').next().filter(|major| !major.is_empty());
        Ok(name.replace("{major}", major.with_context(|| format!("no version in {version:?}"))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_of_the_tree_are_understood() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("guest-image/images.toml");
        let recipes = Recipes::read(&path).unwrap();
        assert_eq!(recipes.images.keys().collect::<Vec<_>>(), ["java", "nodejs", "provided", "python", "ruby"]);
        let packages = recipes.packages(&recipes.images["python"]);
        assert!(packages.contains("libc6,") && packages.contains("python3.11"), "{packages}");
        assert!(recipes.remove.iter().all(|path| !path.starts_with('/') && !path.contains("..")));
        let name = |part: &str| recipes.images[part].name(part, || Ok("v18.20.4".to_owned())).unwrap();
        assert_eq!([name("nodejs"), name("provided"), name("python")], ["nodejs18.x", "provided", "python3.11"]);
        assert_eq!([name("ruby"), name("java")], ["ruby3.1", "java17"]);
        assert!(recipes.images["nodejs"].name("nodejs", || Ok("none".to_owned())).is_err());
    }
}
