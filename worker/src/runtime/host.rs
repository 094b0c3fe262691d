//! Which languages this host has: interpreters in `/usr/bin`, Java virtual machines in `/usr/lib/jvm`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::RuntimeClass;

/// Python versions that are looked for by name; our bootstrap needs 3.9.
const PYTHON_MINORS: std::ops::RangeInclusive<u8> = 9..=30;
/// Our Ruby bootstrap needs this version.
const RUBY_MIN: (u8, u8) = (2, 7);
/// Our Java bootstrap is compiled for this version.
const JAVA_MIN: u8 = 17;

/// Where languages are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// Of interpreters.
    pub(super) programs: &'a Path,
    /// Of Java virtual machines, each in a directory of its own; `None` if none can be started.
    pub(super) java: Option<&'a Path>,
    /// What sandboxes see of the host: an interpreter has to lie below one of these.
    pub(super) visible: &'a [&'a str],
}

/// The interpreter of each class that `places` have.
pub(super) async fn interpreters(places: Places<'_>) -> BTreeMap<RuntimeClass, PathBuf> {
    let mut found = BTreeMap::new();
    for minor in PYTHON_MINORS {
        let path = places.programs.join(format!("python3.{minor}"));
        if path.exists() {
            found.insert(RuntimeClass::Python { minor }, path);
        }
    }
    for (name, path) in entries(places.programs) {
        if let Some(class) = name.strip_prefix("ruby").and_then(ruby_class) {
            found.insert(class, path);
        }
    }
    let questions = [("python3", python_class as fn(&str) -> _), ("node", nodejs_class), ("ruby", says_ruby)];
    for (program, class_of) in questions {
        let path = places.programs.join(program);
        if let Some(class) = version(&path).await.as_deref().and_then(class_of) {
            found.entry(class).or_insert(path);
        }
    }
    for (_, home) in places.java.map(entries).unwrap_or_default() {
        if let Some((class, path)) = java(&home, places.visible) {
            found.entry(class).or_insert(path);
        }
    }
    found
}

/// What lies in a directory, in the order of the names.
fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> =
        listed.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect();
    entries.sort();
    entries
}

fn python_class(version: &str) -> Option<RuntimeClass> {
    let minor = version.strip_prefix("Python 3.")?.split('.').next()?.parse().ok()?;
    PYTHON_MINORS.contains(&minor).then_some(RuntimeClass::Python { minor })
}

fn nodejs_class(version: &str) -> Option<RuntimeClass> {
    let major = version.strip_prefix('v')?.split('.').next()?.parse().ok()?;
    Some(RuntimeClass::Nodejs { major })
}

/// From `ruby 3.1.2p20 (2022-04-12 …) [x86_64-linux-gnu]`.
fn says_ruby(version: &str) -> Option<RuntimeClass> {
    let numbers = version.strip_prefix("ruby ")?;
    let end = numbers.match_indices('.').nth(1)?.0;
    ruby_class(&numbers[..end])
}

/// From `3.1`.
fn ruby_class(version: &str) -> Option<RuntimeClass> {
    let (major, minor) = version.split_once('.')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    ((major, minor) >= RUBY_MIN).then_some(RuntimeClass::Ruby { major, minor })
}

/// The virtual machine in `home`, by the file `release` that all have (`JAVA_VERSION="17.0.15"`), with its program's
/// path free of links: Debian's pass through `/etc`.
fn java(home: &Path, visible: &[&str]) -> Option<(RuntimeClass, PathBuf)> {
    let program = fs::canonicalize(home.join("bin/java")).ok()?;
    let release = fs::read_to_string(program.parent()?.parent()?.join("release")).ok()?;
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
    let digits = version.split(|letter: char| !letter.is_ascii_digit()).next()?;
    let major = digits.parse().ok().filter(|major| *major >= JAVA_MIN)?;
    visible.iter().any(|top| program.starts_with(top)).then_some((RuntimeClass::Java { major }, program))
}

async fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").env_clear().kill_on_drop(true).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path, says: &str) {
        fs::write(path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn machine(home: &Path, version: &str) {
        fs::create_dir_all(home.join("bin")).unwrap();
        program(&home.join("bin/java"), "nothing");
        fs::write(home.join("release"), format!("IMPLEMENTOR=\"X\"\nJAVA_VERSION=\"{version}\"\n")).unwrap();
    }

    #[tokio::test]
    async fn interpreters_are_known_by_their_names_or_by_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        for (name, says) in [
            ("python3.11", "Python 3.11.7"),
            ("python3", "Python 3.12.1"),
            ("node", "v20.20.2"),
            ("ruby3.1", "ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]"),
            ("ruby", "ruby 3.3.8p144 (2025-04-09 revision b200bad6cd) [x86_64-linux-gnu]"),
            ("ruby2.5", "ruby 2.5.9p229 (2021-04-05 revision 67939) [x86_64-linux-gnu]"),
            ("ruby-build", ""),
        ] {
            program(&dir.path().join(name), says);
        }
        let places = Places { programs: dir.path(), java: None, visible: &[] };
        let found: Vec<_> = interpreters(places).await.into_iter().collect();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(
            found,
            [
                (RuntimeClass::Python { minor: 11 }, at("python3.11")),
                (RuntimeClass::Python { minor: 12 }, at("python3")),
                (RuntimeClass::Nodejs { major: 20 }, at("node")),
                (RuntimeClass::Ruby { major: 3, minor: 1 }, at("ruby3.1")),
                (RuntimeClass::Ruby { major: 3, minor: 3 }, at("ruby")),
            ]
        );
    }

    #[tokio::test]
    async fn java_machines_are_known_by_their_release() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (machines, elsewhere) = (root.join("jvm"), root.join("home"));
        machine(&machines.join("java-17"), "17.0.15");
        machine(&machines.join("java-11"), "11.0.2");
        machine(&machines.join("temurin-25"), "25");
        machine(&elsewhere.join("java-21"), "21.0.1");
        std::os::unix::fs::symlink("java-17", machines.join("a-link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("java-21"), machines.join("java-21")).unwrap();
        fs::create_dir_all(machines.join("docs")).unwrap();
        let visible = machines.to_str().unwrap();
        let places = Places { programs: &root, java: Some(&machines), visible: &[visible] };
        let found: Vec<_> = interpreters(places).await.into_iter().collect();
        let at = |name: &str| machines.join(name).join("bin/java");
        let expected =
            [(RuntimeClass::Java { major: 17 }, at("java-17")), (RuntimeClass::Java { major: 25 }, at("temurin-25"))];
        assert_eq!(found, expected);
    }
}
